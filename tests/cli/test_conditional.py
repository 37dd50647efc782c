"""A class-conditional model from the command line."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from tests.arrays import shows_grid
from tests.conftest import CLASS_NAMES
from tests.publishing.serving_double import Double
from tfgen.figures import class_axis, image_grid

pytestmark = pytest.mark.slow

CLASSES = 3  # of the data set `tiny`


@pytest.fixture(scope="module")
def models(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of published samplers after a short conditional training of a GAN."""
    folder = tmp_path_factory.mktemp("conditional")
    flags = ["--conditional", "--dataset", "tiny", "--data-dir", tiny_data, "--epochs", "1"]
    flags += ["--run-dir", folder / "run", "--saved-models", folder / "models"]
    flags += ["--generator-hidden", "8", "--discriminator-hidden", "8"]
    assert commands.main("train", ["gan", "--preset", "mlp", *flags]) == 0
    return folder / "models"


@pytest.fixture
def name(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The published name, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    (folder,) = (path for path in models.iterdir() if path.is_dir())
    return folder.name


def arrays(models: Path, name: str, *flags: object) -> dict[str, np.ndarray]:
    return commands.npz("sample", name, "--saved-models", models, *flags)


def test_the_name_and_the_manifest_tell_of_classes(models: Path, name: str) -> None:
    assert name == "gan-100d-conditional-tiny"
    manifest = json.loads((models / name / "2" / "manifest.json").read_text())
    assert manifest["num_classes"] == CLASSES
    assert manifest["signatures"]["sample"]["inputs"].keys() == {"seed", "label"}
    assert manifest["signatures"]["decode"]["inputs"].keys() == {"latents", "label"}
    assert manifest["run"]["model"]["num_classes"] == CLASSES


def test_the_picture_has_a_row_for_each_class(models: Path, name: str) -> None:
    argv = [name, "--saved-models", str(models), "--n", "15", "--out", "out.png"]
    assert commands.main("sample", argv) == 0
    # The array keeps the order of the request: class 0, 1, 2, 0, 1, 2, ….
    stored = arrays(models, name, "--n", 15)["images"] / np.float32(255)
    by_class = np.concatenate([stored[label::CLASSES] for label in range(CLASSES)])
    assert shows_grid(Path("out.png"), image_grid(by_class, 5))


def test_a_label_may_be_the_name_of_a_class(models: Path, name: str) -> None:
    run = json.loads((models / name / "2" / "manifest.json").read_text())["run"]
    assert run["data"]["class_names"] == CLASS_NAMES
    of_number = arrays(models, name, "--n", 2, "--label", 2)
    # In any case; accents may be characters of their own, as in names of files on macOS.
    for text in ("CAFÉ", unicodedata.normalize("NFD", "café")):
        of_name = arrays(models, name, "--n", 2, "--label", text)
        np.testing.assert_array_equal(of_name["labels"], [2, 2])
        np.testing.assert_array_equal(of_name["images"], of_number["images"])
    error = f"{name} version 2 has no class 'be'; did you mean 'bee'? known: ant, bee, café\n"
    commands.refused("sample", [name, "--saved-models", models, "--label", "be"], error)


def test_several_labels_take_turns_also_by_name_from_a_server(models: Path, name: str) -> None:
    labels = ["--n", 5, "--label", "café", "ant"]
    expected = arrays(models, name, *labels)
    np.testing.assert_array_equal(expected["labels"], [2, 0, 2, 0, 2])
    with Double(models).running() as double:
        served = commands.npz("sample", name, "--url", double.url, *labels)
        assert all(np.array_equal(served[key], value) for key, value in expected.items())
        message = "has no class 'ant'; pass the number of a class"
        commands.refused("sample", [name, "--grpc", double.grpc, "--label", "ant"], message)
    for flags in (["--shard-size", "2"], ["--manifold", "2"]):
        assert commands.main("sample", [name, *flags, "--label", "ant", "bee"]) == 2
    assert class_axis([2, 0], CLASS_NAMES).labels == ["café", "ant"]
