import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import saved
from tests.errors import refuses
from tfgen.data.importers.images import ImageFolder, import_images


def save(path: Path, value: int = 0) -> None:
    saved(path.parent, Image.new("L", (4, 6), value), path.name)


def read(imported: ImageFolder) -> tuple[np.ndarray, ...]:
    """All training images and labels."""
    parts = zip(*imported.read("train", lambda images: images, lambda count: None), strict=True)
    return tuple(map(np.concatenate, parts))


def test_names_that_are_numbers_are_ordered_by_their_values(tmp_path):
    for n in range(12):
        save(tmp_path / str(n) / "a.png", n)
    imported = import_images(tmp_path)
    assert imported.class_names == [str(n) for n in range(12)]
    images, labels = read(imported)
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_accents_of_class_names_are_single_characters(tmp_path):
    composed = "Ölé"
    save(tmp_path / "train" / unicodedata.normalize("NFD", composed) / "1.png")
    save(tmp_path / "test" / composed / "1.png")
    assert import_images(tmp_path).class_names == [composed]


def test_a_class_that_has_only_broken_pictures_is_an_error(tmp_path):
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "2.png")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "3.png").write_text("text")  # its header tells: c is no class
    path = tmp_path / "b" / "2.png"
    path.write_bytes(path.read_bytes()[:-20])
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
