"""Data sets that are mapped from the cache of decoded pixels."""

import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cli.worlds import flip
from tests.errors import refuses
from tfgen.data import Dataset, Split, load
from tfgen.data.dataset import fingerprint
from tfgen.data.reading import Prepared
from tfgen.data.writing import write_prepared
from tfgen.errors import WorkError


def make_split(n: int, seed: int, has_labels: bool = True) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (n, 7, 5, 3), np.uint8)
    return Split(images, np.arange(n) % 4 if has_labels else None)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache."""
    folder = tmp_path / "cäche"
    monkeypatch.setenv("TFGEN_CACHE", str(folder))
    return folder


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """The version folder of a small data set."""
    splits = {"train": make_split(30, 0), "test": make_split(6, 1)}
    return write_prepared("shapes", splits, tmp_path / "data")


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data sets that were decoded so far."""
    names = []
    batches = Prepared.batches

    def counted(self: Prepared):
        names.append(self.name)
        return batches(self)

    monkeypatch.setattr(Prepared, "batches", counted)
    return names


def folders(root: Path) -> list[str]:
    """What is in the cache, but for the lock."""
    return sorted(path.name for path in root.glob("*") if path.suffix != ".lock")


def assert_equal(mapped: Dataset, in_memory: Dataset) -> None:
    """Asserts that two data sets are the same but for where their pixels are."""
    splits = (mapped.train, mapped.validation, mapped.test)
    assert all(isinstance(split.images, np.memmap) for split in splits)
    assert fingerprint(splits) == mapped.fingerprint == in_memory.fingerprint
    assert mapped.num_classes == in_memory.num_classes
    whole, expected = (data.training_split("all") for data in (mapped, in_memory))
    assert isinstance(whole.images, np.memmap) and not isinstance(expected.images, np.memmap)
    assert fingerprint([whole]) == fingerprint([expected])


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


def test_only_a_data_set_larger_than_the_limit_is_mapped_and_decoded_once(shapes, root, decodings):
    pixels = 36 * 7 * 5 * 3
    load("shapes", shapes, memory=pixels)
    assert not root.exists()
    root.mkdir()
    for _ in range(2):
        mapped = load("shapes", shapes, memory=pixels - 1)
    assert decodings == ["shapes"] * 2  # once in memory, once into the cache
    folder = Path(mapped.train.images.filename).parent
    assert folder.parent == root and folders(root) == [folder.name]
    # The files are ordinary arrays.
    np.testing.assert_array_equal(np.load(folder / "images.npy")[-6:], mapped.test.images)


def test_a_changed_data_set_and_a_damaged_cache_are_decoded_again(shapes, root, decodings):
    old = load("shapes", shapes, memory=0)
    (name,) = folders(root)
    folder = root / name
    (root / f".{name}-killed").mkdir()  # what a killed process left
    shutil.rmtree(shapes)
    write_prepared("shapes", {"train": make_split(30, 2)}, shapes.parent.parent)
    expected = load("shapes", shapes)
    for damage in [
        lambda: None,  # the data set is another one
        lambda: os.truncate(folder / "images.npy", 900),
        lambda: flip(folder / "images.npy"),
        lambda: (folder / "labels.npy").unlink(),
        lambda: (folder / "cache.json").write_text("{"),
    ]:
        damage()
        decodings.clear()
        assert_equal(load("shapes", shapes, memory=0), expected)
        assert decodings == ["shapes"]
        assert folders(root) == [name]
    # Who still uses the old ones is not disturbed.
    np.testing.assert_array_equal(old.train.images, make_split(30, 0).images[:25])


def test_a_full_disk_is_reported_before_writing(shapes, root, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    advice = (str(root), "shapes need 0.0 MB", "TFGEN_CACHE")
    refuses(lambda: load("shapes", shapes, memory=0), *advice, error=WorkError)
    assert folders(root) == []


@pytest.mark.slow
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
    assert decodings == ["shapes"]
    expected = load("shapes", shapes)
    for mapped in loaded:
        assert_equal(mapped, expected)
