"""A run survives: interrupted, killed or damaged, it ends where the uninterrupted one ends."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tfgen.errors import InterruptedRunError, UsageError, WorkError
from tfgen.models.flow.config import FlowConfig
from tfgen.models.gan.config import GANConfig
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.training import callbacks, checkpoint
from tfgen.training.folder import RunFolder
from tfgen.training.run import train

EPOCHS, BATCH_SIZE = 2, 8  # 400 images less 66 for validation make 41 steps


# Whatever has a state: the step decides the generator's turn, the discriminator's masks and its
# iteration.
GAN_MODEL = GANConfig(
    latent_dim=3,
    generator_hidden=(8, 16),
    discriminator_hidden=(16, 8),
    critic_steps=2,
    spectral_norm=True,
    ema_decay=0.9,
)


def gan_config(tiny_data: Path, run_dir: Path, **changes: object) -> RunConfig:
    return dataclasses.replace(config(tiny_data, run_dir, **changes), family="gan", model=GAN_MODEL)


def config(tiny_data: Path, run_dir: Path, **changes: object) -> RunConfig:
    options = {
        "dataset": "tiny",
        "data_dir": tiny_data,
        "epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "run_dir": run_dir,
        "publish": False,
        **changes,
    }
    return RunConfig("vae", VAEConfig(latent_dim=2, hidden=(16,)), TrainingOptions(**options))


def run(config: RunConfig) -> Path:
    with Path(os.devnull).open("w") as nowhere:
        train(config, Console(file=nowhere))
    assert config.options.run_dir is not None
    return config.options.run_dir


def final_state(run_dir: Path) -> dict[str, np.ndarray]:
    found, problems = checkpoint.read_newest(run_dir / "checkpoints")
    assert found is not None
    assert not problems
    return found.arrays


def metrics(run_dir: Path) -> list[dict[str, float]]:
    rows = RunFolder(run_dir).read_metrics()
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "peak_mib")}
        for row in rows
    ]


def assert_same_end(a: Path, b: Path) -> None:
    first, second = final_state(a), final_state(b)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert metrics(a) == metrics(b)


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing disturbed."""
    return run(config(tiny_data, tmp_path_factory.mktemp("whole") / "run"))


def raise_signal_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The `call`-th end of a group of training steps sends this process a SIGTERM."""
    original, calls = callbacks.Tracking.on_train_batch_end, iter(range(1, 1000))

    def interrupted(self: callbacks.Tracking, batch: int, logs: object = None) -> None:
        original(self, batch, logs)  # type: ignore[arg-type]
        if next(calls) == call:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(callbacks.Tracking, "on_train_batch_end", interrupted)


# Three groups of steps an epoch: inside the first epoch, at its end, inside the second, at the very
# end.
@pytest.mark.parametrize(
    "call", [5, *(pytest.param(call, marks=pytest.mark.newest) for call in (1, 3, 6))]
)
def test_interrupted_and_resumed_ends_bit_equal(
    call: int, whole: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_signal_at(call, monkeypatch)
    with pytest.raises(InterruptedRunError, match="--resume") as caught:
        run(config(tiny_data, tmp_path / "run"))
    assert caught.value.exit_status == 128 + signal.SIGTERM
    monkeypatch.undo()
    run(config(tiny_data, tmp_path / "run", resume=True))
    assert_same_end(tmp_path / "run", whole)
    pictures = [
        sorted(p.name for p in (each / "figures").iterdir()) for each in (tmp_path / "run", whole)
    ]
    assert pictures[0] == pictures[1]


@pytest.mark.newest
def test_a_gan_interrupted_and_resumed_ends_bit_equal(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, conditional in (("plain", False), ("conditional", True)):
        whole = run(gan_config(tiny_data, tmp_path / name / "whole", conditional=conditional))
        raise_signal_at(5, monkeypatch)
        part = gan_config(tiny_data, tmp_path / name / "part", conditional=conditional)
        with pytest.raises(InterruptedRunError, match="--resume"):
            run(part)
        monkeypatch.undo()
        run(dataclasses.replace(part, options=dataclasses.replace(part.options, resume=True)))
        assert_same_end(tmp_path / name / "part", whole)
        arrays = final_state(whole)
        slots = {key.split("/")[1] for key in arrays if key.startswith("optimizers/")}
        assert slots == {"generator_optimizer", "discriminator_optimizer"}


@pytest.mark.newest
def test_a_flow_interrupted_and_resumed_ends_bit_equal(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, part = (
        dataclasses.replace(
            config(tiny_data, tmp_path / name),
            family="flow",
            model=FlowConfig(couplings=2, hidden=(16,)),
        )
        for name in ("whole", "part")
    )
    run(whole)
    raise_signal_at(5, monkeypatch)
    with pytest.raises(InterruptedRunError, match="--resume"):
        run(part)
    monkeypatch.undo()
    run(dataclasses.replace(part, options=dataclasses.replace(part.options, resume=True)))
    assert_same_end(tmp_path / "part", tmp_path / "whole")
    pictures = {path.name for path in (tmp_path / "part" / "figures").iterdir()}
    assert {"temperatures.png", "interpolation.png", "samples-2.png"} <= pictures


@pytest.mark.newest
def test_another_seed_ends_elsewhere(whole: Path, tiny_data: Path, tmp_path: Path) -> None:
    other = final_state(run(config(tiny_data, tmp_path / "run", seed=1)))
    assert not np.array_equal(other["weights/001"], final_state(whole)["weights/001"])


@pytest.mark.newest
def test_more_epochs_extend_a_run(
    whole: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word, epochs in (("begun", 1), ("extended", EPOCHS)):
        monkeypatch.setattr(sys, "argv", ["tfgen-train", word])
        run(config(tiny_data, tmp_path / "run", epochs=epochs, resume=word == "extended"))
    assert_same_end(tmp_path / "run", whole)
    saved = RunFolder(tmp_path / "run").read_config()
    assert (saved["command"], saved["options"]["epochs"]) == (["tfgen-train", "begun"], EPOCHS)


@pytest.mark.newest
def test_broken_newest_checkpoint_gives_way_to_the_one_before(
    whole: Path, tiny_data: Path, tmp_path: Path
) -> None:
    path = run(config(tiny_data, tmp_path / "run"))
    newest, before = checkpoint.step_folders(path / "checkpoints")
    damage(newest)
    run(config(tiny_data, path, resume=True))
    assert_same_end(path, whole)
    damage(newest)
    damage(before)
    with pytest.raises(WorkError, match=r"no checkpoint .* is sound"):
        run(config(tiny_data, path, resume=True))


def damage(folder: Path) -> None:
    content = bytearray((folder / "arrays.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "arrays.npz").write_bytes(content)


def test_non_finite_value_stops_the_run(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run(config(tiny_data, tmp_path / "run", epochs=1))
    before = {p.name for p in (path / "checkpoints").iterdir()}
    original = callbacks.Tracking.on_train_batch_end

    def poisoned(self: callbacks.Tracking, batch: int, logs: dict | None = None) -> None:
        original(self, batch, {**(logs or {}), "kl": float("nan")})

    monkeypatch.setattr(callbacks.Tracking, "on_train_batch_end", poisoned)
    with pytest.raises(WorkError, match=r"kl became nan in epoch 2"):
        run(config(tiny_data, path, resume=True))
    assert {p.name for p in (path / "checkpoints").iterdir()} == before
    assert len(metrics(path)) == 1


def test_other_data_is_refused_on_resume(tiny_data: Path, tmp_path: Path) -> None:
    path = run(config(tiny_data, tmp_path / "run", epochs=1))
    saved = json.loads((path / "config.json").read_text())
    saved["data"]["fingerprint"] = "0" * 64
    (path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(UsageError, match="not the one that the run began with"):
        run(config(tiny_data, path, resume=True))


@pytest.mark.newest
def test_killed_process_resumes_bit_equal(whole: Path, tiny_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    flags = [
        "--dataset",
        "tiny",
        "--data-dir",
        tiny_data,
        "--epochs",
        EPOCHS,
        "--batch-size",
        BATCH_SIZE,
    ]
    flags += [
        "--latent-dim",
        2,
        "--hidden",
        16,
        "--run-dir",
        path,
        "--no-publish",
        "--checkpoint-every",
        1e-9,
    ]
    code = "import sys; from cli.train import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "vae", *map(str, flags)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while (
        not list(path.glob("checkpoints/step-*"))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert list(path.glob("checkpoints/step-*")), "nothing was saved before the kill"
    run(config(tiny_data, path, resume=True))
    assert_same_end(path, whole)


def test_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {"weights/000": np.arange(3.0)}
    checkpoint.save_step(tmp_path, 1, arrays, {"epoch": 1})

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save_step(tmp_path, 2, arrays, {"epoch": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]
    assert checkpoint.read(tmp_path / "step-000000001").state == {"epoch": 1}


def test_checkpoint_of_another_model_is_refused(
    tiny_data: Path, tmp_path: Path, whole: Path
) -> None:
    from tfgen import VAE

    found, _ = checkpoint.read_newest(whole / "checkpoints")
    assert found is not None
    with pytest.raises(WorkError, match="shape"):
        found.restore_weights(VAE((6, 6, 1), latent_dim=3, hidden=(16,)))


def test_two_newest_checkpoints_and_the_best_are_kept(whole: Path) -> None:
    names = sorted(p.name for p in (whole / "checkpoints").iterdir())
    assert names == ["best-000002", "step-000000041", "step-000000082"]
    best = json.loads((whole / "checkpoints" / "best-000002" / "state.json").read_text())
    assert best["value"] == min(row["val_loss"] for row in metrics(whole))


def test_loading_a_run_gives_its_weights(whole: Path) -> None:
    import tfgen

    last = tfgen.load(whole, weights="last")
    arrays = final_state(whole)
    for name, variable in checkpoint.variables(last).items():
        if name.startswith("weights/"):
            np.testing.assert_array_equal(variable.numpy(), arrays[name])
    with pytest.raises(UsageError, match="no run directory"):
        tfgen.load(whole.parent)
