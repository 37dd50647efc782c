"""Imports IDX files, the format of the MNIST family.

LeCun, Cortes & Burges, "The MNIST database of handwritten digits". A file consists of two zero
bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit integer, and
then the entries in row-major order.
"""

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from tfgen.data.dataset import Split
from tfgen.data.importers.base import Imported
from tfgen.errors import UsageError, size_text

_UINT8, _INT32 = 0x08, 0x0C
# The type codes of the format; only uint8 and int32 are read.
_TYPE_NAMES = {
    _UINT8: "uint8",
    0x09: "int8",
    0x0B: "int16",
    _INT32: "int32",
    0x0D: "float32",
    0x0E: "float64",
}
_DTYPES: dict[int, np.dtype] = {_UINT8: np.dtype(np.uint8), _INT32: np.dtype(">i4")}
_MAX_DIMENSIONS = 4
# Archives that were renamed or not unpacked, by their first bytes.
_ARCHIVES = {b"PK": "a ZIP archive", b"\xfd7": "an xz file", b"BZ": "a bzip2 file"}
_GZIP = b"\x1f\x8b"
# train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-test-images-idx3-ubyte,
# qmnist-train-labels-idx2-int.gz
_NAME = re.compile(
    r"(?P<prefix>.*?)[-_.]?(?P<split>train|t10k|test)[-_.]"
    r"(?P<kind>images|labels)[-_.]idx\d(-[a-z]+)?(\.gz)?"
)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _NamedFile(NamedTuple):
    """A file of the MNIST family and what its name says of it."""

    prefix: str
    split: str
    kind: str
    path: Path


def import_idx(source: str | Path, prefix: str | None = None) -> Imported:
    """Imports a data set of the MNIST family; file names say what files hold.

    Args:
        source: a folder with files like `train-images-idx3-ubyte` (`t10k` or `test`, `labels`,
            with or without a prefix, gzipped or not), or one file of images, which becomes the
            train split.
        prefix: the data set to import from a folder of several, such as `emnist-letters`.

    Returns:
        `train` and, if there is one, `test`: images uint8[N,H,W,1], labels int64[N] or None.

    Raises:
        UsageError: there are no train images, a file is damaged, or numbers of images and labels
            or image sizes disagree.
    """
    source = Path(source)
    if source.is_file():
        return Imported({"train": Split(read_idx_images(source))})
    if not source.is_dir():
        fault = "is no ordinary file" if source.exists() else "does not exist"
        raise UsageError(f"{source} {fault}; pass a folder of IDX files, or one IDX file")
    files = _find_files(source, prefix)
    splits = {}
    for name in ("train", "test"):
        if (name, "images") in files:
            splits[name] = _read_split(files[name, "images"], files.get((name, "labels")))
        elif (name, "labels") in files:
            raise UsageError(
                f"{source} has labels but no images for {name}; add {name}-images-idx3-ubyte"
            )
    if "test" in splits:
        _check_agreement(source, splits["train"], splits["test"])
    return Imported(splits)


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file of uint8 or int32 entries.

    The content, not the file name, decides whether the file is gzipped.

    Returns:
        An array of the file's own shape, in native byte order; read-only if it is uint8.

    Raises:
        UsageError: the file is missing, empty, truncated, too long, broken, or not IDX.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            start = raw.read(2)
            raw.seek(0)
            if start == _GZIP:
                with gzip.open(raw) as unpacked:
                    return _read(unpacked, path)
            return _read(raw, path)
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not an IDX file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(f"{path} is a broken gzip file ({error}); fetch it again") from None


def _read(file: _Readable, path: Path) -> np.ndarray:
    shape, dtype = _read_header(file, path)
    expected = math.prod(shape) * dtype.itemsize
    try:
        # Asks for one byte more than expected, to notice trailing bytes.
        data = file.read(expected + 1)
    except (OverflowError, MemoryError):
        raise UsageError(
            f"{path} claims the shape {size_text(shape)}, which is too large; fetch it again"
        ) from None
    if len(data) < expected:
        raise UsageError(
            f"{path} is truncated: {len(data)} bytes of data, "
            f"{expected} expected for {size_text(shape)}; fetch it again"
        )
    if len(data) > expected:
        raise UsageError(
            f"{path} has bytes after its {expected} bytes of data ({size_text(shape)}); "
            "fetch it again"
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: _Readable, path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of the entries that follow."""
    start = file.read(4)
    if not start:
        raise UsageError(f"{path} is empty; an IDX file was expected")
    if start[:2] in _ARCHIVES:
        raise UsageError(f"{path} is {_ARCHIVES[start[:2]]}, not an IDX file; unpack it first")
    is_idx = len(start) == 4 and start[:2] == b"\0\0" and start[2] in _TYPE_NAMES
    if not is_idx or not 1 <= start[3] <= _MAX_DIMENSIONS:
        raise UsageError(
            f"{path} is not an IDX file: it begins with 0x{start.hex()}, "
            "but images begin with 0x00000803, and labels with 0x00000801"
        )
    code, ndim = start[2], start[3]
    if code not in _DTYPES:
        raise UsageError(f"{path} holds {_TYPE_NAMES[code]} entries; only uint8 and int32 are read")
    dimensions = file.read(4 * ndim)
    if len(dimensions) < 4 * ndim:
        raise UsageError(f"{path} is truncated: it ends within its header; fetch it again")
    return tuple(int(n) for n in np.frombuffer(dimensions, ">u4")), _DTYPES[code]


def read_idx_images(path: str | Path) -> np.ndarray:
    """The images of an IDX file: uint8[N,H,W,1].

    Raises:
        UsageError: the file is not an IDX file of grey uint8 images, or has no images.
    """
    array = read_idx(path)
    if array.ndim <= 2:
        raise UsageError(
            f"{path} holds labels ({array.dtype}, {size_text(array.shape)}) "
            "where images are expected; is it misnamed?"
        )
    if array.ndim != 3:
        raise UsageError(
            f"{path} has {array.ndim} dimensions; images have 3: number, height, width"
        )
    if array.dtype != np.uint8:
        raise UsageError(f"{path} holds {array.dtype} pixels; images must be uint8")
    if 0 in array.shape:
        raise UsageError(f"{path} holds no images: its shape is {size_text(array.shape)}")
    return array[..., np.newaxis]


def read_idx_labels(path: str | Path) -> np.ndarray:
    """The labels of an IDX file: int64[N].

    Of two-dimensional labels, as QMNIST has them, the first column is the class.

    Raises:
        UsageError: the file is not an IDX file of labels, or a label is negative.
    """
    array = read_idx(path)
    if array.ndim > 2:
        raise UsageError(
            f"{path} holds images ({size_text(array.shape)}) where labels are expected; "
            "is it misnamed?"
        )
    if array.ndim == 2:
        if array.shape[1] == 0:
            raise UsageError(f"{path} holds labels without columns")
        array = array[:, 0]
    labels = array.astype(np.int64)
    if (least := np.min(labels, initial=0)) < 0:
        raise UsageError(f"{path} holds the label {least}; labels count from 0")
    return labels


def _find_files(folder: Path, prefix: str | None) -> dict[tuple[str, str], Path]:
    """The files of one data set by (`train` or `test`, `images` or `labels`)."""
    files: dict[tuple[str, str], Path] = {}
    for _, split, kind, path in _choose_prefix(folder, prefix):
        if (split, kind) in files:
            raise UsageError(
                f"{folder} has two files of {split} {kind}, "
                f"{files[split, kind].name} and {path.name}; remove one of them"
            )
        files[split, kind] = path
    if ("train", "images") not in files:
        raise UsageError(
            f"{folder} has no train images; expected a file like train-images-idx3-ubyte.gz"
        )
    return files


def _choose_prefix(folder: Path, prefix: str | None) -> list[_NamedFile]:
    """The files whose names begin with `prefix`; all if there is only one prefix."""
    files = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name.lower())
        if match and path.is_file():
            split = "train" if match["split"] == "train" else "test"
            files.append(_NamedFile(match["prefix"], split, match["kind"], path))
    prefixes = sorted({file.prefix for file in files})
    if prefix is None:
        if len(prefixes) > 1:
            raise UsageError(
                f"{folder} holds several data sets; choose one prefix of: {', '.join(prefixes)}"
            )
        return files
    wanted = prefix.lower().rstrip("-_.")
    if wanted not in prefixes:
        known = ", ".join(name or "files without a prefix" for name in prefixes) or "no IDX files"
        raise UsageError(f"{folder} has no files that begin with {prefix!r}; it has: {known}")
    return [file for file in files if file.prefix == wanted]


def _read_split(images_path: Path, labels_path: Path | None) -> Split:
    images = read_idx_images(images_path)
    if labels_path is None:
        return Split(images)
    labels = read_idx_labels(labels_path)
    if len(labels) != len(images):
        raise UsageError(
            f"{images_path} has {len(images)} images, but {labels_path.name} has {len(labels)} "
            "labels; each image needs one label"
        )
    return Split(images, labels)


def _check_agreement(source: Path, train: Split, test: Split) -> None:
    if train.image_shape != test.image_shape:
        raise UsageError(
            f"{source}: train images are {size_text(train.image_shape[:2])}, "
            f"test images {size_text(test.image_shape[:2])}; all must have one size"
        )
    if (train.labels is None) != (test.labels is None):
        has, lacks = ("test", "train") if train.labels is None else ("train", "test")
        raise UsageError(
            f"{source} has labels for {has} but not for {lacks}; provide both, or neither"
        )
