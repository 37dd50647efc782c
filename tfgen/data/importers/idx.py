"""Imports IDX files, the format of the MNIST family.

LeCun, Cortes & Burges, "The MNIST database of handwritten digits". A file consists of two zero
bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit integer, and
then the entries in row-major order.
"""

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from tfgen.data.dataset import Split
from tfgen.errors import UsageError, size_text
from tfgen.system.atomic import check_unpacked

# The type codes that are read: those of images, and of labels in some files.
_DTYPES: dict[int, np.dtype] = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}
_SPLITS = ("train", "test")
_GZIP = b"\x1f\x8b"
# train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-test-images-idx3-ubyte,
# qmnist-train-labels-idx2-int.gz
_NAME = re.compile(
    r"(?P<prefix>.*?)[-_.]?(?P<split>train|t10k|test)[-_.]"
    r"(?P<kind>images|labels)[-_.]idx\d(-[a-z]+)?(\.gz)?"
)


def import_idx(source: Path, prefix: str | None = None) -> dict[str, Split]:
    """Imports a data set of the MNIST family; file names say what files hold.

    Args:
        source: a folder with files like `train-images-idx3-ubyte` (`t10k` or `test`, `labels`,
            with or without a prefix, gzipped or not), or one file of images, which becomes the
            train split.
        prefix: the data set to import from a folder of several, such as `emnist-letters`.

    Returns:
        `train` and, if there is one, `test`: images uint8[N,H,W,1], labels int64[N] or None.

    Raises:
        UsageError: there are no train images, or a file is damaged.
    """
    if source.is_file():
        return {"train": Split(_read_images(source))}
    if not source.is_dir():
        raise UsageError(f"{source} does not exist; pass a folder of IDX files, or one IDX file")
    files = _find_files(source, prefix)
    images = {split: _read_images(path) for split, path in files["images"].items()}
    labels = {split: _read_labels(path) for split, path in files["labels"].items()}
    if not {"train", *labels} <= images.keys():
        missing = " or ".join(sorted({"train", *labels} - images.keys()))
        raise UsageError(f"{source} has no {missing} images, such as train-images-idx3-ubyte")
    return {name: Split(images[name], labels.get(name)) for name in _SPLITS if name in images}


def _find_files(folder: Path, prefix: str | None) -> dict[str, dict[str, Path]]:
    """The files of one data set by `images` or `labels`, and by `train` or `test`."""
    data_sets: dict[str, dict[str, dict[str, Path]]] = {}
    for path in sorted(folder.iterdir()):
        if (match := _NAME.fullmatch(path.name.lower())) and path.is_file():
            data_set = data_sets.setdefault(match["prefix"], {"images": {}, "labels": {}})
            split = "train" if match["split"] == "train" else "test"
            data_set[match["kind"]][split] = path
    if prefix is None and len(data_sets) < 2:
        return next(iter(data_sets.values()), {"images": {}, "labels": {}})
    wanted = (prefix or "").lower().rstrip("-_.")
    if prefix is None or wanted not in data_sets:
        known = ", ".join(name or "files without a prefix" for name in data_sets) or "no IDX files"
        raise UsageError(f"{folder} has {known}; pass one data set of several with --prefix")
    return data_sets[wanted]


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file of uint8 or int32 entries.

    The content, not the file name, decides whether the file is gzipped.

    Returns:
        An array of the file's own shape, in native byte order; read-only if it is uint8.

    Raises:
        UsageError: the file is missing, broken, or not an IDX file.
    """
    try:
        with Path(path).open("rb") as file:
            reader = gzip.GzipFile(fileobj=file) if file.peek(2).startswith(_GZIP) else file
            zeros, code, dimensions = struct.unpack(">HBB", reader.read(4))
            shape = struct.unpack(f">{dimensions}I", reader.read(4 * dimensions))
            dtype = _DTYPES[code]
            size = math.prod(shape) * dtype.itemsize
            check_unpacked(size, Path(path).stat().st_size)
            content = reader.read(size + 1)  # to the end, where gzip checks its sum
        if zeros or len(content) != size:
            raise ValueError(f"it does not hold {size_text(shape)} entries")
    except (OSError, EOFError, zlib.error, struct.error, KeyError, ValueError) as error:
        text = f"{path} is missing, broken, or no IDX file ({error}); fetch it again"
        raise UsageError(text) from None
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_images(path: Path) -> np.ndarray:
    """The images of an IDX file: uint8[N,H,W,1]."""
    array = read_idx(path)
    if array.ndim != 3 or array.dtype != np.uint8:
        text = f"{array.dtype} of shape {size_text(array.shape)}"
        raise UsageError(f"{path} holds {text}; images are uint8: number × height × width")
    return array[..., np.newaxis]


def _read_labels(path: Path) -> np.ndarray:
    """The labels of an IDX file: int64[N].

    Of two-dimensional labels, as QMNIST has them, the first column is the class.
    """
    array = read_idx(path)
    if array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise UsageError(f"{path} holds {size_text(array.shape)} entries; labels are expected")
    return (array if array.ndim == 1 else array[:, 0]).astype(np.int64)
