"""Which weights of a run are published and sampled: the best, the last, or those of an epoch."""

import importlib
import json
import shutil
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import tfgen
from tests import commands
from tfgen.data import Split
from tfgen.settings.training import TrainingOptions
from tfgen.training.folder import RunFolder

pytestmark = pytest.mark.slow

EPOCHS = 4


@pytest.fixture(scope="module")
def gan(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `run` of a GAN, all it printed in `log`, and version 2 of `mine`."""
    folder = tmp_path_factory.mktemp("gan")
    flags = ["--preset", "mlp", "--generator-hidden", "4", "--discriminator-hidden", "4"]
    flags += ["--latent-dim", "2", "--batch-size", "128", "--dataset", "tiny"]
    flags += ["--data-dir", str(tiny_data), "--epochs", str(EPOCHS), "--keep-every", "3"]
    flags += ["--run-dir", str(folder / "run"), "--saved-models", str(folder), "--name", "mine"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rich.console.Console", lambda **settings: Console(file=output, **settings))
        output = StringIO()
        assert commands.main("train", ["gan", *flags]) == 0
    (folder / "log").write_text(output.getvalue())
    return folder


@pytest.fixture
def here(gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a copy of the run."""
    shutil.copytree(gan / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def epochs_of(run: Path, kind: str) -> set[int]:
    states = [json.loads(path.read_text()) for path in run.glob(f"checkpoints/{kind}-*/state.json")]
    return {state["epoch"] for state in states}


def test_the_samples_nearest_to_validation_images_are_published(gan: Path) -> None:
    rows = RunFolder(gan / "run").read_metrics()
    assert all({"val_distance", "diversity", "val_real_score"} <= row.keys() for row in rows)
    best = min(rows, key=lambda row: row["val_distance"])
    epoch, value = best["epoch"], best["val_distance"]
    manifest = json.loads((gan / "mine" / "2" / "manifest.json").read_text())
    assert manifest["weights"] == "best"
    origin = {"epoch": epoch, "monitor": "val_distance", "value": value}
    assert manifest["weights_origin"] == origin
    *_, published = (gan / "log").read_text().splitlines()
    assert f"from epoch {epoch}, the best by val_distance {value:.4g}; draw samples" in published
    live = tfgen.load(gan / "run", weights=epoch)
    published = tfgen.load(gan / "mine" / "2").sample(4)
    np.testing.assert_allclose(published, live.sample(4).numpy(), atol=1e-5)


def test_any_epoch_that_was_kept_is_sampled_and_exported(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert epochs_of(here / "run", "epoch") == {3}
    images = {
        weights: commands.npz("sample", "run", "--n", 4, "--weights", weights)["images"]
        for weights in ("3", str(EPOCHS), "last")
    }
    np.testing.assert_array_equal(images[str(EPOCHS)], images["last"])
    assert np.any(images["3"] != images["last"])
    assert "4 images of run (epoch 3 weights) in out.npz" in capfd.readouterr().out
    assert commands.main("export", ["run", "--to", "models", "--weights", "3"]) == 0
    assert "published models/mine/2 from epoch 3; draw" in capfd.readouterr().out
    manifest = json.loads(Path("models/mine/2/manifest.json").read_text())
    assert (manifest["weights"], manifest["weights_origin"]) == ("epoch 3", {"epoch": 3})


def test_an_epoch_that_was_not_kept_is_refused_with_those_that_were(here: Path) -> None:
    kept = ", ".join(map(str, sorted(epochs_of(here / "run", "*"))))
    message = f"no weights of epoch 9; it has those of {kept}; "
    commands.refused("sample", ["run", "--weights", "9"], message)


def test_a_run_without_a_best_checkpoint_says_that_its_last_weights_are_used(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (best,) = (here / "run" / "checkpoints").glob("best-*")
    shutil.rmtree(best)
    assert commands.main("export", ["run", "--to", "models", "--dry-run"]) == 0
    out, err = capfd.readouterr()
    assert err == "run has no best checkpoint; its last weights are used\n"
    assert out.startswith(f"would publish models/mine/2, weights of epoch {EPOCHS}, the last\n")


def test_without_comparable_validation_images_there_is_no_best_checkpoint() -> None:
    output = StringIO()
    run = SimpleNamespace(
        model=SimpleNamespace(monitor="val_distance", num_classes=0),
        is_finished=False,
        options=TrainingOptions(),
        dataset=SimpleNamespace(validation=Split(np.zeros((9, 4, 4, 2), np.uint8))),
        folder=RunFolder(Path("run")),
    )
    train = importlib.import_module(f"{commands.PACKAGE}.train")
    assert not train.sample_monitors(run, Console(file=output), "best")
    assert "the run has no best checkpoint" in output.getvalue()
