"""`tfgen-train --train-on all`: no validation, the last weights, and what says so later."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import commands
from tests.cli.conftest import run_evaluate
from tests.conftest import Trained
from tfgen.publishing.versions import Version, read_manifest
from tfgen.training.folder import RunFolder

pytestmark = pytest.mark.slow

# All 400 stored training images of `tiny`, 66 of which are for validation by default. An epoch
# passes three times over so few.
IMAGES, BATCH = 400, 80
STEPS = 3 * (IMAGES // BATCH)
NOTE = "trained on the validation images, too (--train-on all)"


def train(family: str, data: Path, folder: Path, *flags: object) -> int:
    words = [family, "--preset", "conv" if family == "classifier" else "mlp", "--epochs", 1]
    words += ["--dataset", "tiny", "--data-dir", data, "--batch-size", BATCH, "--name", family]
    words += ["--run-dir", folder / "run", "--saved-models", folder / "models", *flags]
    return commands.main("train", words)


SMALL = {
    "vae": ("--hidden", 4, "--latent-dim", 2),
    "gan": ("--generator-hidden", 4, "--discriminator-hidden", 4, "--latent-dim", 2),
    "classifier": ("--channels", 2, "--units", 8),
}


@pytest.fixture(scope="module")
def trained_on_all(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """For each family a folder with the run `run` of all images, and its version in `models`."""

    @functools.cache
    def folder(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        assert train(family, tiny_data, folder, "--train-on", "all", *SMALL[family]) == 0
        return folder

    return folder


@pytest.fixture
def vae(trained_on_all: Any) -> Path:
    return Path(trained_on_all("vae"))


@pytest.mark.parametrize("family", SMALL)
def test_a_run_of_all_images_validates_nothing_and_publishes_its_last_weights(
    family: str, trained_on_all: Any
) -> None:
    folder = trained_on_all(family)
    run = RunFolder(folder / "run")
    (row,) = run.read_metrics()
    assert not [name for name in row if name.startswith("val_")]
    assert ({"distance", "diversity"} <= row.keys()) == (family == "gan")
    assert {path.name for path in run.checkpoints.iterdir()} == {f"step-{STEPS:09d}"}
    assert run.read_config()["options"]["train_on"] == "all"
    manifest = read_manifest(Version(family, 2, folder / "models" / family / "2").path)
    assert manifest["run"]["options"]["train_on"] == "all"
    assert (manifest["weights"], manifest["weights_origin"]) == ("last", {"epoch": 1})
    pictures = {path.stem for path in run.figures.iterdir()}
    assert {"gan": {"scores"}, "classifier": {"mistakes"}}.get(family, set()) <= pictures


def test_an_evaluation_says_what_the_model_was_trained_on(
    vae: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--importance-samples", 2, "--features", "random"]
    assert run_evaluate(trained, vae / "run", *flags, "--out", "all.json") == 0
    assert f"- all: {NOTE}" in capfd.readouterr().out
    result = json.loads(Path("all.json").read_text())
    assert result["train_on"] == result["settings"]["options"]["train_on"] == "all"
    assert (result["dataset"]["split"], result["floor_images"]) == ("test", "validation")
    assert all(index < IMAGES for _, index in result["samples"]["copies"]["nearest"])
    assert commands.main("compare", ["all.json"]) == 0
    assert capfd.readouterr().out.count(f"- all: {NOTE}") == 3  # samples, likelihood, cost
    assert run_evaluate(trained, vae / "run", *flags, "--split", "validation") == 2
    assert "was trained with --train-on all; leave out" in capfd.readouterr().err


def test_shards_know_what_their_model_was_trained_on(
    vae: Path, tiny_data: Path, tmp_path: Path
) -> None:
    from tfgen.data import load
    from tfgen.evaluation.sources import find_shards, open_shards

    folder = str(tmp_path / "shards")
    words = [str(vae / "run"), "--n", "8", "--shard-size", "8", "--out", folder]
    assert commands.main("sample", words) == 0
    source = open_shards(Path(folder), find_shards(Path(folder)), 8, 0)
    assert source.train_on == "all"
    assert len(source.training_split(load("tiny", tiny_data))) == IMAGES


def test_resume_keeps_the_images_and_the_weights(
    vae: Path, tiny_data: Path, tmp_path: Path, capfd: Any
) -> None:
    shutil.copytree(vae, tmp_path / "copy")
    place = ["vae", "--resume", "--run-dir", str(tmp_path / "copy" / "run")]
    text = "the run was started with --train-on all, not train; leave the flag out"
    commands.refused("train", [*place, "--train-on", "train"], text)
    commands.refused("train", [*place, "--weights", "best"], "needs validation images")
    models = tmp_path / "copy" / "models"
    assert commands.main("train", [*place, "--epochs", "2", "--saved-models", str(models)]) == 0
    assert "vae/3 from epoch 2, the last; draw" in capfd.readouterr().out
    assert read_manifest(models / "vae" / "3")["weights"] == "last"
