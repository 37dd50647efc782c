"""Images of the user's own, in files, folders and NPZ files, as uint8 arrays of one shape.

No TensorFlow here.
"""

import itertools
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tfgen.data.decoding import Fitting, PictureError, Size, fit_picture, read_header, to_array
from tfgen.data.finding import find_pictures, printable
from tfgen.data.pictures import read_pictures
from tfgen.errors import UsageError, size_text

# The array of an NPZ file that has the images, and the one that has their classes.
_IMAGES, _LABELS = "images", "labels"
_HOW = "pass uint8 in 0…255, or floats in 0…1"


@dataclass(frozen=True)
class Collection:
    """Images in memory, and what became of the files that they come from.

    Attributes:
        images: `uint8[N, H, W, C]`.
        names: where each image comes from: its file, or `FILE.npz[INDEX]`.
        labels: `int64[N]`; None unless all images come from NPZ files with labels.
        resized: number of images that had another size.
        skipped: files without an image that can be read, each with the reason.
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


def find_sources(paths: Iterable[Path]) -> list[Source]:
    """The NPZ files and the picture files of some paths, in their order.

    Args:
        paths: picture files, NPZ files and folders of pictures.

    Raises:
        UsageError: a path does not exist, or there is no file at all.
    """
    sources = []
    for is_npz, group in itertools.groupby(paths, lambda path: path.suffix.lower() == ".npz"):
        files = list(group)
        if is_npz:
            for path in files:
                if not path.is_file():
                    raise UsageError(f"{printable(path)} is no file; pass an NPZ file of images")
            sources += [Source(True, [path]) for path in files]
        else:
            sources.append(Source(False, find_pictures(files)))
    if not any(source.files for source in sources):
        raise UsageError("there are no pictures; pass files or a folder that has some")
    return sources


def read_images(
    sources: Sequence[Source],
    fitting: Fitting,
    advance: Callable[[int], None] = lambda count: None,
) -> Collection:
    """Reads all images of `find_sources`.

    Args:
        sources: what `find_sources` returned.
        fitting: size and channels of all images; neither is None.
        advance: is called with the number of files that were just done.

    Raises:
        UsageError: an NPZ file holds no images, or no picture file can be read.
    """
    parts = [
        (_read_npz if source.is_npz else _read_files)(source.files, fitting, advance)
        for source in sources
        if source.files
    ]
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


def _read_files(
    files: Sequence[Path], fitting: Fitting, advance: Callable[[int], None]
) -> Collection:
    pictures = read_pictures(files, fitting, advance)
    resized = sum(_size(path) != fitting.size for path in pictures.paths)
    names = [printable(path) for path in pictures.paths]
    return Collection(pictures.images, names, None, resized, pictures.skipped)


def _size(path: Path) -> Size | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about large and odd files
        try:
            return read_header(path).size
        except PictureError:  # the file was changed a moment ago
            return None


# --- NPZ files --------------------------------------------------------------------------


def _read_npz(
    files: Sequence[Path], fitting: Fitting, advance: Callable[[int], None]
) -> Collection:
    """The images of one NPZ file, in the size and the channels of a fitting."""
    (path,) = files
    arrays = _load(path)
    images = _as_bytes(arrays[_IMAGES], printable(path))
    labels = arrays.get(_LABELS)
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise UsageError(
            f"{printable(path)}: labels are {labels.dtype}{list(labels.shape)}; pass one integer "
            f"for each of the {len(images)} images"
        )
    assert fitting.size is not None and fitting.channels is not None
    shape = (*fitting.size, fitting.channels)
    is_resized = images.shape[1:3] != fitting.size
    if images.shape[1:] != shape:
        fitted = [_fit(image, fitting) for image in images]
        images = np.stack(fitted) if fitted else np.zeros((0, *shape), np.uint8)
    advance(1)
    names = [f"{printable(path)}[{index}]" for index in range(len(images))]
    return Collection(images, names, labels, len(images) if is_resized else 0, [])


def _load(path: Path) -> dict[str, np.ndarray]:
    """The images of an NPZ file, and the labels if there are some.

    Raises:
        UsageError: it is no NPZ file, is broken, or has no images.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            known, images = list(stored.files), _IMAGES
            if images not in known:
                # An only array of images needs no name.
                arrays_of_images = [name for name in known if stored[name].ndim in (3, 4)]
                images = arrays_of_images[0] if len(arrays_of_images) == 1 else images
            names = {_IMAGES: images, _LABELS: _LABELS}
            arrays = {key: stored[name] for key, name in names.items() if name in known}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, RuntimeError) as error:
        raise _broken(path, error) from None
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError) as error:
        raise _broken(path, error) from None
    if _IMAGES not in arrays:
        raise UsageError(
            f"{printable(path)} has no array {_IMAGES!r}; it has {', '.join(known) or 'none'}"
        )
    return arrays


def _broken(path: Path, error: Exception) -> UsageError:
    reason = " ".join(str(error).split())[:100] or type(error).__name__
    return UsageError(f"{printable(path)} is no NPZ file of numpy, or is broken ({reason})")


def _as_bytes(images: Any, place: str) -> np.ndarray:
    """Images as `uint8[N, H, W, C]`, C = 1 or 3."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise UsageError(
            f"{place}: images have the shape {size_text(images.shape)}; pass [N, H, W, C] with 1 "
            "or 3 channels"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise UsageError(f"{place}: images are {images.dtype}; {_HOW}")
    if images.size and not (images.min() >= 0 and images.max() <= 1):  # true of NaN in this form
        raise UsageError(
            f"{place}: images run from {images.min():.3g} to {images.max():.3g}; {_HOW}"
        )
    rounded: np.ndarray = np.round(255 * images).astype(np.uint8)
    return rounded


def _fit(image: np.ndarray, fitting: Fitting) -> np.ndarray:
    """An image `uint8[H, W, C]` in the size and the channels of a fitting."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return to_array(fit_picture(picture.convert("L" if fitting.channels == 1 else "RGB"), fitting))
