"""Images of the user's own, in files, folders and NPZ files, as uint8 arrays of one shape.

Pillow reads the pictures and resizes them. Importing this module imports no TensorFlow.
"""

import collections
import contextlib
import errno
import heapq
import itertools
import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeVar, get_args

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from tfgen.errors import UsageError, size_text

# Height, width.
Size = tuple[int, int]
Fit = Literal["crop", "pad", "stretch"]
# Called with the number of files that were just done.
Advance = Callable[[int], None]

# What Pillow may read. Its other formats are rare, and some of them start other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
FORMATS_TEXT = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
# What `tfgen-sample` writes beside the pictures of a folder: their seeds and labels.
SAMPLES_TABLE = "samples.csv"
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
# Sizes that an error lists.
_MAX_SIZES = 3
# The array of an NPZ file that has the images, and the one that has their classes.
_IMAGES, _LABELS = "images", "labels"
# Calls that are running or whose results are waiting, for each thread: enough to keep all threads
# busy, and a bound for the memory.
_WAITING = 4
# Files that one call of a thread reads.
_FILES = 16

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
            raise UsageError(f"unknown number of channels {self.channels!r}; use 1 or 3")
        if self.size is not None and min(self.size) < 1:
            raise UsageError(f"the size {size_text(self.size)} is too small; the least is 1 × 1")
        color: tuple[int, ...] = ()
        with contextlib.suppress(ValueError):
            color = ImageColor.getrgb(self.background)
        if len(color) != 3:
            raise UsageError(
                f"{self.background!r} is not an opaque colour; use a name such as white, or a code "
                "such as '#808080'"
            )


class Header(NamedTuple):
    """What a file says of its picture before the pixels.

    Attributes:
        size: height and width, after the orientation of EXIF.
        is_grey: whether the mode of the picture has no colours; a palette counts as colours.
    """

    size: Size
    is_grey: bool


@dataclass(frozen=True)
class Collection:
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


class Source(NamedTuple):
    """An NPZ file, or picture files."""

    is_npz: bool
    files: list[Path]


class _PictureError(Exception):
    """What is wrong with a file that holds no picture: `is empty`."""


# --- files and NPZ files ----------------------------------------------------------------


def find_sources(paths: Iterable[Path]) -> list[Source]:
    """The NPZ files and the picture files of some paths, in their order.

    Args:
        paths: picture files, NPZ files and folders of pictures.

    Raises:
        UsageError: a path does not exist, or there is no file at all.
    """
    sources = []
    for is_npz, group in itertools.groupby(paths, lambda path: path.suffix.lower() == ".npz"):
        if not is_npz:
            sources.append(Source(False, find_pictures(group)))
            continue
        for path in group:
            if not path.is_file():
                raise UsageError(f"{printable(path)} is no file; pass an NPZ file of images")
            sources.append(Source(True, [path]))
    if not any(source.files for source in sources):
        raise UsageError("there are no pictures; pass files or a folder that has some")
    return sources


def read_images(
    sources: Sequence[Source], fitting: Fitting, advance: Advance = lambda count: None
) -> Collection:
    """Reads all images of `find_sources`.

    Args:
        sources: what `find_sources` returned.
        fitting: size and channels of all images; neither is None.
        advance: called with the number of files that were just done.

    Raises:
        UsageError: an NPZ file holds no images, or no picture file can be read.
    """
    parts = []
    for source in filter(lambda source: source.files, sources):
        if source.is_npz:
            parts.append(_read_npz(source.files[0], fitting))
            advance(1)
        else:
            parts.append(read_pictures(source.files, fitting, advance))
    labels = [part.labels for part in parts if part.labels is not None]
    images = np.concatenate([part.images for part in parts])
    if not len(images):
        raise UsageError("the NPZ files have 0 images; the least is 1")
    return Collection(
        images,
        [name for part in parts for name in part.names],
        np.concatenate(labels) if len(labels) == len(parts) else None,
        sum(part.resized for part in parts),
        [entry for part in parts for entry in part.skipped],
    )


def _read_npz(path: Path, fitting: Fitting) -> Collection:
    """The images of an NPZ file, in the size and the channels of a fitting."""
    images, labels = _load_npz(path)
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise UsageError(
            f"{printable(path)}: labels are {labels.dtype}{list(labels.shape)}; pass one integer "
            f"for each of the {len(images)} images"
        )
    assert fitting.size is not None and fitting.channels is not None
    resized = 0 if images.shape[1:3] == fitting.size else len(images)
    shape = (*fitting.size, fitting.channels)
    if images.shape[1:] != shape:
        pictures = (to_picture(image).convert(_mode(fitting.channels)) for image in images)
        fitted = [to_array(fit_picture(picture, fitting)) for picture in pictures]
        images = np.stack(fitted) if fitted else np.zeros((0, *shape), np.uint8)
    names = [f"{printable(path)}[{index}]" for index in range(len(images))]
    return Collection(images, names, labels, resized, [])


def _load_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The images `uint8[N, H, W, C]` of an NPZ file, C = 1 or 3, and the labels if it has some."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except Exception as error:  # numpy and zipfile raise errors of many classes
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise UsageError(
            f"{printable(path)} is no NPZ file of numpy, or is broken ({reason})"
        ) from None
    if _IMAGES not in arrays:
        # The only array of images needs no name.
        candidates = [array for array in arrays.values() if array.ndim in (3, 4)]
        if len(candidates) != 1:
            raise UsageError(
                f"{printable(path)} has no array {_IMAGES!r}; it has {', '.join(arrays) or 'none'}"
            )
        arrays[_IMAGES] = candidates[0]
    return _as_bytes(arrays[_IMAGES], printable(path)), arrays.get(_LABELS)


def _as_bytes(images: np.ndarray, place: str) -> np.ndarray:
    """Images as `uint8[N, H, W, C]`, C = 1 or 3."""
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise UsageError(
            f"{place}: images have the shape {size_text(images.shape)}; pass [N, H, W, C] with 1 "
            "or 3 channels"
        )
    if images.dtype == np.uint8:
        return images
    is_float = images.dtype.kind == "f"
    if not (is_float and images.min(initial=1) >= 0 and images.max(initial=0) <= 1):
        text = str(images.dtype)
        text += f" from {images.min():.3g} to {images.max():.3g}" if is_float else ""
        raise UsageError(f"{place}: images are {text}; pass uint8 in 0…255, or floats in 0…1")
    rounded: np.ndarray = np.round(255 * images).astype(np.uint8)
    return rounded


def read_pictures(
    paths: Sequence[Path], fitting: Fitting, advance: Advance = lambda count: None
) -> Collection:
    """Reads picture files in parallel; those that hold no picture are skipped.

    Args:
        paths: the files.
        fitting: the size and channels of all images.
        advance: called with the number of files that were just read; `len(paths)` in all.

    Returns:
        The images in the order of the files, and the skipped files.

    Raises:
        UsageError: no file holds a picture, or the sizes differ and `fitting` has none.
    """
    with quiet_pillow():
        headers, skipped = read_headers(paths)
        advance(len(skipped))
        height, width, channels = common_shape(headers, skipped, fitting)
        images = np.empty((len(headers), height, width, channels), np.uint8)
        read: list[Path] = []

        def decode(path: Path) -> np.ndarray | str:
            return try_decode(path, fitting, (height, width, channels))

        for path, image in zip(headers, map_in_order(decode, list(headers), _FILES), strict=True):
            if isinstance(image, str):
                skipped[path] = image
            else:
                images[len(read)] = image
                read.append(path)
            advance(1)
    check_any(read, skipped)
    resized = sum(headers[path].size != (height, width) for path in read)
    in_order = [(path, skipped[path]) for path in paths if path in skipped]
    return Collection(images[: len(read)], list(map(printable, read)), None, resized, in_order)


# --- folders ----------------------------------------------------------------------------


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """The files among the paths, and all files below the folders among them.

    Hidden files and folders within a folder are left out, and so is the table that `tfgen-sample`
    writes beside its pictures. Links are followed. A file that is reached twice, by links or hard
    links, is listed once, where it is without a link if possible.
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
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{printable(path)} does not exist; pass a picture or a folder")
        files += _files_below(path, seen)
    return files


def _files_below(root: Path, seen: set[tuple[int, int]]) -> list[Path]:
    """All files below a folder that are not in `seen`, sorted; or the file `root` itself."""
    files: list[Path] = []
    # Links come last, so that a file is listed where it is without a link.
    heap = [(False, root)]
    while heap:
        _, path = heapq.heappop(heap)
        if not _is_new(path, seen):
            continue
        try:
            children = list(path.iterdir())
        except OSError:  # a file, or a folder without permission, which reading will report
            files.append(path)
            continue
        for child in children:
            if not child.name.startswith(".") and child.name != SAMPLES_TABLE:
                heapq.heappush(heap, (child.is_symlink(), child))
    return sorted(files, key=lambda path: path.parts)


def _is_new(path: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a file or folder is seen for the first time, by device and inode."""
    try:
        # Not `os.DirEntry.inode()`, which is the same for all files on many FUSE mounts.
        status = path.stat()
    except OSError:  # a broken link, which reading will report
        return True
    key = (status.st_dev, status.st_ino)
    is_new = key not in seen
    seen.add(key)
    return is_new


def printable(path: str | Path) -> str:
    """A path in one line of UTF-8; what is neither printable nor UTF-8 is escaped: `caf\\xe9`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# --- many files -------------------------------------------------------------------------


def map_in_order(
    function: Callable[[_Item], _Result], items: Sequence[_Item], size: int = 1
) -> Iterator[_Result]:
    """Calls a function for each item in several threads; yields the results in order.

    Only a bounded number of results is ahead of what was yielded.

    Args:
        function: the function.
        items: its arguments.
        size: items that a thread takes at once; more than one is faster for short calls.
    """
    threads = os.cpu_count() or 1
    waiting: collections.deque[Future[list[_Result]]] = collections.deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for start in range(0, len(items), size):
            part = items[start : start + size]
            waiting.append(pool.submit(lambda part: list(map(function, part)), part))
            if len(waiting) >= threads * _WAITING:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_headers(
    paths: Sequence[Path], advance: Advance = lambda count: None
) -> tuple[dict[Path, Header], dict[Path, str]]:
    """The headers of picture files, and why the other files have none: `is empty`.

    Args:
        paths: the files.
        advance: called with the number of files that were just read.
    """
    headers: dict[Path, Header] = {}
    skipped: dict[Path, str] = {}
    for path, header in zip(paths, map_in_order(_try_header, paths, _FILES), strict=True):
        if isinstance(header, str):
            skipped[path] = header
        else:
            headers[path] = header
        advance(1)
    return headers, skipped


def _try_header(path: Path) -> Header | str:
    try:
        return _read_header(path)
    except _PictureError as error:
        return str(error)


def try_decode(path: Path, fitting: Fitting, shape: tuple[int, int, int]) -> np.ndarray | str:
    """The picture of a file, uint8[H,W,C], or why there is none: `is broken (…)`.

    Args:
        path: the file; of an animation, the first frame is read.
        fitting: how it is fitted.
        shape: the height, width and channels that all pictures have.
    """
    try:
        image = _decode(path, fitting, shape[2])
    except _PictureError as error:
        return str(error)
    height, width, _ = image.shape
    # Such as a PNG whose orientation is behind its pixels.
    return image if image.shape == shape else f"is {width}x{height}, unlike the others"


def check_any(pictures: Sequence[Path], skipped: Mapping[Path, str]) -> None:
    """Refuses files that hold no picture at all.

    Raises:
        UsageError: `pictures` is empty; the message says what is wrong with the first file.
    """
    if not pictures:
        faults = (f"{printable(path)} {reason}" for path, reason in skipped.items())
        raise UsageError(f"{next(faults, 'there are no files')}; pass {FORMATS_TEXT} files")


def common_shape(
    headers: Mapping[Path, Header], skipped: Mapping[Path, str], fitting: Fitting
) -> tuple[int, int, int]:
    """Height, width and channels that all pictures get.

    Raises:
        UsageError: there is no picture; or `fitting` has no size, and the pictures have several.
    """
    check_any(list(headers), skipped)
    sizes = collections.Counter(header.size for header in headers.values())
    if fitting.size is None and len(sizes) > 1:
        frequent = [f"{w}x{h} ({count})" for (h, w), count in sizes.most_common(_MAX_SIZES)]
        raise UsageError(
            f"the {sizes.total()} pictures have {len(sizes)} sizes, such as width x height "
            f"(pictures): {', '.join(frequent)}; bring them to one size, for example --size 64"
        )
    is_grey = len(set(ImageColor.getrgb(fitting.background))) == 1 and all(
        header.is_grey for header in headers.values()
    )
    return (*(fitting.size or next(iter(sizes))), fitting.channels or (1 if is_grey else 3))


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Suppresses Pillow's warnings about large and odd files within the block."""
    # Not in the threads, since the filters belong to the whole process.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- one file ---------------------------------------------------------------------------


def _read_header(path: Path) -> Header:
    """What a file says of its picture; decodes no pixels, except for a rotated TIFF."""
    with _open(path) as file, Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        # A PNG may have EXIF behind its pixels; to look for it there would decode them.
        has_exif = image.format != "PNG" or not _EXIF_KEYS.isdisjoint(image.info)
        if has_exif and _orientation(image) in _TURNED:
            # Whether Pillow has already exchanged the sides of a TIFF depends on its version.
            is_tiff = image.format == "TIFF"
            width, height = _upright(image).size if is_tiff else (height, width)
        return Header((height, width), image.mode in _GREY_MODES)


def _decode(path: Path, fitting: Fitting, channels: int) -> np.ndarray:
    """The picture of a file, fitted, uint8[H,W,C]."""
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
        return to_array(fit_picture(picture, fitting))


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Opens a file, and turns what Pillow raises about its content into a `_PictureError`."""
    try:
        # To open a pipe would wait for its other end.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder that cannot be listed" if stat.S_ISDIR(mode) else "no regular file"
            raise _PictureError(f"is {kind}")
        with path.open("rb") as file:
            yield file
    except (_PictureError, MemoryError):
        raise
    except Exception as error:  # Pillow raises errors of many classes about broken files
        if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
            raise
        raise _PictureError(_describe_fault(path, error)) from None


def _describe_fault(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is empty" if path.stat().st_size == 0 else f"is not a {FORMATS_TEXT} file"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({error.strerror})"
    return f"is broken ({' '.join(str(error).split()) or type(error).__name__})"


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
    return image.convert(_mode(channels))


def _mode(channels: int) -> str:
    return "L" if channels == 1 else "RGB"


def _reduce_depth(image: Image.Image) -> Image.Image:
    """A picture of 16 or 32 bits per pixel as L, or LA if one of its values is transparent.

    Black is 0. White is 65535 in a picture of integers, those of 32 bits too, and 1 in a picture of
    floats. Values in between are rounded.
    """
    values = np.asarray(image)
    white = 1 if image.mode == "F" else _WHITE_OF_16_BITS
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # true of NaN too
        raise _PictureError(f"has values from {low:g} to {high:g} instead of 0 to {white}")
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
