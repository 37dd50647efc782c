"""Data sets that are mapped from the cache of decoded pixels."""

import errno
import json
import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests import commands
from tests.conftest import Trained
from tests.told import fails
from tfgen.data import Split, cache, load
from tfgen.data.reading import Prepared
from tfgen.data.writing import write_prepared
from tfgen.errors import WorkError

pytestmark = pytest.mark.newest

SPLITS = ("train", "validation", "test")


def make_split(n: int, seed: int, has_labels: bool = True) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (n, 7, 5, 3), np.uint8)
    return Split(images, np.arange(n) % 4 if has_labels else None)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache."""
    folder = tmp_path / "cäche"
    monkeypatch.setenv("TFGEN_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version folder of a small data set."""
    splits = {"train": make_split(30, 0), "test": make_split(6, 1)}
    return write_prepared("shapes", splits, tmp_path_factory.mktemp("data"))


@pytest.fixture
def shapes(prepared: Path, tmp_path: Path) -> Path:
    """A copy of that data set, of the same times of change."""
    return Path(shutil.copytree(prepared, tmp_path / "data" / "shapes" / "1.0.0"))


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that were decoded so far."""
    splits = []
    batches = Prepared.batches

    def counted(self: Prepared, split: str):
        splits.append(split)
        return batches(self, split)

    monkeypatch.setattr(Prepared, "batches", counted)
    return splits


def folders(root: Path) -> list[str]:
    """What is in the cache, but for the lock."""
    return sorted(path.name for path in root.glob("*") if path.suffix != ".lock")


def assert_equal(mapped, in_memory) -> None:
    """Asserts that two data sets are the same but for where their pixels are."""
    for name in SPLITS:
        split, expected = getattr(mapped, name), getattr(in_memory, name)
        assert isinstance(split.images, np.memmap)
        assert not isinstance(expected.images, np.memmap)
        np.testing.assert_array_equal(split.images, expected.images)
        assert (split.labels is None) == (expected.labels is None)
        if split.labels is not None:
            np.testing.assert_array_equal(split.labels, expected.labels)
    assert mapped.fingerprint == in_memory.fingerprint
    assert mapped.num_classes == in_memory.num_classes


@pytest.mark.quick
@pytest.mark.parametrize("has_test", [True, False])
def test_mapped_data_set_is_the_one_in_memory(tmp_path, has_test):
    splits = {"train": make_split(30, 0, has_test)}
    if has_test:
        splits["test"] = make_split(6, 1)
    write_prepared("shapes", splits, tmp_path / "data")
    mapped = load("shapes", tmp_path / "data", memory=0)
    assert_equal(mapped, load("shapes", tmp_path / "data"))
    with pytest.raises(ValueError, match="read-only"):
        mapped.train.images[0] = 0


@pytest.mark.quick
def test_only_a_data_set_larger_than_the_limit_is_mapped_and_decoded_once(shapes, root, decodings):
    pixels = 36 * 7 * 5 * 3
    load("shapes", shapes, memory=pixels)
    assert not root.exists()
    root.mkdir()
    (root / ".shapes-1.0.0-0123-killed").mkdir()  # what a killed process left
    for _ in range(2):
        mapped = load("shapes", shapes, memory=pixels - 1)
    assert decodings == ["train", "test"] * 2  # once in memory, once into the cache
    folder = cache.pixel_folder(mapped.train.images)
    assert folder.parent == root and folders(root) == [folder.name]
    # The files are ordinary arrays.
    np.testing.assert_array_equal(np.load(folder / "test-images.npy"), mapped.test.images)


def test_a_changed_data_set_is_decoded_again_and_its_old_pixels_are_removed(shapes, root):
    old = load("shapes", shapes, memory=0)
    (before,) = folders(root)
    shutil.rmtree(shapes)
    write_prepared("shapes", {"train": make_split(30, 2)}, shapes.parent.parent)
    new = load("shapes", shapes, memory=0)
    assert_equal(new, load("shapes", shapes))
    assert len(folders(root)) == 1
    assert folders(root) != [before]
    # Who still uses the old ones is not disturbed.
    np.testing.assert_array_equal(old.train.images, make_split(30, 0).images[:25])


def flip_pixel(folder: Path) -> None:
    with (folder / "train-images.npy").open("r+b") as file:
        file.seek(500)
        file.write(b"\x00" if file.read(1) != b"\x00" else b"\x01")


def test_a_damaged_cache_is_never_used(shapes, root, decodings):
    expected = load("shapes", shapes)
    load("shapes", shapes, memory=0)
    (name,) = folders(root)
    folder = root / name
    for damage in [
        lambda: flip_pixel(folder),
        lambda: os.truncate(folder / "train-images.npy", 900),
        lambda: (folder / "train-labels.npy").unlink(),
        lambda: (folder / "cache.json").write_text("{"),
        lambda: [shutil.rmtree(folder), folder.touch()],
    ]:
        damage()
        decodings.clear()
        assert_equal(load("shapes", shapes, memory=0), expected)
        assert decodings == ["train", "test"]
        assert folders(root) == [name]


def test_a_full_disk_is_reported_before_and_while_writing(shapes, root, monkeypatch):
    advice = (str(root), "shapes", "4.07e-06 GB are needed", "TFGEN_CACHE")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
        fails(lambda: load("shapes", shapes, memory=0), *advice, "1e-06 GB are", error=WorkError)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("numpy.lib.format.write_array_header_1_0", full)
        fails(lambda: load("shapes", shapes, memory=0), *advice, "No space left", error=WorkError)
    assert folders(root) == []


def test_two_at_once_decode_once(shapes, root, decodings):
    loaded = []
    threads = [
        threading.Thread(target=lambda: loaded.append(load("shapes", shapes, memory=0)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decodings == ["train", "test"]
    expected = load("shapes", shapes)
    for mapped in loaded:
        assert_equal(mapped, expected)


def test_training_from_the_cache_is_bit_equal_to_training_from_memory(
    trained: Trained, tmp_path, monkeypatch, root
):
    monkeypatch.setattr("tfgen.data.cache.MAX_IN_MEMORY", 0)
    run = tmp_path / "run"
    flags = ["--dataset", "tiny", "--data-dir", str(trained.data), "--hidden", "4", "--no-publish"]
    flags += ["--batch-size", "64", "--run-dir", str(run)]
    # From one epoch to the next through a checkpoint.
    start = ["vae", "--preset", "mlp", "--latent-dim", "2", "--epochs", "1"]
    assert commands.main("train", [*start, *flags]) == 0
    assert folders(root)
    assert commands.main("train", ["vae", "--resume", "--run-dir", str(run), "--epochs", "2"]) == 0
    expected = trained.runs / "flat"
    last = max(path.name for path in (expected / "checkpoints").glob("step-*"))
    paths = list((expected / "checkpoints" / last).glob("*.npz"))
    assert paths
    for path in paths:
        with np.load(path) as before, np.load(run / "checkpoints" / last / path.name) as after:
            assert before.files == after.files
            for name in before.files:
                np.testing.assert_array_equal(after[name], before[name])
    data = [json.loads((folder / "config.json").read_text())["data"] for folder in (run, expected)]
    assert data[0] == data[1]
