"""A run survives: interrupted or damaged, it ends as if nothing had happened.

See test_workers.py for one that is killed.
"""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np
import pytest
from rich.console import Console

from tests.training.test_checkpoint import damage
from tfgen import VAE
from tfgen.callbacks import SampleMonitor
from tfgen.errors import InterruptedRunError, UsageError, WorkError
from tfgen.models.gan.config import GANConfig
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.training import checkpoint
from tfgen.training.folder import RunFolder
from tfgen.training.run import Run

# 400 images less 66 for validation make 41 steps, and an epoch of three passes 123.
EPOCHS, BATCH_SIZE = 2, 8


# Whatever has a state: the step decides the generator's turn, the discriminator's masks and its
# iteration.
GAN_MODEL = GANConfig(
    latent_dim=3,
    generator_hidden=(8,),
    discriminator_hidden=(8,),
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
        **changes,
    }
    return RunConfig("vae", VAEConfig(latent_dim=2, hidden=(16,)), TrainingOptions(**options))


def train(
    config: RunConfig, *callbacks: keras.callbacks.Callback, output: TextIO | None = None
) -> Path:
    """Trains in silence; returns the run directory."""
    with Path(os.devnull).open("w") as nowhere:
        run = Run(config, Console(file=output or nowhere))
        with run.started():
            run.train([*observers(run), *callbacks])
    return run.folder.path


def before_steps(group: int, act: Callable[[], object]) -> keras.callbacks.Callback:
    """Acts before a group of training steps; the first one of a call of `train` is number 1."""
    groups = itertools.count(1)
    return keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs=None: act() if next(groups) == group else None
    )


def interrupted_in(group: int) -> keras.callbacks.Callback:
    """A SIGTERM arrives during that group of steps."""
    return before_steps(group, lambda: signal.raise_signal(signal.SIGTERM))


def observers(run: Run) -> list[SampleMonitor]:
    """What `tfgen-train` adds to the logs of a GAN."""
    if run.config.family != "gan":
        return []
    validation, earlier = run.dataset.validation, run.folder.read_metrics()
    return [SampleMonitor(validation.images, validation.labels, n=20, earlier=earlier)]


def resumed(config: RunConfig) -> RunConfig:
    return dataclasses.replace(config, options=dataclasses.replace(config.options, resume=True))


def final_state(run_dir: Path) -> dict[str, np.ndarray]:
    newest, problems = checkpoint.read_newest(run_dir / "checkpoints")
    assert newest is not None
    assert not problems
    return newest.arrays


def metrics(run_dir: Path) -> list[dict[str, float]]:
    rows = RunFolder(run_dir).read_metrics()
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "peak_mib")}
        for row in rows
    ]


def assert_same_end(a: Path, b: Path) -> None:
    np.testing.assert_equal(final_state(a), final_state(b))
    assert metrics(a) == metrics(b)


def assert_same_figures(*runs: Path) -> None:
    first, second = ({path.name for path in (run / "figures").iterdir()} for run in runs)
    assert first == second


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing disturbed."""
    return train(config(tiny_data, tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture(scope="module")
def one_epoch(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, with an end after its first epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tfgen-train", "started"])
        return train(config(tiny_data, tmp_path_factory.mktemp("one") / "run", epochs=1))


def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_interrupted_and_resumed_ends_bit_equal(
    whole: Path, tiny_data: Path, tmp_path: Path
) -> None:
    # Eight groups of steps an epoch. The run is interrupted inside the first epoch, at its end,
    # and at the very end, each time after the groups since the last time. The next two tests
    # interrupt the second epoch.
    steps = []
    for groups in (1, 7, 8):
        is_resumed = (tmp_path / "run").exists()
        with pytest.raises(InterruptedRunError, match="--resume") as caught:
            train(config(tiny_data, tmp_path / "run", resume=is_resumed), interrupted_in(groups))
        assert caught.value.exit_status == 128 + signal.SIGTERM
        steps.append(checkpoint.newest_first(tmp_path / "run" / "checkpoints", "step")[0].name)
    assert steps == [f"step-{step:09d}" for step in (16, 123, 246)]
    train(config(tiny_data, tmp_path / "run", resume=True))
    assert_same_end(tmp_path / "run", whole)
    assert_same_figures(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_draws_keeps_its_epoch(
    whole: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    draw, steps = VAE.preview, 123

    def kill(model: Any) -> Any:
        if int(model.step) == steps:
            raise Killed
        return draw(model)

    monkeypatch.setattr(VAE, "preview", kill)
    for epoch in range(1, EPOCHS + 1):  # after the last one, too
        steps = 123 * epoch
        with pytest.raises(Killed):
            train(config(tiny_data, tmp_path / "run", resume=epoch > 1))
        newest, _ = checkpoint.read_newest(tmp_path / "run" / "checkpoints")
        assert newest is not None and newest.state["epoch"] == epoch
    monkeypatch.undo()
    train(config(tiny_data, tmp_path / "run", resume=True))
    assert_same_end(tmp_path / "run", whole)
    assert_same_figures(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_gan_interrupted_and_resumed_ends_bit_equal(tiny_data: Path, tmp_path: Path) -> None:
    # Conditional, as labels are one thing more that has to go on where it stopped.
    whole = train(gan_config(tiny_data, tmp_path / "whole", conditional=True))
    part = gan_config(tiny_data, tmp_path / "part", conditional=True)
    with pytest.raises(InterruptedRunError, match="--resume"):
        train(part, interrupted_in(10))
    train(resumed(part))
    assert_same_end(tmp_path / "part", whole)
    slots = {key.split("/")[1] for key in final_state(whole) if key.startswith("optimizers/")}
    assert slots == {"generator_optimizer", "discriminator_optimizer"}
    distances = [row["val_distance"] for row in metrics(whole)]
    for run_dir in (whole, tmp_path / "part"):
        best = checkpoint.read_best(run_dir / "checkpoints")
        assert best is not None
        assert best.state["value"] == min(distances)


@pytest.mark.slow
def test_more_epochs_extend_a_run(
    whole: Path, one_epoch: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(one_epoch, tmp_path)
    (path / "checkpoints" / ".writing-of-a-killed-process").mkdir()
    monkeypatch.setattr(sys, "argv", ["tfgen-train", "extended"])
    train(config(tiny_data, path, resume=True))
    assert_same_end(path, whole)
    assert not list((path / "checkpoints").glob(".*"))
    saved = RunFolder(path).read_config()
    assert (saved["command"], saved["options"]["epochs"]) == (["tfgen-train", "started"], EPOCHS)


@pytest.mark.slow
def test_a_broken_newest_checkpoint_gives_way_to_the_one_before(
    whole: Path, tiny_data: Path, tmp_path: Path
) -> None:
    path = copied(whole, tmp_path)
    newest, before = checkpoint.newest_first(path / "checkpoints", "step")
    damage(newest)
    with pytest.raises(InterruptedRunError):
        train(config(tiny_data, path, resume=True), interrupted_in(1))
    # Fewer steps than those of the broken one, and yet the newest.
    interrupted, *older = checkpoint.newest_first(path / "checkpoints", "step")
    assert before.name < interrupted.name < newest.name
    assert older == [before]
    train(config(tiny_data, path, resume=True))
    assert_same_end(path, whole)
    for folder in checkpoint.newest_first(path / "checkpoints", "step"):
        damage(folder)
    content = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(WorkError, match=r"no checkpoint .* is sound"):
        train(config(tiny_data, path, resume=True))
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == content


@pytest.mark.slow
def test_damage_beside_a_sound_checkpoint_is_set_aside(
    whole: Path, one_epoch: Path, tiny_data: Path, tmp_path: Path
) -> None:
    path = copied(one_epoch, tmp_path)
    (best,) = checkpoint.newest_first(path / "checkpoints", "best")
    damage(best)
    with (path / "metrics.jsonl").open("ab") as file:
        file.writelines([b"{}\n", b"3\n", b"[" * 10**5 + b"\n", b'{"epoch": "\xff"}\n', b'{"e'])
    train(config(tiny_data, path, resume=True))
    assert_same_end(path, whole)
    assert (path / f"damaged-{best.name}" / "arrays.npz").exists()


def test_non_finite_value_stops_the_run(one_epoch: Path, tiny_data: Path, tmp_path: Path) -> None:
    path, steps = copied(one_epoch, tmp_path), config(tiny_data, tmp_path / "run", resume=True)
    before = {p.name for p in (path / "checkpoints").iterdir()}
    run = Run(steps, Console(quiet=True))
    # Not the first kernel: oneDNN's ReLU makes a zero of what is no number.
    kernel = run.model.trainable_variables[-1]
    spoil = before_steps(2, lambda: kernel.assign(np.nan * kernel))
    with (
        pytest.raises(WorkError, match=r"became nan in epoch 2; .* are in .*/run/checkpoints"),
        run.started(),
    ):
        run.train([spoil])
    assert {p.name for p in (path / "checkpoints").iterdir()} == before
    assert len(metrics(path)) == 1


def test_changed_data_is_refused_on_resume(
    one_epoch: Path, tiny_data: Path, tmp_path: Path
) -> None:
    path = copied(one_epoch, tmp_path)
    saved = json.loads((path / "config.json").read_text())
    saved["data"]["fingerprint"] = "0" * 64
    (path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(UsageError, match="not the one that the run was started with"):
        train(config(tiny_data, path, resume=True))


@pytest.mark.slow
def test_a_plateau_is_told_once(tiny_data: Path, tmp_path: Path) -> None:
    output = StringIO()
    # A step so small that no weight changes.
    options = {"epochs": 13, "learning_rate": 1e-30, "batch_size": 400}
    train(config(tiny_data, tmp_path / "run", **options), output=output)
    notes = [line for line in output.getvalue().splitlines() if "has not improved" in line]
    assert len(notes) == 1 and f"tfgen-export {tmp_path / 'run'}" in notes[0]
