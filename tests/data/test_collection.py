"""Images of the user's own: what NPZ files may hold, and in which order images come."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.told import fails
from tfgen.data.collection import Collection, find_sources, read_images
from tfgen.data.pictures import Fitting

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (3, 6, 5, 1)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (3, 6, 5, 3)).astype(np.uint8)


def read(*paths: Path, size: tuple[int, int] = (6, 5), channels: int = 1) -> Collection:
    return read_images(find_sources(paths), Fitting(size, channels=channels))


def npz(path: Path, *arrays: np.ndarray, **named: np.ndarray) -> Path:
    np.savez(path, *arrays, **named)
    return path


def test_bytes_and_floats_in_any_layout_are_the_same_images(tmp_path: Path) -> None:
    layouts = {
        "bytes": GREY,
        "flat": GREY[..., 0],
        "float32": GREY / np.float32(255),
        "float64": GREY / 255,
    }
    for name, array in layouts.items():
        collection = read(npz(tmp_path / f"{name}.npz", images=array, other=np.zeros(3)))
        np.testing.assert_array_equal(collection.images, GREY)
        assert (collection.resized, collection.labels, collection.skipped) == (0, None, [])
    # An only array needs no name, and the case of an extension does not count.
    (tmp_path / "upper.NPZ").write_bytes(npz(tmp_path / "only.npz", GREY).read_bytes())
    np.testing.assert_array_equal(read(tmp_path / "upper.NPZ").images, GREY)


def test_channels_and_size_are_changed_as_pillow_does_it(tmp_path: Path) -> None:
    grey = read(npz(tmp_path / "colour.npz", COLOUR)).images
    colour = read(npz(tmp_path / "grey.npz", GREY), channels=3).images
    resized = read(tmp_path / "colour.npz", size=(3, 3))
    for index in range(3):
        picture = Image.fromarray(COLOUR[index])
        np.testing.assert_array_equal(grey[index, ..., 0], np.asarray(picture.convert("L")))
        np.testing.assert_array_equal(colour[index], GREY[index].repeat(3, axis=-1))
        picture = picture.convert("L")
        # 6 × 5 to 3 × 3: a row of half a pixel is cut off above and below.
        expected = picture.resize((3, 3), Image.Resampling.LANCZOS, box=(0, 0.5, 5, 5.5))
        np.testing.assert_array_equal(resized.images[index, ..., 0], np.asarray(expected))
    assert resized.resized == 3


def test_images_come_in_the_order_of_the_arguments(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, image in (("b.png", GREY[0]), ("folder/z.png", GREY[1]), ("folder/é.png", GREY[2])):
        Image.fromarray(image[..., 0]).save(tmp_path / name)
    (tmp_path / "folder" / "notes.txt").write_text("no picture")
    first = npz(tmp_path / "1.npz", images=GREY[:2], labels=np.array([4, 5]))
    last = npz(tmp_path / "2.npz", images=GREY[:1], labels=np.array([6]))
    files = [tmp_path / "b.png", tmp_path / "folder"]
    collection = read(first, *files, last)
    names = ["1.npz[0]", "1.npz[1]", "b.png", "folder/z.png", "folder/é.png", "2.npz[0]"]
    assert collection.names == [f"{tmp_path}/{name}" for name in names]
    np.testing.assert_array_equal(collection.images, GREY[[0, 1, 0, 1, 2, 0]])
    assert [path.name for path, _ in collection.skipped] == ["notes.txt"]
    # A picture file has no label.
    assert collection.labels is None
    np.testing.assert_array_equal(read(first, last).labels, [4, 5, 6])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pixels": GREY, "others": GREY}, "has no array 'images'; it has pixels, oth"),
        ({"images": GREY.astype(int)}, "images are int64; pass uint8 in 0…255, or floats in 0…1"),
        ({"images": GREY / 127.5 - 1}, "images run from -1 to"),
        ({"images": GREY * np.nan}, "images run from nan to nan"),
        ({"images": GREY[0, ..., 0]}, "images have the shape 6 × 5; pass [N, H, W, C]"),
        ({"images": np.zeros((2, 6, 5, 4), np.uint8)}, "images have the shape 2 × 6 × 5 × 4"),
        ({"images": GREY[:0]}, "have 0 images; the least is 1"),
        ({"images": GREY, "labels": np.zeros(2, int)}, "labels are int64[2]; pass one integer for"),
        ({"images": np.array([{}])}, "is no NPZ file of numpy, or is broken (Object arrays"),
    ],
)
def test_an_npz_file_without_images_says_what_is_wrong(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    path = npz(tmp_path / "wrong.npz", **arrays)
    fails(lambda: read(path), message)


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    content = npz(tmp_path / "whole.npz", images=GREY).read_bytes()
    np.save(tmp_path / "array.npy", GREY)
    for name, wrong in {
        "empty": b"",
        "text": b"no file of numpy",
        "cut": content[:-30],
        "flipped": content[:200] + bytes(50) + content[250:],
        "npy": (tmp_path / "array.npy").read_bytes(),
    }.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(wrong)
        fails(lambda path=path: read(path), f"{name}.npz is no NPZ file of numpy, or is broken")
    fails(lambda: find_sources([tmp_path / "none.npz"]), "none.npz is no file; pass an NPZ file")
    fails(lambda: find_sources([tmp_path / "none.png"]), "none.png does not exist")
    (tmp_path / "nothing").mkdir()
    fails(lambda: find_sources([tmp_path / "nothing"]), "there are no pictures")
