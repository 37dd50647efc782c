"""Files of pictures, of any size, format and mode, as uint8 arrays of one shape.

Importing this module imports no TensorFlow.
"""

import collections
import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfgen.data.decoding import (
    FORMATS_TEXT,
    Fit,
    Fitting,
    Header,
    PictureError,
    Size,
    decode,
    read_header,
    resize,
    to_array,
)
from tfgen.data.finding import find_pictures, printable
from tfgen.data.parallel import map_short
from tfgen.errors import UsageError

__all__ = [
    "Fit",
    "Fitting",
    "Pictures",
    "Size",
    "find_pictures",
    "printable",
    "read_picture",
    "read_pictures",
    "resize",
]

# Sizes that an error lists.
_MAX_SIZES = 3


class Pictures(NamedTuple):
    """Pictures in memory, and the files that hold none.

    Attributes:
        images: uint8[N,H,W,C].
        paths: the file of each image.
        skipped: the other files, each with the reason: `is empty`.
    """

    images: np.ndarray
    paths: list[Path]
    skipped: list[tuple[Path, str]]


def read_picture(path: Path, fitting: Fitting) -> np.ndarray:
    """The picture of a file.

    Args:
        path: the file.
        fitting: its size and channels; without `channels`, those of this picture.

    Returns:
        uint8[H,W,C].

    Raises:
        UsageError: the file is broken or holds no picture; the message names it.
    """
    with quiet_pillow():
        channels = fitting.channels or common_channels([read_header(path)], fitting)
        return to_array(decode(path, fitting, channels))


def read_pictures(
    paths: Sequence[Path], fitting: Fitting, advance: Callable[[int], None] = lambda count: None
) -> Pictures:
    """Reads files in parallel; those that hold no picture are skipped.

    Args:
        paths: the files.
        fitting: the size and channels of all images.
        advance: called with the number of files that were just read; `len(paths)` in all.

    Returns:
        The images in the order of the files, and the skipped files.

    Raises:
        UsageError: no file holds a picture, or the sizes differ and `fitting` has none.
    """
    skipped: dict[Path, str] = {}
    with quiet_pillow():
        headers: dict[Path, Header] = {}
        for path, header in zip(paths, map_short(try_header, paths), strict=True):
            if isinstance(header, str):
                skipped[path] = header
                advance(1)
            else:
                headers[path] = header
        check_any(headers, skipped)
        size = fitting.size or common_size(headers.values())
        channels = fitting.channels or common_channels(headers.values(), fitting)
        images = np.empty((len(headers), *size, channels), np.uint8)
        read: list[Path] = []
        readable = list(headers)
        decoded = map_short(lambda path: try_decode(path, fitting, size, channels), readable)
        for path, image in zip(readable, decoded, strict=True):
            if isinstance(image, str):
                skipped[path] = image
            else:
                images[len(read)] = image
                read.append(path)
            advance(1)
    check_any(read, skipped)
    return Pictures(images[: len(read)], read, [(p, skipped[p]) for p in paths if p in skipped])


def try_header(path: Path) -> Header | str:
    """The header of a file, or why it has none: `is empty`."""
    try:
        return read_header(path)
    except PictureError as error:
        return error.reason


def try_decode(path: Path, fitting: Fitting, size: Size, channels: int) -> np.ndarray | str:
    """The picture of a file, uint8[H,W,C], or why there is none: `is broken (…)`.

    Args:
        path: the file.
        fitting: how it is fitted.
        size: the height and width that all pictures have.
        channels: 1 or 3.
    """
    try:
        image = to_array(decode(path, fitting, channels))
    except PictureError as error:
        return error.reason
    height, width, _ = image.shape
    # Such as a PNG whose orientation is behind its pixels.
    return image if (height, width) == size else f"is {width}x{height}, unlike the others"


def check_any(pictures: Iterable[Path], skipped: dict[Path, str]) -> None:
    """Refuses files that hold no picture at all.

    Raises:
        UsageError: `pictures` is empty; the message says what is wrong with the first file.
    """
    if any(True for _ in pictures):
        return
    if not skipped:
        raise UsageError(f"there are no files; pass {FORMATS_TEXT} files, or a folder of them")
    path, reason = next(iter(skipped.items()))
    others = {1: "", 2: "; nor does 1 more file hold a picture"}.get(
        len(skipped), f"; nor do {len(skipped) - 1} more files hold a picture"
    )
    raise UsageError(f"{printable(path)} {reason}{others}; pass {FORMATS_TEXT} files")


def common_size(headers: Iterable[Header]) -> Size:
    """The size that all pictures have.

    Raises:
        UsageError: they have several; the message lists the frequent ones with their counts.
    """
    counts = collections.Counter(header.size for header in headers)
    if len(counts) == 1:
        return next(iter(counts))
    frequent = counts.most_common(_MAX_SIZES)
    parts = [f"{width}x{height} ({count})" for (height, width), count in frequent]
    if len(counts) > len(frequent):
        parts.append(f"others ({counts.total() - sum(count for _, count in frequent)})")
    raise UsageError(
        f"the {counts.total()} pictures have {len(counts)} sizes, width x height (pictures): "
        f"{', '.join(parts)}; bring them to one size with --size, for example --size 64"
    )


def common_channels(headers: Iterable[Header], fitting: Fitting) -> int:
    """The channels that show all pictures: 1 if they and the background are grey, else 3."""
    is_grey = fitting.has_grey_background and all(header.is_grey for header in headers)
    return 1 if is_grey else 3


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Suppresses Pillow's warnings about large and odd files within the block."""
    # Not in the threads, since the filters belong to the whole process.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
