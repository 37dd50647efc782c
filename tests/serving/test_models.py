"""Which versions there are, which are open, and what happens when they change."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from starlette.exceptions import HTTPException

from tests.commands import PATIENCE
from tests.serving.conftest import wait_for
from tfgen.publishing import versions
from tfgen.serving import models as local
from tfgen.serving.models import Models

SHIPPED = ["classifier", "flow", "flow-matching", "gan", "vae", "vae-hierarchical"]


class Impatient(Models):
    """Looks at the disk each time."""

    refresh = 0.0


@pytest.fixture
def saved_models(folder: Path, tmp_path: Path) -> Path:
    """A folder with version 2 of `gan-classes`."""
    shutil.copytree(folder / "gan-classes" / "2", tmp_path / "gan-classes" / "2")
    return tmp_path


def publish(saved_models: Path, number: int) -> Path:
    """Publishes version 2 again, by a rename, under another number."""
    base = saved_models / "gan-classes"
    shutil.copytree(base / "2", base / ".writing")
    return (base / ".writing").rename(base / str(number))


def number(models: Models, asked: int | None = None) -> int:
    return models.open("gan-classes", asked).sampler.number


def numbers(models: Models) -> list[int]:
    return [entry.version.number for entry in models.find("gan-classes")]


def test_only_the_models_that_are_named_are_served(saved_models: Path) -> None:
    archive = saved_models / "theirs.tfgen"
    versions.write_archive(versions.find("vae", saved_models), archive)
    publish(saved_models, 3)
    models = Impatient(saved_models, 1, {"gan-classes": None, "vae": versions.Version.at(archive)})
    numbers = {name: list(found) for name, found in models.entries().items()}
    assert numbers == {"gan-classes": [3, 2], "vae": [1]}
    assert models.open("vae").sampler.num_classes == 0
    models.close()


def test_a_new_version_is_served_while_the_old_one_stays(saved_models: Path) -> None:
    models = Impatient(saved_models, 1)
    assert number(models) == 2
    publish(saved_models, 3)
    assert numbers(models) == [3, 2]
    assert number(models) in (2, 3)  # it is opened in the background
    wait_for(lambda: number(models) == 3)
    assert number(models, 2) == 2
    shutil.rmtree(saved_models / "gan-classes" / "2")
    with pytest.raises(HTTPException, match=r"Specific\(gan-classes, 2\)"):
        models.open("gan-classes", 2)
    shutil.rmtree(saved_models / "gan-classes")
    with pytest.raises(HTTPException, match=r"Latest\(gan-classes\)"):
        models.open("gan-classes")
    models.close()


def test_a_damaged_version_is_passed_over_until_it_is_whole(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "RETRY", PATIENCE)
    models = Impatient(saved_models, 1)
    index = publish(saved_models, 3) / "variables" / "variables.index"
    whole = index.read_bytes()
    index.write_bytes(whole[:-1])
    assert number(models) == 2
    assert b"variables.index is damaged" in models.status("gan-classes", 3)
    with pytest.raises(HTTPException, match="damaged") as caught:
        models.open("gan-classes", 3)
    assert caught.value.status_code == 500
    error = capfd.readouterr().err
    assert error.startswith("tfgen-serve: error: ") and error.count("\n") == 1
    index.write_bytes(whole)
    monkeypatch.setattr(local, "RETRY", 0.0)
    wait_for(lambda: number(models) == 3)
    assert b"damaged" not in models.status("gan-classes", 3)
    models.close()


def test_what_tfgen_did_not_publish_is_not_served(saved_models: Path) -> None:
    base = saved_models / "gan-classes"
    (publish(saved_models, 3) / "manifest.json").unlink()
    (base / "4").mkdir()
    (base / "5").write_text("no folder")
    (base / "x").mkdir()
    (saved_models / "models.config").write_text("")
    (saved_models / ".hidden" / "1").mkdir(parents=True)
    models = Impatient(saved_models, 1)
    assert numbers(models) == [2]
    assert models.entries().keys() == {*SHIPPED, "gan-classes"}


def test_versions_with_other_signatures_are_not_listed(saved_models: Path, folder: Path) -> None:
    models = Impatient(saved_models, 1)

    def listed() -> list[int]:
        (model,) = (model for model in models.listed() if model.name == "gan-classes")
        return [version["number"] for version in model.versions]

    publish(saved_models, 3)
    assert listed() == [3, 2]
    shutil.copytree(folder / "vae-tiny" / "2", saved_models / "gan-classes" / "4")
    assert listed() == [4]


def test_only_some_versions_are_open_at_once(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "MAX_OPEN", 2)
    publish(saved_models, 3)
    publish(saved_models, 4)
    models = Impatient(saved_models, 1)
    first, third = models.open("gan-classes", 2), models.open("gan-classes", 3)
    assert models.open("gan-classes", 2) is first
    models.open("gan-classes", 4)
    assert len(models._futures) == 2 and models.open("gan-classes", 2) is first
    # A version that was closed can still finish what it computes.
    images = third.sampler.call("sample", seed=np.int32([1]), label=np.int32([1]))["images"]
    assert images.shape == (1, 6, 6, 1)
