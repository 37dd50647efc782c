"""Published versions on disk: numbered, whole, checked before they are loaded."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.errors import refuses
from tfgen import VAE
from tfgen.errors import UsageError, WorkError
from tfgen.publishing import export, listing, versions
from tfgen.publishing.artifacts import identify
from tfgen.serving.listing import Listing
from tfgen.serving.models import Models
from tfgen.serving.pool import Pool


def small(**fields: object) -> VAE:
    return VAE(image_shape=(6, 6, 1), latent_dim=2, hidden=(16,), **fields)


def write_file(folder: Path) -> dict:
    (folder / "saved_model.pb").write_bytes(b"")
    return {"signatures": {}}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    return export.publish(small(), folder, "small", run={"family": "vae"}, weights="last")


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "small" / "2"))


def test_what_is_trained_in_a_checkout_is_not_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a checkout, the folder of the shipped versions is where `tfgen-train` publishes."""
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    for path in ("vae/1", "vae/2", "own/2"):
        (checkout / path).mkdir(parents=True)
        write_file(checkout / path)
        (checkout / path / "manifest.json").write_text('{"files": {}, "signatures": {}}')
    monkeypatch.setattr(versions, "shipped_folder", lambda: checkout)
    for folder, number, rows in ((checkout, 2, 3), (elsewhere, 1, 1)):
        assert versions.find("vae", folder).number == number
        assert len(list(listing.rows(folder))) == rows
        served = Models(folder, 1).read()
        assert (len(served), max(served["vae"])) == (number, number)
    refuses(lambda: versions.find("own", elsewhere), "unknown model 'own'")


def test_what_a_killed_publication_left_is_removed_by_the_next(tmp_path: Path) -> None:
    def write_until_killed(folder: Path) -> dict:
        (folder / "variables").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it was not killed")

    process = multiprocessing.get_context("fork").Process(
        target=versions.write_version, args=(tmp_path, "x", write_until_killed)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = (tmp_path / "x").glob(".writing-*/variables")

    def write(folder: Path) -> dict:
        assert not left.exists()
        # A publication of another name leaves the folder of this one, which this process holds.
        versions.write_version(tmp_path, "y", write_file)
        assert folder.exists()
        return write_file(folder)

    versions.write_version(tmp_path, "x", write)
    assert {path.name for path in (tmp_path / "x").iterdir()} == {"2"}
    assert {path.name for path in (tmp_path / "y").iterdir()} == {"2"}


def test_a_folder_that_cannot_be_read_is_not_replaced_by_the_shipped_one(tmp_path: Path) -> None:
    file, link, models = (tmp_path / name for name in ("file", "link", "models"))
    file.touch()
    link.symlink_to(tmp_path / "gone")
    (models / "gan" / "2").mkdir(parents=True)
    (models / "vae").symlink_to(tmp_path / "gone")
    for folder in (file, file / "models", link, models):
        refuses(lambda path=folder: versions.find("vae", path), str(folder))
        refuses(lambda path=folder: identify("vae", path), str(folder))
        refuses(lambda path=folder: versions.newest("vae", path), str(folder))
    assert versions.find("gan", models).number == 2  # the damage costs itself alone
    # Opening this version tells why it cannot be read; without the entry, version 1 would open.
    (models / "gan" / "2" / "saved_model.pb").symlink_to("saved_model.pb")
    served = Models(models, 1).read()
    assert "vae" not in served and list(served["gan"]) == [2, 1]
    assert versions.find("vae", tmp_path / "gone").number == 1


def test_newest_version_and_the_one_asked_for(tmp_path: Path) -> None:
    for number in ("2", "10", "9", ".writing-x", "latest", "011", "٣"):
        (tmp_path / "x" / number).mkdir(parents=True)
    assert versions.find("x", tmp_path).number == 10
    assert versions.find("x", tmp_path, 9).path == tmp_path / "x" / "9"
    with pytest.raises(UsageError, match="x has no version 3; it has 10, 9, 2"):
        versions.find("x", tmp_path, 3)


def test_a_version_by_its_folder(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = versions.Version.at(copy)
    assert version == versions.Version("small", 2, copy)
    monkeypatch.chdir(copy.parent)
    assert versions.Version.at("2") == versions.Version("small", 2, Path("2"))
    monkeypatch.chdir(copy)
    assert versions.Version.at(".").name == "small"
    for other in (copy.parent, copy / "variables", copy.parent / "3"):
        refuses(lambda path=other: versions.Version.at(path), "is not a published version")


def test_damage_is_found(copy: Path) -> None:
    for name in json.loads((copy / "manifest.json").read_text())["files"]:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(WorkError, match="damaged"):
            versions.verify(copy)
        (copy / name).write_bytes(content)
    (copy / "extra").touch()
    with pytest.raises(WorkError, match="extra is not in its manifest"):
        versions.verify(copy)
    os.mkfifo(copy / "fingerprint")
    with pytest.raises(WorkError, match="fingerprint is a pipe"):
        versions.verify(copy)


def test_a_bad_manifest_costs_its_own_version_alone(tmp_path: Path) -> None:
    whole = versions.write_version(tmp_path, "x", lambda p: {**write_file(p), "weights": "epoch ?"})
    manifest = json.loads((whole / "manifest.json").read_text())
    entries = [{"evaluation": {"samples": {"fid": "5.9"}}}, {"run": {"data": {"class_names": 5}}}]
    entries += [{"run": 1}, {"weights": 1}, {"format": 10**30}, {"name": "\ud800"}, {"files": None}]
    entries += [{"signatures": {"sample": {"inputs": {}}}}, {"run": {"options": {"epochs": "1"}}}]
    texts = [json.dumps(manifest | entry) for entry in entries]
    for number, text in enumerate(["[]", "[" * 100_000, *texts], 3):
        shutil.copytree(whole, whole.parent / str(number))
        (whole.parent / str(number) / "manifest.json").write_text(text)
    (whole.parent / "99").mkdir()
    os.mkfifo(whole.parent / "99" / "manifest.json")
    faults = [row[-1] for row in listing.rows(tmp_path, "x") if row[1] != "2"]
    assert len(faults) == 3 + len(entries) and all("manifest.json" in fault for fault in faults)
    models = Models(tmp_path, 1)
    described = Listing(models, Pool(1, 0, 0), None).described(models.listed(), lambda listed: {})
    (entry,) = (entry for entry in described if entry["name"] == "x")
    assert [version["number"] for version in entry["versions"]] == [2]


def test_an_evaluation_is_written_and_breaks_no_version(copy: Path) -> None:
    versions.write_evaluation(copy, {"fid": 1.5})
    assert versions.verify(copy)["evaluation"] == {"fid": 1.5}
    assert [path.name for path in copy.parent.iterdir()] == ["2"]
