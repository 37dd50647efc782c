"""Decoded pixels on the disk, for data sets that are too large for memory.

A data set has one folder in the cache: the arrays `images.npy` and `labels.npy` of train,
validation and test, one after the other, and `cache.json`, which says what they were decoded from.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from tfgen.data.dataset import fingerprint
from tfgen.data.reading import Prepared
from tfgen.errors import WorkError
from tfgen.system.atomic import fresh_folder, move_into_place, read_json, write_json
from tfgen.system.status import status
from tfgen.system.terminal import format_bytes

# A data set with more bytes of pixels is read from the cache.
MAX_IN_MEMORY = 10**9
# Environment variable with the folder of the cache.
VARIABLE = "TFGEN_CACHE"
# Version of the files in the cache.
_FORMAT = 2
_IMAGES, _LABELS, _INFORMATION = "images.npy", "labels.npy", "cache.json"


def cache_root() -> Path:
    """The folder of the cache: `$TFGEN_CACHE`, `$XDG_CACHE_HOME/tfgen` or `~/.cache/tfgen`."""
    default = f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/tfgen"
    return Path(os.environ.get(VARIABLE) or default).expanduser()


def read_cached(prepared: Prepared) -> tuple[np.ndarray, np.ndarray, str]:
    """The images, mapped from the cache, the labels, and the fingerprint of a data set.

    It is decoded if it is not there yet, or has changed. Several processes may ask for a data set
    at once: one decodes it, the others wait.

    Raises:
        UsageError: the records of the data set are damaged.
        WorkError: the disk is full.
        OSError: the cache cannot be written.
    """
    place, root = prepared.folder.resolve(), cache_root()
    files = [(path.name, path.stat()) for path in sorted(place.iterdir())]
    states = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in files]
    source = {"format": _FORMAT, "folder": str(place), "files": states}
    key = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
    target = root / f"{prepared.name}-{prepared.version}-{key}"
    root.mkdir(parents=True, exist_ok=True)
    with (root / f".{target.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError, ValueError, EOFError):  # it is not there, or damaged
            return _read(target, prepared, source)
        shutil.rmtree(target, ignore_errors=True)  # who still reads it is not disturbed
        for unfinished in root.glob(f".{target.name}-*"):  # of killed processes
            shutil.rmtree(unfinished, ignore_errors=True)
        with status(f"decoding {prepared.name}, once, into {root}"):
            _decode_into(target, prepared, source)
        return _read(target, prepared, source)


def _read(target: Path, prepared: Prepared, source: object) -> tuple[np.ndarray, np.ndarray, str]:
    information = read_json(target / _INFORMATION)
    images, labels = np.load(target / _IMAGES, mmap_mode="r"), np.load(target / _LABELS)
    with status(f"checking the decoded images of {prepared.name}"):
        digest = fingerprint(prepared.divide(images, labels)[1:])
    if information != {"source": source, "fingerprint": digest}:
        raise ValueError("it was decoded from other records, or its bytes have changed")
    return images, labels, digest


def _decode_into(target: Path, prepared: Prepared, source: object) -> None:
    """Decodes a data set into its folder of the cache, which appears complete or not at all."""
    root, count = target.parent, sum(prepared.counts.values())
    free = shutil.disk_usage(root).free
    if free < prepared.nbytes:
        need = f"the decoded images of {prepared.name} need {format_bytes(prepared.nbytes)}"
        text = f"{need}, but {root} has {format_bytes(free)}"
        raise WorkError(f"{text}; free some space, or set {VARIABLE} to another folder")
    with fresh_folder(root, target.name) as folder:
        labels = []
        with (folder / _IMAGES).open("wb") as file:
            shape = (count, *prepared.image_shape)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for images, some in prepared.batches():
                file.write(np.ascontiguousarray(images).data)
                labels.append(some)
        np.save(folder / _LABELS, np.concatenate(labels))
        images = np.load(folder / _IMAGES, mmap_mode="r")
        splits = prepared.divide(images, np.load(folder / _LABELS))[1:]
        information = {"source": source, "fingerprint": fingerprint(splits)}
        write_json(folder / _INFORMATION, information)
        move_into_place(folder, target)
