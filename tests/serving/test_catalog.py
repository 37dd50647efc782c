"""Which versions there are, which are open, and what happens when they change."""

import io
import json
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.commands import PATIENCE
from tests.serving.conftest import wait_for
from tfgen.errors import WorkError
from tfgen.publishing.versions import Version
from tfgen.serving import catalog
from tfgen.serving.catalog import Catalog, Entry, OpenVersion
from tfgen.serving.data_images import DataImages
from tfgen.serving.listing import Listing
from tfgen.serving.local import LocalModels
from tfgen.serving.refusal import RefusalError

pytestmark = pytest.mark.newest

SHIPPED = ["classifier", "flow", "gan", "vae", "vae-hierarchical"]


class Impatient(Catalog):
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


def number(models: Catalog, asked: int | None = None) -> int:
    return models.open("gan-classes", asked).sampler.number


def numbers(models: Catalog) -> list[int]:
    return [entry.version.number for entry in models.find("gan-classes")]


def fault(models: Catalog, number: int) -> str | None:
    (entry,) = models.find("gan-classes", number)
    return models.fault(entry)


def test_a_new_version_is_served_while_the_old_one_stays(saved_models: Path) -> None:
    models = Impatient(saved_models)
    assert number(models) == 2
    publish(saved_models, 3)
    assert numbers(models) == [3, 2]
    assert number(models) in (2, 3)  # it is opened in the background
    wait_for(lambda: number(models) == 3)
    assert models.open_count == 1
    assert number(models, 2) == 2
    shutil.rmtree(saved_models / "gan-classes" / "2")
    with pytest.raises(RefusalError, match=r"Specific\(gan-classes, 2\)"):
        models.open("gan-classes", 2)
    shutil.rmtree(saved_models / "gan-classes")
    with pytest.raises(RefusalError, match=r"Latest\(gan-classes\)"):
        models.open("gan-classes")
    assert models.open_count == 0
    models.close()


def test_the_newest_is_the_newest_although_an_older_one_is_open(saved_models: Path) -> None:
    publish(saved_models, 3)
    models = Impatient(saved_models)
    assert number(models, 2) == 2
    assert number(models) == 3
    models.close()


def test_the_disk_is_looked_at_only_now_and_then(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, looks = Catalog(saved_models), []
    read = models.read
    monkeypatch.setattr(models, "read", lambda: looks.append(0) or read())
    for _ in range(100):
        numbers(models)
    assert len(looks) <= 2


def test_a_folder_that_goes_while_it_is_read_does_no_harm(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(folder: Path) -> list[int]:
        raise FileNotFoundError(2, "No such file or directory", str(folder))

    models = Impatient(saved_models)
    assert numbers(models) == [2]
    with monkeypatch.context() as patch:
        patch.setattr("tfgen.publishing.versions.version_numbers", gone)
        assert numbers(models) == [2]
    assert numbers(models) == [2]


def test_a_damaged_version_is_passed_over_until_it_is_whole(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalog, "RETRY", 0.0)
    models = Impatient(saved_models)
    index = publish(saved_models, 3) / "variables" / "variables.index"
    whole = index.read_bytes()
    index.write_bytes(whole[:-1])
    assert number(models) == 2
    assert fault(models, 2) is None
    assert "variables.index is damaged" in (fault(models, 3) or "")
    with pytest.raises(RefusalError, match="damaged") as caught:
        models.open("gan-classes", 3)
    assert caught.value.status == 500
    error = capfd.readouterr().err
    assert error.startswith("tfgen-serve: error: ") and error.count("\n") == 1
    index.write_bytes(whole)
    wait_for(lambda: number(models) == 3)
    assert fault(models, 3) is None
    models.close()


def test_a_damaged_version_is_opened_once_for_all_that_ask(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, go_on = [], threading.Event()

    def fail(version: Version) -> OpenVersion:
        opened.append(version.number)
        go_on.wait(PATIENCE)
        raise WorkError("damaged")

    models = Impatient(saved_models)
    number(models)
    publish(saved_models, 3)
    monkeypatch.setattr(catalog, "open_version", fail)
    assert [number(models) for _ in range(5)] == [2] * 5
    go_on.set()
    models._opener.submit(int).result(PATIENCE)  # after all that waited before it
    assert opened == [3]
    models.close()


def test_an_error_that_nobody_can_read_is_answered(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    (saved_models / "gan-classes" / "2" / "fingerprint.pb").write_bytes(b"")
    monkeypatch.setattr(sys, "stderr", Broken())
    models = Impatient(saved_models)
    with pytest.raises(RefusalError, match="damaged"):
        models.open("gan-classes")
    models.close()


def test_a_request_looks_once_at_what_there_is(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Impatient(saved_models)
    local = LocalModels(models, 50)
    for ask, expected in ((local.status, b"AVAILABLE"), (local.metadata, b"signature_def")):
        # The version goes while the request is answered.
        looks: list[dict[str, dict[int, Entry]]] = [{}, models.read()]
        monkeypatch.setattr(models, "entries", looks.pop)
        assert expected in ask("gan-classes", 2)
    models.close()


def test_a_name_whose_versions_are_all_damaged_is_an_error(saved_models: Path) -> None:
    (saved_models / "gan-classes" / "2" / "fingerprint.pb").write_bytes(b"")
    publish(saved_models, 3)
    models = Impatient(saved_models)
    for _ in range(2):
        with pytest.raises(RefusalError, match="damaged"):
            models.open("gan-classes")
    models.close()


def test_a_model_whose_manifest_was_edited_is_not_listed(saved_models: Path) -> None:
    path = saved_models / "gan-classes" / "2" / "manifest.json"
    manifest = json.loads(path.read_text())
    listing = Listing(Impatient(saved_models), DataImages())

    def names() -> list[str]:
        return [model["name"] for model in listing.content()["models"]]

    assert "gan-classes" in names()
    for wrong in (5, {"sample": 5}, {"sample": {"inputs": {}, "outputs": {"images": {}}}}):
        path.write_text(json.dumps(manifest | {"signatures": wrong}))
        assert names() == SHIPPED


def test_versions_with_other_signatures_are_not_listed(saved_models: Path, folder: Path) -> None:
    listing = Listing(Impatient(saved_models), DataImages())

    def listed() -> list[int]:
        models = {model["name"]: model for model in listing.content()["models"]}
        return [version["number"] for version in models["gan-classes"]["versions"]]

    publish(saved_models, 3)
    assert listed() == [3, 2]
    shutil.copytree(folder / "vae-tiny" / "2", saved_models / "gan-classes" / "4")
    assert listed() == [4]


def test_what_tfgen_did_not_publish_is_not_served(saved_models: Path) -> None:
    base = saved_models / "gan-classes"
    (publish(saved_models, 3) / "manifest.json").unlink()
    (base / "4").mkdir()
    (base / "5").write_text("no folder")
    (base / "x").mkdir()
    (saved_models / "models.config").write_text("")
    (saved_models / ".hidden" / "1").mkdir(parents=True)
    models = Impatient(saved_models)
    assert numbers(models) == [2]
    assert models.entries().keys() == {*SHIPPED, "gan-classes"}


def test_only_some_versions_are_open_at_once(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "MAX_OPEN", 2)
    publish(saved_models, 3)
    publish(saved_models, 4)
    models = Impatient(saved_models)
    first = models.open("gan-classes", 2)
    models.open("gan-classes", 3)
    assert models.open("gan-classes", 2) is first
    models.open("gan-classes", 4)
    assert models.open_count == 2
    assert models.open("gan-classes", 2) is first
    # A version that was closed can still finish what it computes.
    third = models.open("gan-classes", 3)
    images = third.sampler.call("sample", seed=np.int32([1]), label=np.int32([1]))["images"]
    assert images.shape == (1, 6, 6, 1)


def test_a_version_that_takes_the_place_of_another_is_opened(
    saved_models: Path, folder: Path
) -> None:
    models = Impatient(saved_models)
    before = models.open("gan-classes")
    path = saved_models / "gan-classes" / "2"
    shutil.rmtree(path)
    shutil.copytree(folder / "vae-tiny" / "2", path)
    after = models.open("gan-classes")
    assert after is not before and "label" not in after.signatures["sample"].inputs
