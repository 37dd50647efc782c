"""Images of the user's own, in picture files and NPZ files, as uint8 arrays of one shape.

Pillow reads the pictures and resizes them. Importing this module imports no TensorFlow.
"""

import contextlib
import heapq
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from tfgen.errors import UsageError, printable, size_text
from tfgen.sampling import byte_pixels

# Height, width.
Size = tuple[int, int]
Fit = Literal["crop", "pad", "stretch"]
# Called with the number of files that were just done.
Advance = Callable[[int], object]

# What Pillow may read. Its other formats are rare, and some of them start other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
# What `tfgen-sample` writes beside the pictures of a folder: their seeds and labels.
SAMPLES_TABLE = "samples.csv"
# White in a picture of integers with more than 8 bits.
_WHITE_OF_16_BITS = 65535
# Where Pillow finds the orientation of a PNG: EXIF, its form in older files, and XMP.
_EXIF_KEYS = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}
# The tag of EXIF, and its values that exchange height and width.
_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}
# The array of an NPZ file that has the images, and the one that has their classes.
_IMAGES, _LABELS = "images", "labels"
# Calls for each thread that are submitted at once; at most twice as many results wait.
_AHEAD = 4

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


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
        UsageError: the background is no colour, or the channels are neither 1 nor 3.
    """

    size: Size | None = None
    fit: Fit = "crop"
    background: str = "white"
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.channels not in (None, 1, 3):
            raise UsageError(f"unknown number of channels {self.channels!r}; use 1 or 3")
        color: tuple[int, ...] = ()
        with contextlib.suppress(ValueError):
            color = ImageColor.getrgb(self.background)
        if len(color) != 3:
            text = f"{self.background!r} is not an opaque colour"
            raise UsageError(f"{text}; pass a name such as white, or a code such as '#808080'")

    @property
    def mode(self) -> str:
        """Pillow's mode of the pictures."""
        return "L" if self.channels == 1 else "RGB"


class Collection(NamedTuple):
    """Images in memory, and what became of the files that they come from.

    Attributes:
        images: `uint8[N, H, W, C]`.
        names: where each image comes from: its file, or `FILE.npz[INDEX]`.
        labels: `int64[N]`; None unless all images come from NPZ files with labels.
        resized: number of images that had another size.
        skipped: files without an image that can be read, each with the reason: `is empty`.
    """

    images: np.ndarray
    names: list[str]
    labels: np.ndarray | None
    resized: int
    skipped: list[tuple[Path, str]]


# --- many files -------------------------------------------------------------------------


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files among the paths, and all files below the folders among them.

    Within a folder, hidden files and folders are left out, and so are NPZ files and the table that
    `tfgen-sample` writes beside its pictures. Links are followed. A file that is reached twice, by
    links or hard links, is listed once, where it is without a link if possible.
    Only reading a file shows whether it holds a picture; so this list has all kinds of files, and
    the folders and links that cannot be followed.

    Args:
        paths: files and folders.

    Returns:
        The files, in the order of the arguments; those of a folder are sorted by their path.

    Raises:
        UsageError: a path does not exist.
    """
    seen: set[tuple[int, int]] = set()
    files: list[Path] = []
    for root in paths:
        if not os.path.lexists(root):
            raise UsageError(f"{printable(root)} does not exist; pass a picture or a folder")
        below = []
        # Links come last, so that a file is listed where it is without a link.
        heap = [(False, root)]
        while heap:
            _, path = heapq.heappop(heap)
            try:
                # Not `os.DirEntry.inode()`, which is the same for all files on many FUSE mounts.
                status = path.stat()
                if (key := (status.st_dev, status.st_ino)) in seen:
                    continue
                seen.add(key)
                children = list(path.iterdir())
            except OSError:  # a file, or what reading will report: no permission, a broken link
                below.append(path)
                continue
            for child in children:
                if not (child.name.startswith(".") or child.name == SAMPLES_TABLE or is_npz(child)):
                    heapq.heappush(heap, (child.is_symlink(), child))
        files += sorted(below, key=lambda path: path.parts)
    return files


def read_images(
    paths: Sequence[Path], fitting: Fitting, advance: Advance = lambda count: None
) -> Collection:
    """Reads picture files and NPZ files in parallel; those that hold no image are skipped.

    Args:
        paths: the files.
        fitting: size and channels of all images; neither is None.
        advance: called with the number of files that were just done.

    Returns:
        The images in the order of the files, and the skipped files.

    Raises:
        UsageError: no file holds an image.
    """
    parts, names, skipped = [], [], []
    with warnings.catch_warnings(action="ignore"):  # of Pillow, about odd files
        results = map_in_order(lambda path: attempt(_read, path, fitting), paths)
        for path, part in zip(paths, results, strict=True):
            advance(1)
            if isinstance(part, str):
                skipped.append((path, part))
                continue
            parts.append(part)
            name, indices = printable(path), range(len(part.images))
            names += [f"{name}[{index}]" for index in indices] if is_npz(path) else [name]
    check_any(len(names), skipped)
    images = np.concatenate([part.images for part in parts])
    known = [part.labels for part in parts if part.labels is not None]
    labels = np.concatenate(known) if len(known) == len(parts) else None
    return Collection(images, names, labels, sum(part.resized for part in parts), skipped)


def map_in_order(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """Calls a function for each item in several threads; yields the results in order.

    Only a bounded number of results is ahead of what was yielded.
    """
    threads = os.cpu_count() or 1
    size = _AHEAD * threads
    running: Iterator[_Result] = iter(())
    pool = ThreadPoolExecutor(threads)
    try:
        for start in range(0, len(items), size):
            following = pool.map(function, items[start : start + size])
            yield from running
            running = following
        yield from running
    finally:
        pool.shutdown(cancel_futures=True)


def attempt(function: Callable[..., _Result], path: Path, *arguments: object) -> _Result | str:
    """What the function returns for a file, or what is wrong with the file: `is empty`."""
    try:
        if path.is_dir():
            next(path.iterdir(), None)  # says why a folder cannot be read
        if path.exists() and not path.is_file():  # to open a pipe would wait for its other end
            return "is no regular file"
        return function(path, *arguments)
    except UnidentifiedImageError:
        formats = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        return f"is not a {formats} file" if path.stat().st_size else "is empty"
    except Exception as error:  # Pillow raises errors of many classes about broken files
        if isinstance(error, OSError) and error.errno is not None:
            return f"cannot be read ({error.strerror})"
        return f"is broken ({' '.join(str(error).split())[:100] or type(error).__name__})"


def check_any(count: int, skipped: Iterable[tuple[Path, str]]) -> None:
    """Refuses files that hold no image at all.

    Raises:
        UsageError: `count` is 0; the message says what is wrong with the first file.
    """
    if not count:
        faults = (f": {printable(path)} {reason}" for path, reason in skipped)
        raise UsageError(f"no picture can be read{next(faults, '')}")


# --- one file ---------------------------------------------------------------------------


class _Part(NamedTuple):
    """The images of a file, their labels `int64[N]` or None, and how many had another size."""

    images: np.ndarray
    labels: np.ndarray | None
    resized: int


class Header(NamedTuple):
    """What a file says of its picture before the pixels.

    Attributes:
        size: height and width, after the orientation of EXIF.
        is_grey: whether the mode of the picture has no colours; a palette counts as colours.
        has_alpha: whether it has an alpha channel or a transparent colour.
    """

    size: Size
    is_grey: bool
    has_alpha: bool


def read_header(path: Path) -> Header:
    """What a file says of its picture; decodes no pixels, except for a turned TIFF."""
    with Image.open(path, formats=FORMATS) as image:
        is_turned = False
        # A PNG may have EXIF behind its pixels; to look for it there would decode them.
        if image.format != "PNG" or _EXIF_KEYS & image.info.keys():
            with contextlib.suppress(Exception):  # broken EXIF has no orientation
                is_turned = image.getexif().get(_ORIENTATION) in _TURNED
        if is_turned and image.format == "TIFF":  # how it is opened depends on Pillow's version
            is_turned = False
            ImageOps.exif_transpose(image, in_place=True)
        is_grey = Image.getmodebase(image.mode) == "L"
        size = image.size if is_turned else image.size[::-1]
        return Header(size, is_grey, image.has_transparency_data)


def is_npz(path: Path) -> bool:
    """Whether a file has the name of an NPZ file."""
    return path.suffix.lower() == ".npz"


def _read(path: Path, fitting: Fitting) -> _Part:
    """The images of an NPZ file or of a picture file, whose size and channels are known."""
    assert fitting.size is not None and fitting.channels is not None
    if not is_npz(path):
        picture = open_picture(path, fitting)
        image = to_array(fit_picture(picture, fitting))
        return _Part(image[np.newaxis], None, int(picture.size != fitting.size[::-1]))
    images, labels = _read_npz(path)
    resized = 0 if images.shape[1:3] == fitting.size else len(images)
    if len(images) and images.shape[1:] != (*fitting.size, fitting.channels):
        pictures = (to_picture(image).convert(fitting.mode) for image in images)
        images = np.stack([to_array(fit_picture(picture, fitting)) for picture in pictures])
    return _Part(images, labels, resized)


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The images `uint8[N, H, W, C]` of an NPZ file, C = 1 or 3, and the labels if it has some."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    # The only array of images needs no name.
    unnamed = [array for array in arrays.values() if array.ndim in (3, 4)]
    candidates = [arrays[_IMAGES]] if _IMAGES in arrays else unnamed
    if len(candidates) != 1:
        raise ValueError(f"no array {_IMAGES!r}, but {', '.join(arrays) or 'none'}")
    (images,), labels = candidates, arrays.get(_LABELS)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        shape = size_text(images.shape)
        raise ValueError(f"images have the shape {shape} instead of [N, H, W, C], C = 1 or 3")
    if images.dtype.kind == "f" and images.min() >= 0 and images.max() <= 1:
        images = byte_pixels(images)
    if images.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype}, neither uint8 nor floats in 0…1")
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise ValueError(f"labels are {labels.dtype}{list(labels.shape)}, not one integer an image")
    return images, labels


def open_picture(path: Path, fitting: Fitting) -> Image.Image:
    """The picture of a file, upright, as L or RGB, in its own size; the first one of several."""
    with path.open("rb") as file:
        # The checksums of a PNG, which loading does not verify; then the file must be opened again.
        Image.open(file, formats=FORMATS).verify()
        file.seek(0)
        image: Image.Image = Image.open(file, formats=FORMATS)
        image.load()
        with contextlib.suppress(Exception):  # broken EXIF has no orientation
            ImageOps.exif_transpose(image, in_place=True)
    if image.mode[0] in "IF":
        image = _reduce_depth(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, fitting.background), image)
    return image.convert(fitting.mode)


def _reduce_depth(image: Image.Image) -> Image.Image:
    """A picture of 16 or 32 bits per pixel as L, or LA if one of its values is transparent.

    Black is 0. White is 65535 in a picture of integers, those of 32 bits too, and 1 in a picture of
    floats. Values in between are rounded.
    """
    values = np.asarray(image)
    white = 1 if image.mode == "F" else _WHITE_OF_16_BITS
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # true of NaN too
        raise ValueError(f"values from {low:g} to {high:g} instead of 0 to {white}")
    reduced = Image.fromarray(np.round(values * (255 / white)).astype(np.uint8))
    if isinstance(transparent := image.info.get("transparency"), int):
        alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
        reduced.putalpha(Image.fromarray(alpha))
    return reduced


def fit_picture(picture: Image.Image, fitting: Fitting) -> Image.Image:
    """Fits a picture of mode L or RGB; returns the picture itself if it has the size already."""
    if fitting.size is None or picture.size == fitting.size[::-1]:
        return picture
    size, lanczos = fitting.size[::-1], Image.Resampling.LANCZOS
    if fitting.fit == "crop":
        return ImageOps.fit(picture, size, lanczos)
    if fitting.fit == "pad":
        return ImageOps.pad(picture, size, lanczos, color=fitting.background)
    return picture.resize(size, lanczos)


def to_picture(image: np.ndarray) -> Image.Image:
    """An image uint8[H,W,C], C = 1 or 3, as a picture of mode L or RGB."""
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


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
    return to_array(fit_picture(to_picture(image), Fitting(size, fit)))
