import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.errors import refuses
from tfgen.data.importers.images import ImageFolder, import_images


def save(path: Path, value: int = 0, size=(4, 6), mode="L", **options) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (np.arange(size[0] * size[1] * len(Image.new(mode, (1, 1)).getbands())) + value) % 256
    array = pixels.astype(np.uint8).reshape(size[1], size[0], -1)
    Image.fromarray(array.squeeze(-1) if array.shape[2] == 1 else array).save(path, **options)
    return array


def read(imported: ImageFolder, split: str = "train") -> tuple[np.ndarray, np.ndarray | None]:
    """All images and labels of a split."""
    images, labels = zip(*imported.read(split, lambda images: images), strict=True)
    return np.concatenate(images), None if labels[0] is None else np.concatenate(labels)


def test_names_that_are_numbers_are_ordered_by_their_values(tmp_path):
    for n in range(12):
        save(tmp_path / str(n) / "a.png", n)
    imported = import_images(tmp_path)
    assert imported.class_names == [str(n) for n in range(12)]
    images, labels = read(imported)
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_train_and_test_folders_are_splits(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for n in range(count):
            save(tmp_path / split / f"{n}.png", n, mode="RGB")
    imported = import_images(tmp_path)
    for split, count in (("train", 3), ("test", 2)):
        images, labels = read(imported, split)
        assert images.shape == (count, 6, 4, 3)
        assert labels is None
    assert imported.class_names is None
    assert imported.counts == {"train": 3, "test": 2}


def test_accents_of_class_names_are_single_characters(tmp_path):
    composed = "Ölé"
    save(tmp_path / "train" / unicodedata.normalize("NFD", composed) / "1.png")
    save(tmp_path / "test" / composed / "1.png")
    assert import_images(tmp_path).class_names == [composed]


def test_other_files_are_listed_with_the_reason(tmp_path):
    save(tmp_path / "a.JPG", format="JPEG")
    (tmp_path / "README.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    broken = tmp_path / "b.png"
    save(broken)
    broken.write_bytes(broken.read_bytes()[:-30])
    imported = import_images(tmp_path)
    assert list(imported.list_skipped()) == ["README.txt"]
    images, _ = read(imported)
    assert len(images) == imported.counts["train"] == 1
    # Only decoding finds the broken pixels.
    listed = imported.list_skipped()
    assert list(listed) == ["README.txt", "b.png"]
    assert listed["b.png"].startswith("is broken (")


def test_a_class_that_has_only_broken_pictures_is_an_error(tmp_path):
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "2.png")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "3.png").write_text("text")  # its header tells: c is no class
    path = tmp_path / "b" / "2.png"
    path.write_bytes(path.read_bytes()[:-30])
    imported = import_images(tmp_path)
    assert imported.class_names == ["a", "b"]
    refuses(lambda: read(imported), "all pictures of the class 'b' are broken")


@pytest.mark.parametrize(
    "paths",
    [
        None,
        [],
        ["a.png", "b.png", "class/b.png"],
        ["test/a.png"],
        ["train/a.png", "val/a.png"],
        ["train/a.png", "b.png"],
        ["train/a/a.png", "test/b/a.png"],
        ["train/a/a.png", "test/a.png"],
        ["train/a.png", "test/a/a.png"],
    ],
)
def test_unclear_layouts_are_refused(tmp_path, paths):
    folder = tmp_path / "in"
    if paths is not None:
        folder.mkdir()
    for path in paths or []:
        save(folder / path)
    refuses(lambda: import_images(folder))
