"""Reads IDX files, the format of the MNIST family (LeCun, Cortes, Burges: "The MNIST database").

A file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian
32-bit integer, then the entries in row-major order.
"""

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from tfgen.errors import UsageError

Splits = dict[str, tuple[np.ndarray, np.ndarray | None]]

_UINT8, _INT32 = 0x08, 0x0C
# The type codes of the format. Only the first and the fifth are read.
_TYPE_NAMES = {
    _UINT8: "uint8",
    0x09: "int8",
    0x0B: "int16",
    _INT32: "int32",
    0x0D: "float32",
    0x0E: "float64",
}
_DTYPES: dict[int, np.dtype] = {_UINT8: np.dtype(np.uint8), _INT32: np.dtype(">i4")}
# Archives that people rename or forget to unpack, by their first bytes.
_ARCHIVES = {b"PK": "a ZIP archive", b"\xfd7": "an xz file", b"BZ": "a bzip2 file"}
_GZIP = b"\x1f\x8b"
# train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-test-images-idx3-ubyte,
# qmnist-train-labels-idx2-int.gz
_NAME = re.compile(
    r"(?P<prefix>.*?)[-_.]?(?P<split>train|t10k|test)[-_.](?P<kind>images|labels)[-_.]idx\d(-[a-z]+)?(\.gz)?"
)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Found(NamedTuple):
    prefix: str
    split: str
    kind: str
    path: Path


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file of uint8 or int32 entries, gzipped or not, whatever its name.

    Returns:
        An array of the file's own shape, in the machine's byte order; read-only where it is uint8.

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
    head = file.read(4)
    if not head:
        raise UsageError(f"{path} is empty; an IDX file was expected")
    if head[:2] in _ARCHIVES:
        raise UsageError(f"{path} is {_ARCHIVES[head[:2]]}, not an IDX file; unpack it first")
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPE_NAMES or not 1 <= head[3] <= 4:
        raise UsageError(
            f"{path} is no IDX file: it begins with 0x{head.hex()}, "
            "images begin with 0x00000803, labels with 0x00000801"
        )
    if head[2] not in _DTYPES:
        raise UsageError(
            f"{path} holds {_TYPE_NAMES[head[2]]} entries; only uint8 and int32 are read"
        )
    dimensions = file.read(4 * head[3])
    if len(dimensions) < 4 * head[3]:
        raise UsageError(f"{path} is truncated: it ends within its header")
    shape = tuple(int(n) for n in np.frombuffer(dimensions, ">u4"))
    dtype = _DTYPES[head[2]]
    expected = math.prod(shape) * dtype.itemsize
    # One byte more than there should be, so that trailing bytes show.
    try:
        data = file.read(expected + 1)
    except (OverflowError, MemoryError):
        raise UsageError(
            f"{path} claims a shape of {_shown(shape)}, which cannot be; fetch it again"
        ) from None
    if len(data) < expected:
        raise UsageError(
            f"{path} is truncated: {len(data)} bytes of data, "
            f"{expected} expected for {_shown(shape)}; fetch it again"
        )
    if len(data) > expected:
        raise UsageError(
            f"{path} has bytes after its {expected} bytes of data ({_shown(shape)}); fetch it again"
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def read_idx_images(path: str | Path) -> np.ndarray:
    """The images of an IDX file: uint8[N,H,W,1].

    Raises:
        UsageError: the file is not an IDX file of grey uint8 images, or holds none.
    """
    array = read_idx(path)
    if array.ndim <= 2:
        raise UsageError(
            f"{path} holds labels ({array.dtype}, {_shown(array.shape)}) "
            "where images are expected; is it misnamed?"
        )
    if array.ndim != 3:
        raise UsageError(
            f"{path} has {array.ndim} dimensions; images have 3: number, height, width"
        )
    if array.dtype != np.uint8:
        raise UsageError(f"{path} holds {array.dtype} pixels; images must be uint8")
    if 0 in array.shape:
        raise UsageError(f"{path} holds no images: its shape is {_shown(array.shape)}")
    return array[..., np.newaxis]


def read_idx_labels(path: str | Path) -> np.ndarray:
    """The labels of an IDX file: int64[N]. Of 2-D labels, QMNIST's, the first column is the class.

    Raises:
        UsageError: the file is not an IDX file of labels, or a label is negative.
    """
    array = read_idx(path)
    if array.ndim > 2:
        raise UsageError(
            f"{path} holds images ({_shown(array.shape)}) where labels are expected; is it misnamed?"
        )
    if array.ndim == 2:
        if array.shape[1] == 0:
            raise UsageError(f"{path} holds labels of no columns")
        array = array[:, 0]
    labels = array.astype(np.int64)
    if labels.size and labels.min() < 0:
        raise UsageError(f"{path} holds the label {labels.min()}; labels count from 0")
    return labels


def read_idx_folder(source: str | Path, prefix: str | None = None) -> Splits:
    """The splits of a data set of the MNIST family, found by the names of its files.

    Args:
        source: a folder with `train-images-idx3-ubyte` and its like (`t10k` or `test`, `labels`,
            gzipped or not, a prefix before), or one file of images, which becomes the train split.
        prefix: which data set, where a folder holds several, such as `emnist-letters`.

    Returns:
        `train` and, where there is one, `test`: images uint8[N,H,W,1], labels int64[N] or None.

    Raises:
        UsageError: there are no train images, a file is wrong, or counts or sizes disagree.
    """
    source = Path(source)
    if source.is_file():
        return {"train": (read_idx_images(source), None)}
    if not source.is_dir():
        raise UsageError(f"no such file or folder: {source}")
    files = _find(source, prefix)
    splits: Splits = {}
    for split in ("train", "test"):
        if (split, "images") in files:
            splits[split] = _read_split(files[split, "images"], files.get((split, "labels")))
        elif (split, "labels") in files:
            raise UsageError(
                f"{source} has labels but no images for {split}; add {split}-images-idx3-ubyte"
            )
    _check_agreement(splits, source)
    return splits


def _find(folder: Path, prefix: str | None) -> dict[tuple[str, str], Path]:
    found = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name.lower())
        if match and path.is_file():
            split = "train" if match["split"] == "train" else "test"
            found.append(_Found(match["prefix"], split, match["kind"], path))
    prefixes = sorted({f.prefix for f in found})
    if prefix is not None:
        wanted = prefix.lower().rstrip("-_.")
        if wanted not in prefixes:
            there = ", ".join(p or "files without a prefix" for p in prefixes) or "no IDX files"
            raise UsageError(f"{folder} has no files that begin with {prefix!r}; it has: {there}")
        found = [f for f in found if f.prefix == wanted]
    elif len(prefixes) > 1:
        raise UsageError(
            f"{folder} holds several data sets, choose one prefix of: {', '.join(prefixes)}"
        )
    files: dict[tuple[str, str], Path] = {}
    for _, split, kind, path in found:
        if (split, kind) in files:
            raise UsageError(
                f"{folder} has two files of {split} {kind}, "
                f"{files[split, kind].name} and {path.name}; keep one of them"
            )
        files[split, kind] = path
    if ("train", "images") not in files:
        raise UsageError(
            f"{folder} has no train images; expected a file like train-images-idx3-ubyte.gz"
        )
    return files


def _read_split(
    images_path: Path, labels_path: Path | None
) -> tuple[np.ndarray, np.ndarray | None]:
    images = read_idx_images(images_path)
    if labels_path is None:
        return images, None
    labels = read_idx_labels(labels_path)
    if len(labels) != len(images):
        raise UsageError(
            f"{images_path} has {len(images)} images, {labels_path.name} has {len(labels)} labels; "
            "they must be as many"
        )
    return images, labels


def _check_agreement(splits: Splits, source: Path) -> None:
    if "test" not in splits:
        return
    (train_images, train_labels), (test_images, test_labels) = splits["train"], splits["test"]
    if train_images.shape[1:] != test_images.shape[1:]:
        raise UsageError(
            f"{source}: train images are {_shown(train_images.shape[1:3])}, "
            f"test images {_shown(test_images.shape[1:3])}; all must be of one size"
        )
    if (train_labels is None) != (test_labels is None):
        has, lacks = ("test", "train") if train_labels is None else ("train", "test")
        raise UsageError(
            f"{source} has labels for {has} but not for {lacks}; give both, or neither"
        )
