import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from tests import told
from tfgen.data.pictures import (
    Fitting,
    find_pictures,
    printable,
    read_picture,
    read_pictures,
    resize,
)
from tfgen.errors import UsageError

pytestmark = pytest.mark.quick

WIDTH, HEIGHT = 9, 6
AS_IS = Fitting()
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


def noise(channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def picture(mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A picture of noise in that mode of 8 bits."""
    alpha = mode in ("RGBA", "LA", "PA")
    return Image.fromarray(noise(4 if alpha else 3, seed)).convert(mode)


def read(path: Path, fitting: Fitting = AS_IS) -> np.ndarray:
    image = read_picture(path, fitting)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    return image


def saved(folder: Path, image: Image.Image, name: str = "x.png", **options: object) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    image.save(folder / name, **options)
    return folder / name


# --- modes ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_has_the_pixels_that_pillow_reads(tmp_path, kind):
    path = saved(tmp_path, picture(), f"x.{kind.lower()}", format=kind)
    with Image.open(path) as image:
        colours, grey = np.asarray(image.convert("RGB")), np.asarray(image.convert("L"))
    np.testing.assert_array_equal(read(path), colours)
    np.testing.assert_array_equal(read(path, Fitting(channels=1))[..., 0], grey)
    np.testing.assert_array_equal(read(path, Fitting(channels=3)), colours)
    # The content says what a file is, not its name.
    path = path.rename(tmp_path / "IMG_0001")
    np.testing.assert_array_equal(read(path), colours)


@pytest.mark.parametrize(
    ("mode", "kind", "channels"),
    [
        ("1", "PNG", 1),
        ("L", "PNG", 1),
        ("L", "JPEG", 1),
        ("P", "PNG", 3),
        ("CMYK", "JPEG", 3),
        ("CMYK", "TIFF", 3),
        # Pillow 10.4 cannot read such a file that it wrote itself.
        pytest.param("YCbCr", "TIFF", 3, marks=pytest.mark.newest),
    ],
)
def test_other_modes_become_grey_or_rgb(tmp_path, mode, kind, channels):
    path = saved(tmp_path, picture(mode), format=kind)
    with Image.open(path) as image:
        assert image.mode == mode
        expected = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    np.testing.assert_array_equal(read(path).squeeze(), expected)
    assert read(path).shape[2] == channels


@pytest.mark.parametrize(("dtype", "kind"), [("<u2", "PNG"), ("<u2", "TIFF"), (">u2", "TIFF")])
def test_16_bits_are_divided_by_257_and_rounded(tmp_path, dtype, kind):
    values = np.array([[0, 128, 129, 256, 257, 32768, 65406, 65407, 65535]])
    path = saved(tmp_path, Image.fromarray(values.astype(dtype)), format=kind)
    expected = [0, 0, 1, 1, 1, 128, 254, 255, 255]
    np.testing.assert_array_equal(expected, np.round(values[0] / 257))
    assert read(path).tolist() == [[[value] for value in expected]]


def test_integers_of_32_bits_count_as_16_bits_and_floats_from_0_to_1(tmp_path):
    integers = np.array([[0, 257, 65535]], np.int32)
    assert read(saved(tmp_path, Image.fromarray(integers), "i.tiff")).ravel().tolist() == [
        0,
        1,
        255,
    ]
    floats = np.array([[0, 0.1, 0.5, 1]], np.float32)
    path = saved(tmp_path, Image.fromarray(floats), "f.tiff")
    assert read(path).ravel().tolist() == [0, 26, 128, 255]
    for values, message in [
        (np.float32([[0, 255]]), "f.tiff has values from 0 to 255 instead of 0 to 1"),
        (np.float32([[0, np.nan]]), "nan"),
        (np.int32([[-1, 5]]), "has values from -1 to 5 instead of 0 to 65535"),
        (np.int32([[0, 65536]]), "to 65536"),
    ]:
        Image.fromarray(values).save(path)
        told.fails(lambda: read(path), message)


@pytest.mark.parametrize(
    ("background", "colour"), [("white", (255, 255, 255)), ("#204060", (32, 64, 96))]
)
@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("PA", "TIFF"), ("RGBA", "WEBP")]
)
def test_transparency_is_laid_over_the_background(tmp_path, mode, kind, background, colour):
    image = picture(mode)
    image.putalpha(
        Image.fromarray(np.linspace(0, 255, WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH))
    )
    path = saved(tmp_path, image, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    pixels = np.asarray(Image.open(path).convert("RGBA")).astype(float)
    alpha = pixels[..., 3:] / 255
    expected = alpha * pixels[..., :3] + (1 - alpha) * np.array(colour)
    result = read(path, Fitting(background=background, channels=3))
    # Pillow rounds twice.
    assert np.abs(result - expected).max() <= 1
    np.testing.assert_array_equal(result[0, 0], colour)


def test_a_colour_or_a_value_that_is_transparent_shows_the_background(tmp_path):
    palette = picture("P")
    for image in (palette, picture("L"), Image.fromarray(noise(1).astype(np.uint16) * 257)):
        values = np.asarray(image)
        path = saved(tmp_path, image, transparency=int(values[2, 3]))
        is_transparent = values == values[2, 3]
        result = read(path, Fitting(background="#010203", channels=3))
        assert (result[is_transparent] == [1, 2, 3]).all()
        opaque = palette.convert("RGB") if image is palette else Image.fromarray(noise(1))
        if image.mode == "L":
            opaque = image
        opaque = np.asarray(opaque.convert("RGB"))
        np.testing.assert_array_equal(result[~is_transparent], opaque[~is_transparent])


def test_first_frame_of_an_animation_is_read(tmp_path):
    frames = [picture(seed=seed) for seed in range(3)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        path = tmp_path / f"x.{kind}"
        frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)
        expected = frames[0]
        if kind == "GIF":  # of 256 colours
            saved(tmp_path, frames[0], "one.gif")
            expected = Image.open(tmp_path / "one.gif").convert("RGB")
        np.testing.assert_array_equal(read(path), np.asarray(expected))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_of_exif_is_applied(tmp_path, kind):
    # The eight orientations of the standard, by what turns the stored picture upright.
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }
    options = {"lossless": True} if kind == "WEBP" else {}
    plain = read(saved(tmp_path, picture(), "plain", format=kind, **options))
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path, picture(), f"{orientation}", format=kind, exif=exif, **options)
        np.testing.assert_array_equal(read(path), turn(plain))
        # The header tells the size after turning.
        assert read_pictures([path], AS_IS).images.shape[1:] == turn(plain).shape


@pytest.mark.parametrize("key", ["XML:com.adobe.xmp", "Raw profile type exif"])
def test_orientation_of_a_png_that_is_not_in_its_exif(tmp_path, key):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes()
    text = {
        "XML:com.adobe.xmp": '<rdf:Description tiff:Orientation="6"/>',
        "Raw profile type exif": f"\nexif\n{len(content):8}\n{content.hex()}\n",
    }[key]
    info = PngInfo()
    info.add_itxt(key, text) if key.startswith("XML") else info.add_text(key, text, zip=True)
    path = saved(tmp_path, picture(), pnginfo=info)
    np.testing.assert_array_equal(read_pictures([path], AS_IS).images[0], np.rot90(noise(), -1))


# --- sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(3, 3), (4, 8), (12, 5)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_sizes_are_pillows(tmp_path, size, mode):
    image = picture(mode)
    path, lanczos = saved(tmp_path, image), Image.Resampling.LANCZOS
    expected = {
        "crop": ImageOps.fit(image, size[::-1], lanczos),
        "pad": ImageOps.pad(image, size[::-1], lanczos, color="white"),
        "stretch": image.resize(size[::-1], lanczos),
    }
    for fit, fitted in expected.items():
        result = read(path, Fitting(size, fit))
        assert result.shape[:2] == size
        np.testing.assert_array_equal(result.squeeze(), np.asarray(fitted))
        array = np.asarray(image).reshape(HEIGHT, WIDTH, -1)
        np.testing.assert_array_equal(resize(array, size, fit), result)


@pytest.mark.parametrize("shape", [(1, 400, 3), (400, 1, 3)])
def test_a_very_long_picture_does_not_vanish_between_its_bars(shape):
    padded = resize(np.zeros(shape, np.uint8), (64, 64), "pad")
    assert (padded == 0).all(axis=2).sum() == 64


def test_same_size_keeps_every_bit():
    for channels in (1, 3):
        image = noise(channels).reshape(HEIGHT, WIDTH, channels)
        for fit in ("crop", "pad", "stretch"):
            np.testing.assert_array_equal(resize(image, (HEIGHT, WIDTH), fit), image)


def test_downsampling_is_antialiased():
    # Every second pixel is white; to take one of them would give 0 or 255.
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., np.newaxis]
    assert np.abs(resize(board, (8, 8)).astype(int) - 127.5).max() < 2


def test_transparent_pixels_do_not_bleed_into_a_resized_picture(tmp_path):
    # Black where it is transparent, white elsewhere: over white, nothing but white.
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[4:12, 4:12] = 255
    path = saved(tmp_path, Image.fromarray(pixels))
    assert (read(path, Fitting((4, 4))) == 255).all()


def test_bars_have_the_background(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (8, 4), "red"))
    result = read(path, Fitting((8, 8), "pad", "#0000ff"))
    assert (result[:2] == [0, 0, 255]).all()
    assert (result[2:6] == [255, 0, 0]).all()
    assert (result[6:] == [0, 0, 255]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fit": "cover"}, "unknown fit 'cover'; known: crop, pad, stretch"),
        ({"background": "whitish"}, "'whitish' is not an opaque colour"),
        ({"background": "#ff000080"}, "'#ff000080' is not an opaque colour"),
        ({"channels": 2}, "number of channels 2; use 1 (grey) or 3 (RGB)"),
        ({"size": (0, 8)}, "8x0 is too small"),
    ],
)
def test_wrong_fittings_are_refused(fields, message):
    told.fails(lambda: Fitting(**fields), message)


# --- many files -------------------------------------------------------------------------


def test_pictures_come_in_order_and_other_files_with_their_reasons(tmp_path):
    paths, count = [], 0
    for n in range(40):
        paths.append(saved(tmp_path, picture(seed=n), f"{n}.png"))
        if n % 10 == 5:
            paths[-1].write_text("no picture")

    def advance(files: int) -> None:
        nonlocal count
        count += files

    images, read_paths, skipped = read_pictures(paths, AS_IS, advance)
    assert read_paths == [path for n, path in enumerate(paths) if n % 10 != 5]
    for path, image in zip(read_paths, images, strict=True):
        np.testing.assert_array_equal(image, noise(seed=int(path.stem)))
    assert skipped == [
        (path, "is not a PNG, JPEG, WEBP, BMP, GIF or TIFF file") for path in paths[5::10]
    ]
    assert count == 40


def test_sizes_that_differ_are_told_once_with_their_counts(tmp_path):
    sizes = [(4, 6)] * 5 + [(6, 4)] * 3 + [(8, 8)] * 2 + [(9, 9), (7, 7)]
    paths = [saved(tmp_path, Image.new("L", size), f"{n}.png") for n, size in enumerate(sizes)]
    told.fails(
        lambda: read_pictures(paths, AS_IS),
        "the 12 pictures have 5 sizes, width x height (pictures): 4x6 (5), 6x4 (3), 8x8 (2), "
        "others (2)",
        "--size 64",
    )
    assert read_pictures(paths, Fitting((5, 5))).images.shape == (12, 5, 5, 1)


def test_one_channel_is_enough_if_all_is_grey(tmp_path):
    grey, rgb = saved(tmp_path, picture("LA"), "a.png"), saved(tmp_path, picture(), "b.png")
    assert read_pictures([grey], AS_IS).images.shape[3] == 1
    assert read_pictures([grey], Fitting(background="red")).images.shape[3] == 3
    assert read_pictures([grey, rgb], AS_IS).images.shape[3] == 3
    assert read_pictures([grey, rgb], Fitting(channels=1)).images.shape[3] == 1


def test_no_picture_at_all_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_text("text")
    told.fails(lambda: read_pictures([], AS_IS), "there are no files; pass PNG")
    told.fails(
        lambda: read_pictures(find_pictures([tmp_path]), AS_IS),
        "a.png is empty; nor does 1 more file hold a picture; pass PNG",
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_files_are_broken(tmp_path, kind):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    whole = saved(tmp_path, image, format=kind).read_bytes()
    path = tmp_path / "cut"
    for part in (0.02, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * part)])
        told.fails(lambda: read(path), "cut ")


def test_flipped_bit_of_a_png_is_found(tmp_path):
    path = saved(tmp_path, picture())
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # in the checksum of the pixels
    path.write_bytes(content)
    told.fails(lambda: read(path), "x.png is broken")


def test_what_is_no_file_is_never_opened(tmp_path):
    pipe, folder = tmp_path / "pipe.png", tmp_path / "folder.png"
    os.mkfifo(pipe)
    folder.mkdir()
    told.fails(lambda: read(pipe), "pipe.png is no regular file")
    told.fails(lambda: read(folder), "is a folder")
    told.fails(lambda: read(tmp_path / "none.png"), "none.png cannot be read (No such file")
    assert find_pictures([tmp_path]) == [pipe]


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch, recwarn):
    path = saved(tmp_path, picture())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 2 - 1)
    told.fails(lambda: read(path), "x.png has too many pixels")
    # Twice the limit is allowed; Pillow would warn.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 2 + 1)
    read_pictures([path], AS_IS)
    assert not recwarn.list


def test_files_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    # As root, no file is forbidden; so the call fails here.
    path = saved(tmp_path, picture())

    def forbid(*args: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbid)
    told.fails(lambda: read(path), "x.png cannot be read (Permission denied)")


# --- folders ----------------------------------------------------------------------------


def test_hidden_files_are_left_out_and_the_rest_is_sorted(tmp_path):
    names = ["b/2.png", "b/1.png", "a.png", "b/c/d/3.png", ".hidden.png", "b/.git/4.png"]
    for name in names:
        saved(tmp_path, picture(), name)
    visible = ["a.png", "b/1.png", "b/2.png", "b/c/d/3.png"]
    assert find_pictures([tmp_path]) == [tmp_path / name for name in visible]
    # What is passed is read, hidden or not, in the order of the arguments.
    hidden = tmp_path / ".hidden.png"
    paths = [tmp_path / "b" / "c", hidden, tmp_path / "a.png"]
    assert find_pictures(paths) == [tmp_path / "b/c/d/3.png", hidden, tmp_path / "a.png"]


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
    assert find_pictures([folder]) == [folder / name for name in expected]
    assert find_pictures([folder, folder / "m", real]) == [folder / name for name in expected]
    told.fails(lambda: read(folder / "broken.png"), "broken.png cannot be read (No such file")


def test_a_file_system_that_lists_all_files_with_one_number(tmp_path, monkeypatch):
    # As FUSE does unless a file system asks for something else.
    class Entry:
        def __init__(self, entry: os.DirEntry):
            self.name, self.is_symlink, self.is_dir = entry.name, entry.is_symlink, entry.is_dir

        def inode(self) -> int:
            return 2**32 - 1

    paths = [saved(tmp_path, picture(seed=n), f"{n}.png") for n in range(3)]
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: [Entry(entry) for entry in scan(path)])
    assert find_pictures([tmp_path]) == paths


def test_a_link_into_a_forbidden_folder_is_listed(tmp_path, monkeypatch):
    # As root, no folder is forbidden; so the call fails here.
    link, stat = tmp_path / "link", os.stat
    link.symlink_to(tmp_path / "forbidden")

    def forbid(path: object, **options: object) -> os.stat_result:
        if str(path) == str(link):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", forbid)
    assert find_pictures([tmp_path]) == [link]


def test_missing_paths_are_refused(tmp_path):
    told.fails(lambda: find_pictures([tmp_path / "none"]), "none does not exist")


def test_names_of_any_bytes_are_read_and_printed(tmp_path):
    nfd = unicodedata.normalize("NFD", "é")
    names = [b"caf\xe9.png", "日本.png".encode(), f"{nfd}.png".encode(), b"line\nbreak.png"]
    for n, name in enumerate(names):
        picture(seed=n).save(tmp_path / os.fsdecode(name))
    paths = find_pictures([tmp_path])
    assert read_pictures(paths, AS_IS).images.shape[0] == 4
    texts = {printable(path.name) for path in paths}
    assert texts == {"caf\\xe9.png", "日本.png", f"{nfd}.png", "line\\nbreak.png"}
    (tmp_path / os.fsdecode(names[0])).write_text("text")
    with pytest.raises(UsageError) as error:
        read(tmp_path / os.fsdecode(names[0]))
    assert str(error.value).encode()  # can be printed
