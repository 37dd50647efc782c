"""NPZ files of images of the user's own, and in which order images come."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.errors import refuses
from tfgen.data.pictures import Collection, Fitting, find_files, read_images

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (3, 6, 5, 1)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (3, 6, 5, 3)).astype(np.uint8)


def read(*paths: Path, size: tuple[int, int] = (6, 5), channels: int = 1) -> Collection:
    return read_images(find_files(paths), Fitting(size, channels=channels))


def npz(path: Path, *arrays: np.ndarray, **named: np.ndarray) -> Path:
    np.savez(path, *arrays, **named)
    return path


def test_bytes_and_floats_in_any_layout_are_the_same_images(tmp_path: Path) -> None:
    for array in (GREY, GREY[..., 0], GREY / np.float32(255), GREY / 255):
        collection = read(npz(tmp_path / "x.npz", images=array, other=np.zeros(3)))
        np.testing.assert_array_equal(collection.images, GREY)
        assert (collection.resized, collection.labels, collection.skipped) == (0, None, [])
    # An only array needs no name, and the case of an extension does not count.
    (tmp_path / "upper.NPZ").write_bytes(npz(tmp_path / "only.npz", GREY).read_bytes())
    np.testing.assert_array_equal(read(tmp_path / "upper.NPZ").images, GREY)


def test_channels_and_size_are_changed_as_pillow_does_it(tmp_path: Path) -> None:
    resized = read(npz(tmp_path / "colour.npz", COLOUR), size=(3, 3))
    for index in range(3):
        picture = Image.fromarray(COLOUR[index]).convert("L")
        # 6 × 5 to 3 × 3: a row of half a pixel is cut off above and below.
        expected = picture.resize((3, 3), Image.Resampling.LANCZOS, box=(0, 0.5, 5, 5.5))
        np.testing.assert_array_equal(resized.images[index, ..., 0], np.asarray(expected))
    assert resized.resized == 3
    colour = read(npz(tmp_path / "grey.npz", GREY), channels=3).images
    np.testing.assert_array_equal(colour, GREY.repeat(3, axis=-1))


def test_images_come_in_the_order_of_the_arguments(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, image in (("b.png", GREY[0]), ("folder/z.png", GREY[1]), ("folder/é.png", GREY[2])):
        Image.fromarray(image[..., 0]).save(tmp_path / name)
    (tmp_path / "folder" / "notes.txt").write_text("no picture")
    first = npz(tmp_path / "1.npz", images=GREY[:2], labels=np.array([4, 5]))
    last = npz(tmp_path / "2.npz", images=GREY[:1], labels=np.array([6]))
    collection = read(first, tmp_path / "b.png", tmp_path / "folder", last)
    names = ["1.npz[0]", "1.npz[1]", "b.png", "folder/z.png", "folder/é.png", "2.npz[0]"]
    assert collection.names == [f"{tmp_path}/{name}" for name in names]
    np.testing.assert_array_equal(collection.images, GREY[[0, 1, 0, 1, 2, 0]])
    assert [path.name for path, _ in collection.skipped] == ["notes.txt"]
    # A picture file has no label.
    assert collection.labels is None
    np.testing.assert_array_equal(read(first, last).labels, [4, 5, 6])


@pytest.mark.parametrize(
    "arrays",
    [
        {"pixels": GREY, "others": GREY},
        {"images": GREY.astype(int)},
        {"images": GREY / 127.5 - 1},
        {"images": GREY * np.nan},
        {"images": GREY[0, ..., 0]},
        {"images": np.zeros((2, 6, 5, 4), np.uint8)},
        {"images": GREY[:0]},
        {"images": GREY, "labels": np.zeros(2, int)},
        {"images": np.array([{}])},
    ],
)
def test_an_npz_file_without_images_is_refused(
    arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = npz(tmp_path / "wrong.npz", **arrays)
    refuses(lambda: read(path))


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    content = npz(tmp_path / "whole.npz", images=GREY).read_bytes()
    path = tmp_path / "wrong.npz"
    for wrong in (b"", b"no", content[:-30], content[:200] + bytes(50) + content[250:]):
        path.write_bytes(wrong)
        refuses(lambda: read(path), "wrong.npz is broken")
    (tmp_path / "nothing").mkdir()
    for name in ("none.npz", "none.png", "nothing"):
        refuses(lambda name=name: read(tmp_path / name))
