"""`tfgen-train`: the run directory, what is published, how a run is resumed."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from tests.cli.worlds import edit_json
from tests.conftest import SIDE, Trained

SHORT = ("--epochs", "1", "--batch-size", "64", "--hidden", "4", "--latent-dim", "2")
# 400 stored images less 66 for validation, which an epoch passes three times.
STEPS = 3 * ((400 - 66) // 64)


def train(trained: Trained, *flags: object, short: Sequence[str] = SHORT) -> int:
    data = ["--dataset", "tiny", "--data-dir", trained.data]
    words = ["vae", "--preset", "mlp", *data, *short, *flags]
    return commands.main("train", [str(word) for word in words])


def resume(*flags: object) -> int:
    return commands.main("train", ["vae", "--resume", *(str(word) for word in flags)])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_run_directory_is_the_documented_one(trained: Trained) -> None:
    run = trained.runs / "flat"
    files = {".lock", "config.json", "metrics.jsonl", "checkpoints", "figures", "tensorboard"}
    assert names(run) == files
    kept = {f"step-{STEPS:09d}", f"step-{2 * STEPS:09d}", "best-000000002"}
    assert names(run / "checkpoints") == kept
    for folder in (run / "checkpoints").iterdir():
        assert names(folder) == {"arrays.npz", "state.json", "sha256.json"}
    for part in ("train", "validation"):
        (events,) = (run / "tensorboard" / part).iterdir()
        assert events.name.startswith("events.out.tfevents")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    logged = {"loss", "reconstruction", "kl"}
    for row in rows:
        validated = {f"val_{name}" for name in logged}
        assert row.keys() == {"epoch", "seconds", "peak_mib"} | logged | validated
        # −ELBO is the sum of its parts; each is a float64 mean of sums over pixels in float32.
        assert row["loss"] == pytest.approx(row["reconstruction"] + row["kl"], rel=1e-5)


@pytest.mark.slow
def test_dry_run_prints_the_cost_and_writes_nothing(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(trained, "--dry-run", "--epochs", "7", "--run-dir", "run") == 0
    out, err = capfd.readouterr()
    assert err == ""
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    # Dense layers: pixels → 4 → mean and scale of 2, and 2 → 4 → pixels, each with its bias.
    pixels = SIDE * SIDE
    parameters = (pixels + 1) * 4 + (4 + 1) * 4 + (2 + 1) * 4 + (4 + 1) * pixels
    assert rows["parameters"] == f"{parameters}"
    assert rows["training"].endswith(f" {STEPS} per epoch, {7 * STEPS} in total")
    assert rows["latent_dim"] == "2"
    assert rows["time"].startswith("about ")
    assert rows["memory"].startswith("about ") and rows["disk"].endswith(" per checkpoint")
    assert not names(here)


@pytest.mark.slow
def test_a_closed_pipe_ends_a_training_with_its_state_saved(trained: Trained, here: Path) -> None:
    words = ["vae", "--preset", "mlp", "--dataset", "tiny", "--data-dir", str(trained.data)]
    words += [*SHORT, "--epochs", "5000", "--run-dir", "run"]
    with commands.opened("train", words, here) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert "the state is saved" in process.stderr.read()
    assert process.returncode == 130
    assert list((here / "run" / "checkpoints").iterdir())


def copy_of_run(trained: Trained, run: Path) -> Path:
    """A copy of the finished run `flat`."""
    return Path(shutil.copytree(trained.runs / "flat", run))


def contents(*folders: Path) -> dict[Path, bytes]:
    """All files in some folders."""
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in paths}


@pytest.mark.parametrize("flags", [(), ("--epochs", 1)])
def test_a_finished_run_is_left_as_it_is(
    flags: tuple[object, ...], trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, models = copy_of_run(trained, here / "run"), here / "models"
    shutil.copytree(trained.saved_models, models)
    (run / "evaluation.json").write_text("{}")
    before = contents(run, models)
    assert resume("--run-dir", run, "--saved-models", models, *flags) == 0
    out, err = capfd.readouterr()
    assert contents(run, models) == before
    place = "" if flags else f", and is published as {models / 'vae-2d-tiny' / '2'}"
    assert out.startswith(f"nothing to do: {run} has 2 epochs{place}; ")
    assert out.count("\n") == 1 and err == ""


@pytest.mark.slow
def test_a_run_killed_before_its_publishing_is_published_once(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import tfgen

    run = copy_of_run(trained, here / "run")
    # A resumption publishes where the run did.
    publishing = {"saved_models": "models", "publish": True, "weights": "best"}
    edit_json(run / "config.json", publishing=publishing)
    before = contents(run)
    for line in ("published models/vae-2d-tiny/2", "nothing to do: "):
        assert resume("--run-dir", run) == 0
        assert capfd.readouterr().out.splitlines()[-1].startswith(line)
    assert names(here / "models" / "vae-2d-tiny") == {"2"}
    assert contents(run) == before
    # The weights are those that the run published at its end.
    folders = (folder / "vae-2d-tiny" / "2" for folder in (here / "models", trained.saved_models))
    samples = [np.asarray(tfgen.load(folder).sample(4)) for folder in folders]
    np.testing.assert_allclose(*samples, atol=1e-5)


@pytest.mark.slow
def test_last_samples_that_a_kill_left_out_are_drawn(trained: Trained, here: Path) -> None:
    run = copy_of_run(trained, here / "run")
    samples = run / "figures" / "samples-2.png"
    samples.unlink()
    assert resume("--run-dir", run, "--no-publish") == 0
    assert samples.exists()


def test_a_resumption_keeps_what_started_the_run(
    trained: Trained, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_of_run(trained, here / "run")
    publishing = {"saved_models": "models", "publish": False, "weights": "best"}
    edit_json(run / "config.json", publishing=publishing)
    before = json.loads((run / "config.json").read_text())
    monkeypatch.setattr("sys.argv", ["tfgen-train", "extended"])
    assert resume("--run-dir", run, "--epochs", 3, "--weights", "last") == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
    assert names(here) == {"run"}
    after = json.loads((run / "config.json").read_text())
    (resumption,) = after["resumed"]
    assert resumption["command"] == ["tfgen-train", "extended"]
    assert after == {
        **before,
        "options": {**before["options"], "epochs": 3, "run_dir": str(run)},
        "publishing": {**publishing, "weights": "last"},
        "resumed": [resumption],
    }


@pytest.mark.slow
def test_a_new_version_has_the_next_number_and_says_how_it_differs_from_the_one_before(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert names(trained.saved_models / "vae-2d-tiny") == {"2"}
    models = Path(shutil.copytree(trained.saved_models, here / "my models"))
    assert train(trained, "--seed", 1, "--saved-models", "my models") == 0
    *_, difference, published = capfd.readouterr().out.splitlines()
    assert published.startswith("published my models/vae-2d-tiny/3 from epoch 1, ")
    assert published.endswith("tfgen-sample vae-2d-tiny --n 25 --saved-models 'my models'")
    assert difference.startswith("vae-2d-tiny version 3: preset mlp, dataset tiny, batch size 64, ")
    assert "seed 1" in difference.partition("; version 2: ")[0]
    assert names(models / "vae-2d-tiny") == {"2", "3"}
    manifest = json.loads((models / "vae-2d-tiny" / "3" / "manifest.json").read_text())
    entries = [manifest[name] for name in ("family", "weights", "name")]
    assert entries == ["vae", "best", "vae-2d-tiny"]
    # A run without a folder goes to `runs`, and is resumed from there.
    (run,) = Path("runs").iterdir()
    assert re.fullmatch(r"vae-2d-tiny-\d{8}-\d{6}", run.name)
    assert resume() == 0
    assert f"nothing to do: {run} has 1 epoch, and is published" in capfd.readouterr().out
