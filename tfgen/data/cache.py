"""Decoded pixels on the disk, for data sets that are too large for memory.

A data set has one folder in the cache: for each stored split an array `<split>-images.npy`, and
`<split>-labels.npy` if it has labels, and `cache.json`. The folder's name ends in a hash of what
the data set was decoded from, so that a changed data set is decoded again.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from tfgen.data.dataset import Split
from tfgen.data.reading import Prepared
from tfgen.errors import UsageError, WorkError
from tfgen.system.atomic import fresh_folder, publish
from tfgen.system.status import status

GIGABYTE = 10**9
# A data set with more bytes of pixels is read from the cache.
MAX_IN_MEMORY = GIGABYTE
# Environment variable with the folder of the cache.
VARIABLE = "TFGEN_CACHE"
# Version of the files in the cache.
_FORMAT = 1
_INFORMATION = "cache.json"
_LABEL_BYTES = 8

Splits = Mapping[str, Split]
Advance = Callable[[int], None]


def cache_root() -> Path:
    """The folder of the cache: `$TFGEN_CACHE`, `$XDG_CACHE_HOME/tfgen` or `~/.cache/tfgen`."""
    if folder := os.environ.get(VARIABLE):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tfgen"


def cache_path(prepared: Prepared) -> Path:
    """The folder that holds the decoded data set, or will hold it.

    Raises:
        UsageError: a file of the prepared data set is missing.
    """
    names = [prepared.folder / name for name in ("features.json", "dataset_info.json")]
    try:
        files = sorted(
            (p.name, *_state(p)) for p in itertools.chain(names, *prepared.files.values())
        )
    except OSError as error:
        raise UsageError(f"{error.filename} is missing; prepare the data set again") from None
    source = json.dumps([_FORMAT, prepared.name, prepared.version, files])
    key = hashlib.sha256(source.encode()).hexdigest()[:16]
    return cache_root() / f"{prepared.name}-{prepared.version}-{key}"


def disk_bytes(prepared: Prepared) -> int:
    """Bytes that the data set needs in the cache."""
    has_labels = prepared.num_classes is not None
    return prepared.nbytes + has_labels * _LABEL_BYTES * sum(prepared.counts.values())


def cached_splits(
    prepared: Prepared, fingerprint: Callable[[Splits, Advance], str]
) -> tuple[dict[str, Split], str]:
    """The splits of a data set mapped from the cache, where it is decoded if it is not there yet.

    Several processes may ask for a data set at once: one decodes it, the others wait.

    Args:
        prepared: the data set.
        fingerprint: computes the fingerprint of the splits; calls its second argument with the
            number of images since the last call.

    Returns:
        The splits, with read-only images, and the fingerprint.

    Raises:
        UsageError: the records of the data set are damaged.
        WorkError: the cache cannot be written, or the disk is full.
    """
    target = cache_path(prepared)
    try:
        if (cached := _read(target, prepared)) is None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(target.with_name(f".{prepared.name}-{prepared.version}.lock")):
                # Another process may have decoded it in the meantime.
                if _read(target, prepared) is None:
                    _remove_remains(target, prepared)
                    _decode_into(target, prepared, fingerprint)
            cached = _read(target, prepared)
    except OSError as error:
        raise _not_written(prepared, target.parent, error.strerror or str(error)) from error
    if cached is None:
        raise WorkError(f"{target} was changed while it was read; start again")
    return cached


def _decode_into(
    target: Path, prepared: Prepared, fingerprint: Callable[[Splits, Advance], str]
) -> None:
    """Decodes a data set into its folder of the cache, which appears complete or not at all."""
    root, count = target.parent, sum(prepared.counts.values())
    with fresh_folder(root, target.name) as folder:
        free = shutil.disk_usage(root).free
        if free < disk_bytes(prepared):
            raise _not_written(prepared, root, f"{free / GIGABYTE:.3g} GB are free")
        with _progress(f"decoding {prepared.name}, once, into {root}", count) as advance:
            for split in prepared.counts:
                _write_split(folder, split, prepared, advance)
        splits = _map_splits(folder, prepared)
        with _progress(f"computing the fingerprint of {prepared.name}", count) as advance:
            digest = fingerprint(splits, advance)
        files = {path.name: _state(path) for path in sorted(folder.iterdir())}
        source = str(prepared.folder.resolve())
        information = {"source": source, "fingerprint": digest, "files": files}
        text = json.dumps(information, indent=2) + "\n"
        (folder / _INFORMATION).write_text(text, encoding="utf-8")
        publish(folder, target)


def _write_split(folder: Path, split: str, prepared: Prepared, advance: Advance) -> None:
    """Writes the images and labels of a split."""
    shape = (prepared.counts[split], *prepared.image_shape)
    labels = []
    with _path(folder, split, "images").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for images, part_labels in prepared.batches(split):
            file.write(np.ascontiguousarray(images).data)
            if part_labels is not None:
                labels.append(part_labels)
            advance(len(images))
    checked = prepared.check_labels(split, np.concatenate(labels) if labels else None)
    if checked is not None:
        np.save(_path(folder, split, "labels"), checked)


def _read(folder: Path, prepared: Prepared) -> tuple[dict[str, Split], str] | None:
    """The splits and the fingerprint in a folder of the cache; None if it is not as written."""
    try:
        information = json.loads((folder / _INFORMATION).read_text(encoding="utf-8"))
        files = {name: tuple(state) for name, state in information["files"].items()}
        images = {_path(folder, split, "images").name for split in prepared.counts}
        is_whole = images <= files.keys()
        if not is_whole or any(_state(folder / name) != state for name, state in files.items()):
            return None
        return _map_splits(folder, prepared), str(information["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _map_splits(folder: Path, prepared: Prepared) -> dict[str, Split]:
    """The splits mapped from their files.

    Raises:
        ValueError: an array is not of the data set's shape.
    """
    splits = {}
    for split, count in prepared.counts.items():
        images = np.load(_path(folder, split, "images"), mmap_mode="r")
        if images.shape != (count, *prepared.image_shape) or images.dtype != np.uint8:
            raise ValueError(f"{split} images are {images.dtype}{list(images.shape)}")
        path = _path(folder, split, "labels")
        splits[split] = Split(images, np.load(path) if path.exists() else None)
    return splits


def _path(folder: Path, split: str, kind: str) -> Path:
    return folder / f"{split}-{kind}.npy"


def _state(path: Path) -> tuple[int, int]:
    """Size of a file in bytes, and when it was last changed, in nanoseconds."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _not_written(prepared: Prepared, root: Path, reason: str) -> WorkError:
    return WorkError(
        f"cannot write the decoded images of {prepared.name} to {root}: {reason}, "
        f"{disk_bytes(prepared) / GIGABYTE:.3g} GB are needed; free some space, or set "
        f"{VARIABLE} to a folder with more of it"
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A context in which no other process decodes the same data set."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with status("waiting for another process, which decodes this data set"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_remains(target: Path, prepared: Prepared) -> None:
    """Removes a damaged folder, what killed processes left, and what was decoded before a change.

    Processes that still read an old folder are not disturbed: its files remain until they are
    closed.
    """
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    name = f"{prepared.name}-{prepared.version}-*"
    for path in target.parent.glob(f".{name}"):
        shutil.rmtree(path)
    source = str(prepared.folder.resolve())
    for path in target.parent.glob(f"{name}/{_INFORMATION}"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if json.loads(path.read_text(encoding="utf-8")).get("source") == source:
                shutil.rmtree(path.parent)


@contextlib.contextmanager
def _progress(text: str, total: int) -> Iterator[Advance]:
    """A line on the terminal with the share that is done."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if 100 * done // total > 100 * before // total:
            line.close()
            line.enter_context(status(f"{text}: {100 * done // total}%"))

    with contextlib.ExitStack() as line:
        line.enter_context(status(text))
        yield advance


def pixel_folder(images: np.ndarray) -> Path | None:
    """The folder that the images are mapped from; None if they are in memory."""
    if not isinstance(images, np.memmap) or images.filename is None:
        return None
    return Path(str(images.filename)).parent
