"""How one picture is read: its mode, its orientation, and its size."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.data.pictures import FORMATS, HEIGHT, WIDTH, noise, picture, read, saved
from tests.errors import refuses
from tfgen.data.importers.images import read_headers
from tfgen.data.pictures import Fitting, resize

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


@pytest.mark.parametrize(("dtype", "kind"), [("<u2", "PNG"), ("<u2", "TIFF"), (">u2", "TIFF")])
def test_16_bits_are_divided_by_257_and_rounded(tmp_path, dtype, kind):
    values = np.array([[0, 128, 129, 256, 257, 32768, 65406, 65407, 65535]])
    path = saved(tmp_path, Image.fromarray(values.astype(dtype)), format=kind)
    expected = [0, 0, 1, 1, 1, 128, 254, 255, 255]
    np.testing.assert_array_equal(expected, np.round(values[0] / 257))
    assert read(path).tolist() == [[[value] for value in expected]]


def test_integers_of_32_bits_count_as_16_bits_and_floats_from_0_to_1(tmp_path):
    integers = np.array([[0, 257, 65535]], np.int32)
    path = saved(tmp_path, Image.fromarray(integers), "i.tiff")
    assert read(path).ravel().tolist() == [0, 1, 255]
    floats = np.array([[0, 0.1, 0.5, 1]], np.float32)
    path = saved(tmp_path, Image.fromarray(floats), "f.tiff")
    assert read(path).ravel().tolist() == [0, 26, 128, 255]
    for values in (np.float32([[0, 255]]), np.float32([[0, np.nan]]), np.int32([[0, 65536]])):
        Image.fromarray(values).save(path)
        refuses(lambda: read(path), "f.tiff is broken (values from")


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


def test_a_value_that_is_transparent_shows_the_background(tmp_path):
    for image in (picture("P"), picture("L"), Image.fromarray(noise(1).astype(np.uint16) * 257)):
        values = np.asarray(image)
        path = saved(tmp_path, image, transparency=int(values[2, 3]))
        result = read(path, Fitting(background="#010203", channels=3))
        assert (result[values == values[2, 3]] == [1, 2, 3]).all()


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
        assert read_headers([path])[0][path].size == turn(plain).shape[:2]


# --- sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(4, 8), (12, 5), (6, 9)])
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
