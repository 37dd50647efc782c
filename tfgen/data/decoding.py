"""One file of a picture as pixels: every format, mode and orientation as grey or RGB of one size.

Pillow reads the files and resizes the pictures. No TensorFlow here.
"""

import contextlib
import errno
import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, get_args

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from tfgen.data.finding import printable
from tfgen.errors import UsageError

# Height, width.
Size = tuple[int, int]
Fit = Literal["crop", "pad", "stretch"]

# What Pillow may read. Its other formats are rare, and some of them start other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
FORMATS_TEXT = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
# Pillow's modes of more than 8 bits per pixel, and all its modes without colours.
_DEEP_MODES = {"I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
_GREY_MODES = {"1", "L", "LA", "La", *_DEEP_MODES}
_ALPHA_MODES = {"LA", "RGBA", "RGBa", "PA"}
# White in a picture of integers with more than 8 bits.
_WHITE_OF_16_BITS = 65535
# Where Pillow finds the orientation of a PNG: EXIF, its form in older files, and XMP.
_EXIF_KEYS = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}
# The tag of EXIF, and its values that exchange height and width.
_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}
# Failures of the machine, not of the file: they end the work.
_MACHINE_ERRORS = {
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    *(errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENOTCONN),  # of a disk that went away
}


@dataclass(frozen=True)
class Fitting:
    """How pictures of any size and mode become arrays of one shape.

    The orientation of EXIF is applied, transparency is laid over the background, and then the
    picture is resized with Pillow's antialiased Lanczos filter.

    Attributes:
        size: height and width in pixels; None leaves the size as it is.
        fit: `crop` fills the size and cuts off what protrudes, equally on both sides; `pad` shows
            the whole picture between bars of the background; `stretch` changes the aspect ratio.
        background: an opaque colour of Pillow, such as `white` or `#808080`; behind transparency
            and in the bars of `pad`.
        channels: 1 is grey, 3 is RGB; None is 1 if all pictures and the background are grey.

    Raises:
        UsageError: a value is unknown or out of range.
    """

    size: Size | None = None
    fit: Fit = "crop"
    background: str = "white"
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise UsageError(f"unknown fit {self.fit!r}; known: {', '.join(get_args(Fit))}")
        if self.channels not in (None, 1, 3):
            raise UsageError(
                f"unknown number of channels {self.channels!r}; use 1 (grey) or 3 (RGB)"
            )
        if self.size is not None and min(self.size) < 1:
            height, width = self.size
            raise UsageError(f"the size {width}x{height} is too small; the least is 1x1")
        color: tuple[int, ...] = ()
        with contextlib.suppress(ValueError):
            color = ImageColor.getrgb(self.background)
        if len(color) != 3:
            raise UsageError(
                f"{self.background!r} is not an opaque colour; use a name such as white, or a code "
                "such as '#808080'"
            )

    @property
    def has_grey_background(self) -> bool:
        """Whether the background has no colour."""
        return len(set(ImageColor.getrgb(self.background))) == 1


class Header(NamedTuple):
    """What a file says of its picture before the pixels.

    Attributes:
        size: height and width, after the orientation of EXIF.
        is_grey: whether the mode of the picture has no colours; a palette counts as colours.
    """

    size: Size
    is_grey: bool


class PictureError(UsageError):
    """A file holds no picture that can be read.

    Attributes:
        reason: what is wrong, without the path: `is empty`.
    """

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{printable(path)} {reason}")
        self.reason = reason


class _RangeError(ValueError):
    """The values of a picture are not on the scale that their type has."""


def read_header(path: Path) -> Header:
    """Reads what a file says of its picture, but no pixels.

    Raises:
        PictureError: the file holds no picture.
    """
    with _open(path) as file, Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        # A PNG may have EXIF behind its pixels; to look for it there would decode them.
        has_exif = image.format != "PNG" or not _EXIF_KEYS.isdisjoint(image.info)
        if has_exif and _orientation(image) in _TURNED:
            if image.format == "TIFF":
                # Whether Pillow has already exchanged the sides depends on its version.
                width, height = _upright(image).size
            else:
                width, height = height, width
        return Header((height, width), image.mode in _GREY_MODES)


def decode(path: Path, fitting: Fitting, channels: int) -> Image.Image:
    """The picture of a file, fitted; of an animation the first frame.

    Args:
        path: the file.
        fitting: the size and the background; its `channels` do not count.
        channels: 1 or 3.

    Returns:
        An image of mode L or RGB.

    Raises:
        PictureError: the file is broken or holds no picture.
    """
    with _open(path) as file:
        image = Image.open(file, formats=FORMATS)
        if image.format == "PNG":
            # This verifies the checksums, which loading does not. Then the file must be opened
            # again.
            image.verify()
            file.seek(0)
            image = Image.open(file, formats=FORMATS)
        with image:
            picture = _flatten(_upright(image), fitting.background, channels)
        return fit_picture(picture, fitting)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Opens a file, and turns what Pillow raises about its content into a `PictureError`."""
    try:
        # To open a pipe would wait for its other end.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder that cannot be listed" if stat.S_ISDIR(mode) else "no regular file"
            raise PictureError(path, f"is {kind}")
        with path.open("rb") as file:
            yield file
    except (PictureError, MemoryError):
        raise
    except UnidentifiedImageError:
        is_empty = path.stat().st_size == 0
        reason = "is empty" if is_empty else f"is not a {FORMATS_TEXT} file"
        raise PictureError(path, reason) from None
    except _RangeError as error:
        raise PictureError(path, str(error)) from None
    except Image.DecompressionBombError as error:
        raise PictureError(path, f"has too many pixels ({error})") from None
    except Exception as error:  # Pillow raises errors of many classes about broken files
        if isinstance(error, OSError) and error.errno is not None:
            if error.errno in _MACHINE_ERRORS:
                raise
            raise PictureError(path, f"cannot be read ({error.strerror})") from None
        text = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(path, f"is broken ({text})") from None


def _orientation(image: Image.Image) -> int | None:
    with contextlib.suppress(Exception):  # broken EXIF has no orientation
        return image.getexif().get(_ORIENTATION)
    return None


def _upright(image: Image.Image) -> Image.Image:
    """The image itself, decoded, after its orientation was applied to it."""
    image.load()
    with contextlib.suppress(Exception):  # broken EXIF has no orientation
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _flatten(image: Image.Image, background: str, channels: int) -> Image.Image:
    """A picture of any mode as L or RGB, over the background where it is transparent."""
    if image.mode in _DEEP_MODES:
        image = _reduce_depth(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return image.convert("L" if channels == 1 else "RGB")


def _reduce_depth(image: Image.Image) -> Image.Image:
    """A picture of 16 or 32 bits per pixel as L, or LA if one of its values is transparent.

    Black is 0. White is 65535 in a picture of integers, those of 32 bits too, and 1 in a picture of
    floats. Values in between are rounded.
    """
    values = np.asarray(image)
    white = 1 if image.mode == "F" else _WHITE_OF_16_BITS
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # true of NaN too
        raise _RangeError(f"has values from {low:g} to {high:g} instead of 0 to {white}")
    reduced = Image.fromarray(np.round(values * (255 / white)).astype(np.uint8))
    if isinstance(transparent := image.info.get("transparency"), int):
        alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
        reduced.putalpha(Image.fromarray(alpha))
    return reduced


def fit_picture(picture: Image.Image, fitting: Fitting) -> Image.Image:
    """A picture of mode L or RGB in the size of a fitting; if it has that size, itself."""
    if fitting.size is None or picture.size == fitting.size[::-1]:
        return picture
    size, lanczos = fitting.size[::-1], Image.Resampling.LANCZOS
    if fitting.fit == "crop":
        return ImageOps.fit(picture, size, lanczos)
    if fitting.fit == "pad":
        # Pillow would round the short side of a very long picture to 0, and lose the picture.
        scale = max(side / room for side, room in zip(picture.size, size, strict=True))
        if round(min(picture.size) / scale) == 0:
            width, height = (max(side, math.ceil(scale)) for side in picture.size)
            picture = picture.resize((width, height), lanczos)
        return ImageOps.pad(picture, size, lanczos, color=fitting.background)
    return picture.resize(size, lanczos)


def to_array(picture: Image.Image) -> np.ndarray:
    """A picture of mode L or RGB as uint8[H,W,C]."""
    array = np.array(picture)
    return array if array.ndim == 3 else array[..., np.newaxis]


def resize(image: np.ndarray, size: Size, fit: Fit = "crop") -> np.ndarray:
    """Resizes an image with Pillow's antialiased Lanczos filter.

    Args:
        image: uint8[H,W,C], C = 1 or 3.
        size: height and width in pixels.
        fit: see `Fitting`; the bars of `pad` are white.

    Returns:
        uint8[H,W,C]; an image that has the size already keeps all its bits.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return to_array(fit_picture(picture, Fitting(size, fit)))
