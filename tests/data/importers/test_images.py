import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import told
from tfgen.data.importers.images import import_images

pytestmark = pytest.mark.quick


def save(path: Path, value: int = 0, size=(4, 6), mode="L", **options) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (np.arange(size[0] * size[1] * len(Image.new(mode, (1, 1)).getbands())) + value) % 256
    array = pixels.astype(np.uint8).reshape(size[1], size[0], -1)
    image = Image.fromarray(array.squeeze(-1) if array.shape[2] == 1 else array, mode=None)
    (image if image.mode == mode else image.convert(mode)).save(path, **options)
    return array


def fails(folder: Path, *parts: str) -> None:
    with warnings.catch_warnings():
        told.fails(lambda: import_images(folder), *parts)


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path):
    saved = {}
    for place, name in enumerate(["b", "a", "c"]):
        for n in range(4):
            saved[place * 10 + n] = (name, save(tmp_path / name / f"{n}.png", place * 10 + n))
    imported = import_images(tmp_path)
    train, names = imported.splits["train"], ["a", "b", "c"]
    assert imported.class_names == names
    assert train.images.shape == (12, 6, 4, 1)
    for image, label in zip(train.images, train.labels, strict=True):
        name, array = saved[int(image[0, 0, 0])]
        assert names[label] == name
        np.testing.assert_array_equal(image, array)


def test_order_mixes_the_classes_and_does_not_depend_on_the_place(tmp_path):
    for root in (tmp_path / "first", tmp_path / "second"):
        for name in "ab":
            for n in range(20):
                save(root / name / f"{n}.png", n)
    first, second = (import_images(tmp_path / r).splits["train"] for r in ("first", "second"))
    np.testing.assert_array_equal(first.images, second.images)
    # The end of the train images becomes the validation split.
    assert set(first.labels[-10:]) == {0, 1}


def test_train_and_test_folders_are_splits(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for n in range(count):
            save(tmp_path / split / f"{n}.png", n, mode="RGB")
    imported = import_images(tmp_path)
    assert {name: split.images.shape for name, split in imported.splits.items()} == {
        "train": (3, 6, 4, 3),
        "test": (2, 6, 4, 3),
    }
    assert imported.class_names is imported.num_classes is None


def test_jpeg_is_read_and_other_files_are_left_alone(tmp_path):
    save(tmp_path / "a.JPG", format="JPEG")
    (tmp_path / "README.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    assert len(import_images(tmp_path).splits["train"]) == 1


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("P", "odd.png has a palette; convert it to RGB, for example with image.convert('RGB')"),
        ("RGBA", "odd.png has an alpha channel; convert it to RGB"),
        ("LA", "odd.png has an alpha channel; convert it to 8-bit greyscale"),
        ("1", "odd.png has one bit per pixel; convert it to 8-bit greyscale"),
        ("I;16", "odd.png has 16 bits per pixel; scale its values to 8 bits"),
    ],
)
def test_other_modes_are_refused_with_what_to_convert_to(tmp_path, mode, message):
    Image.new(mode, (4, 6)).save(tmp_path / "odd.png")
    fails(tmp_path, message)


def test_images_must_agree_in_size_and_mode(tmp_path):
    for other in ({"size": (5, 6)}, {"mode": "RGB"}):
        folder = tmp_path / str(other)
        save(folder / "x.png")
        save(folder / "y.png", **other)
        size = "6 × 5 × 1" if "size" in other else "6 × 4 × 3"
        fails(folder, "x.png", "y.png", "6 × 4 × 1", size)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_images_are_refused(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for part in (0.05, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * part)])
        fails(tmp_path, f"cut.{suffix}")


def test_flipped_bit_of_a_png_is_found(tmp_path):
    path = tmp_path / "bad.png"
    save(path)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # in the pixel data's checksum or end
    path.write_bytes(content)
    fails(tmp_path, "bad.png", "broken")


def test_unclear_layouts_are_refused(tmp_path):
    cases = {
        "empty": ([], ["no PNG or JPEG"]),
        "missing": (None, ["does not exist; pass the folder"]),
        "mixed": (["a.png", "class/b.png"], ["a.png", "beside sub-folders"]),
        "deep": (["class/sub/b.png"], ["within the class"]),
        "only-test": (["test/a.png"], ["no train"]),
        "beside": (["train/a.png", "val/a.png"], ["val", "beside the splits"]),
        "new-class": (["train/a/a.png", "test/b/a.png"], ["'b'"]),
        "half": (["train/a/a.png", "test/a.png"], ["disagree"]),
        "other": (["a.png", "b.bmp"], ["b.bmp", "convert it to PNG"]),
    }
    for name, (paths, parts) in cases.items():
        if paths is not None:
            (tmp_path / name).mkdir()
        for path in paths or []:
            save(tmp_path / name / path)
        fails(tmp_path / name, *parts)


def test_text_named_png_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    fails(tmp_path, "a.png", "not a PNG or JPEG image")
