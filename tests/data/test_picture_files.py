"""Many picture files: which are found, in which order, and which are refused."""

import os
import unicodedata
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import FORMATS, HEIGHT, WIDTH, noise, picture, read, saved
from tests.errors import refuses
from tfgen.data.importers.images import import_images
from tfgen.data.pictures import Fitting, find_files, read_images
from tfgen.errors import UsageError, printable

SAME = Fitting((HEIGHT, WIDTH), channels=3)

# --- many files -------------------------------------------------------------------------


def test_pictures_come_in_order_and_other_files_with_their_reasons(tmp_path):
    paths, steps = [], []
    for n in range(40):
        paths.append(saved(tmp_path, picture(seed=n), f"{n}.png"))
        if n % 10 == 5:
            paths[-1].write_text("no picture")
    collection = read_images(paths, SAME, steps.append)
    names = [str(path) for n, path in enumerate(paths) if n % 10 != 5]
    assert collection.names == names
    for name, image in zip(names, collection.images, strict=True):
        np.testing.assert_array_equal(image, noise(seed=int(Path(name).stem)))
    assert collection.skipped == [
        (path, "is not a PNG, JPEG, WEBP, BMP, GIF or TIFF file") for path in paths[5::10]
    ]
    assert sum(steps) == 40


def test_sizes_that_differ_are_told_once_with_their_counts(tmp_path):
    sizes = [(4, 6)] * 5 + [(6, 4)] * 3 + [(8, 8)] * 2 + [(9, 9), (7, 7)]
    for n, size in enumerate(sizes):
        saved(tmp_path, Image.new("L", size), f"{n}.png")
    parts = "the 12 pictures have 5 sizes", "4x6 (5), 6x4 (3), 8x8 (2)", "--size 64"
    refuses(lambda: import_images(tmp_path), *parts)
    assert import_images(tmp_path, Fitting((5, 5))).image_shape == (5, 5, 1)


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_files_are_broken(tmp_path, kind):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    whole = saved(tmp_path, image, format=kind).read_bytes()
    path = tmp_path / "cut"
    for part in (0.02, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * part)])
        refuses(lambda: read(path), "cut ")


def test_flipped_bit_of_a_png_is_found(tmp_path):
    path = saved(tmp_path, picture())
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # in the checksum of the pixels
    path.write_bytes(content)
    refuses(lambda: read(path), "x.png is broken")


def test_what_is_no_file_is_never_opened(tmp_path, monkeypatch):
    pipe, folder = tmp_path / "pipe.png", tmp_path / "folder.png"
    os.mkfifo(pipe)
    folder.mkdir()
    refuses(lambda: read(pipe), "pipe.png is no regular file")
    refuses(lambda: read(folder), "folder.png is no regular file")
    refuses(lambda: read(tmp_path / "none.png"), "none.png cannot be read (No such file")
    assert find_files([tmp_path]) == [pipe]
    refused = Mock(side_effect=PermissionError(13, "Permission denied"))
    monkeypatch.setattr(Path, "iterdir", refused)
    refuses(lambda: read(folder), "folder.png cannot be read (Permission denied)")


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch, recwarn):
    path = saved(tmp_path, picture())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 2 - 1)
    refuses(lambda: read(path), "x.png is broken")
    # Twice the limit is allowed; Pillow would warn.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 2 + 1)
    read(path)
    assert not recwarn.list


# --- folders ----------------------------------------------------------------------------


def test_hidden_files_are_left_out_and_the_rest_is_sorted(tmp_path):
    names = ["b/2.png", "b/1.png", "a.png", "b/c/d/3.png", ".hidden.png", "b/.git/4.png"]
    for name in names:
        saved(tmp_path, picture(), name)
    visible = ["a.png", "b/1.png", "b/2.png", "b/c/d/3.png"]
    assert find_files([tmp_path]) == [tmp_path / name for name in visible]
    # What is passed is read, hidden or not, in the order of the arguments.
    hidden = tmp_path / ".hidden.png"
    paths = [tmp_path / "b" / "c", hidden, tmp_path / "a.png"]
    assert find_files(paths) == [tmp_path / "b/c/d/3.png", hidden, tmp_path / "a.png"]


def test_links_are_followed_and_no_file_is_taken_twice(tmp_path):
    folder, outside = tmp_path / "in", tmp_path / "out"
    real = saved(folder / "z", picture(), "1.png")
    saved(outside, picture(seed=1), "2.png")
    (folder / "a").symlink_to(folder / "z")  # the same folder again
    (folder / "again.png").symlink_to(real)
    (folder / "z" / "loop").symlink_to(folder)
    (folder / "m").symlink_to(outside)
    (outside / "back").symlink_to(folder)
    os.link(real, folder / "z" / "hard.png")
    (folder / "broken.png").symlink_to(tmp_path / "nowhere")
    expected = ["broken.png", "m/2.png", "z/1.png"]
    assert find_files([folder]) == [folder / name for name in expected]
    assert find_files([folder, folder / "m", real]) == [folder / name for name in expected]
    refuses(lambda: read(folder / "broken.png"), "broken.png cannot be read (No such file")


def test_names_of_any_bytes_are_read_and_printed(tmp_path):
    nfd = unicodedata.normalize("NFD", "é")
    names = [b"caf\xe9.png", "日本.png".encode(), f"{nfd}.png".encode(), b"line\nbreak.png"]
    for n, name in enumerate(names):
        picture(seed=n).save(tmp_path / os.fsdecode(name))
    paths = find_files([tmp_path])
    assert read_images(paths, SAME).images.shape[0] == 4
    texts = {printable(path.name) for path in paths}
    assert texts == {"caf\\xe9.png", "日本.png", f"{nfd}.png", "line\\nbreak.png"}
    (tmp_path / os.fsdecode(names[0])).write_text("text")
    with pytest.raises(UsageError) as error:
        read(tmp_path / os.fsdecode(names[0]))
    assert str(error.value).encode()  # can be printed
