"""Rows of memory-mapped and of joined arrays, read without filling the memory of the process.

What is read through a mapping counts as memory of the process until the system drops it; after an
epoch that is the whole file. What is read from the file does not.
"""

import mmap
import os
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfgen.errors import WorkError

# Alignment of TensorFlow's tensors [bytes].
_ALIGNMENT = 64
# Bytes of a block, if the caller does not say how many rows it has.
_BLOCK = 2**24
# The file of each mapping, opened once: TensorFlow keeps the graphs of all epochs, and with them
# their readers. A file that is removed later can still be read.
_files: weakref.WeakKeyDictionary[mmap.mmap, int] = weakref.WeakKeyDictionary()


class RowReader:
    """Reads rows of a memory-mapped array from its file; safe to use from several threads.

    Args:
        array: any array of `np.load(…, mmap_mode="r")`, or a slice of its rows. The rows of an
            array in memory are copied.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, array: np.ndarray):
        self._array = array
        self._row_bytes = array.nbytes // max(1, len(array))
        self._start, self._file = 0, -1
        if isinstance(array, np.memmap) and (offset := _file_offset(array)) is not None:
            self._start, self._file = offset, _open(array)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The rows of those indices, `[B, …]`.

        Raises:
            WorkError: the file has become shorter.
        """
        if self._file < 0:  # it is in memory, or is read through the mapping
            return np.asarray(self._array)[rows]
        return self._read([(row, 1) for row in rows.tolist()])

    def part(self, start: int, stop: int) -> np.ndarray:
        """The rows from `start` up to `stop`, which is excluded; a part of at most 2 GB.

        Raises:
            WorkError: the file has become shorter.
        """
        stop = min(stop, len(self._array))
        if self._file < 0:  # it is in memory, or is read through the mapping
            return np.array(self._array[start:stop])
        return self._read([(start, stop - start)])

    def _read(self, runs: list[tuple[int, int]]) -> np.ndarray:
        """The rows of runs, each a first row and a number of rows."""
        size, file, offset = self._row_bytes, self._file, self._start
        count = sum(length for _, length in runs)
        # TensorFlow takes over an array that is aligned, and would copy any other one.
        space = np.empty(count * size + _ALIGNMENT, np.uint8)
        start = -space.ctypes.data % _ALIGNMENT
        rows = space[start : start + count * size]
        view, end = rows.data, 0
        for row, length in runs:
            begin, end = end, end + length * size
            place = offset + row * size
            # On some disks a read returns less than was asked for.
            while begin < end:
                got = os.preadv(file, [view[begin:end]], place)
                if not got:
                    path = getattr(self._array, "filename", "")
                    raise WorkError(f"{path} has become shorter while it was read")
                begin, place = begin + got, place + got
        return rows.view(self._array.dtype).reshape(count, *self._array.shape[1:])


class JoinedRows:
    """The rows of several arrays, one array after the other, without a copy of them.

    Safe to use from several threads. An index, a slice and `np.asarray` copy the rows.

    Args:
        parts: arrays `[N, …]` of one dtype, whose rows have one shape; in memory or memory-mapped.

    Attributes:
        parts: these arrays.
        shape: `(N, …)`, with all rows.
        dtype: of the arrays.
        nbytes: of all rows.
        is_mapped: whether rows are read from a file.
    """

    def __init__(self, *parts: np.ndarray):
        self.parts = parts
        self.shape = (sum(map(len, parts)), *parts[0].shape[1:])
        self.dtype, self.nbytes = parts[0].dtype, sum(part.nbytes for part in parts)
        self.is_mapped = any(isinstance(part, np.memmap) for part in parts)
        self._readers = [RowReader(part) for part in parts]
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.arange(len(self))[index]
        return self.take(rows.reshape(-1)).reshape(*rows.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.concatenate(self.parts).astype(dtype or self.dtype, copy=False)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The rows of those indices, `[B, …]`.

        Raises:
            WorkError: a file has become shorter.
        """
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        places = np.searchsorted(self._ends, rows, side="right")
        for index, reader in enumerate(self._readers):
            in_part = places == index
            first = self._ends[index] - len(self.parts[index])
            result[in_part] = reader.take(rows[in_part] - first)
        return result

    def part(self, start: int, stop: int) -> np.ndarray:
        """The rows from `start` up to `stop`, which is excluded.

        Raises:
            WorkError: a file has become shorter.
        """
        return self.take(np.arange(start, min(stop, len(self))))


def blocks(array: Any, rows: int | None = None) -> Iterator[np.ndarray]:
    """The rows of an array in order, in contiguous blocks.

    Args:
        array: `[N, …]`, in memory or memory-mapped, or `JoinedRows`; then no block has rows of two
            parts.
        rows: rows of a block; None: as many as have 16 MiB, at least one.
    """
    size = rows or max(1, _BLOCK * len(array) // max(1, array.nbytes))
    if isinstance(array, JoinedRows):
        for part in array.parts:
            yield from blocks(part, size)
        return
    reader = RowReader(array) if isinstance(array, np.memmap) else None
    for start in range(0, len(array), size):
        part = reader.part(start, start + size) if reader else array[start : start + size]
        yield np.ascontiguousarray(part)


def _open(array: np.memmap) -> int:
    """The descriptor of an array's file, which is closed with its mapping; −1 if it was removed."""
    mapping = _mapping(array)
    if mapping not in _files:
        try:
            _files[mapping] = os.open(str(array.filename), os.O_RDONLY)
        except FileNotFoundError:
            return -1
        weakref.finalize(mapping, os.close, _files[mapping])
    return _files[mapping]


def _mapping(array: np.memmap) -> Any:
    """The `mmap.mmap` below an array, if there is one."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base


def _file_offset(array: np.memmap) -> int | None:
    """Where the first row is in the file; None if the file does not hold the rows one by one."""
    base = _mapping(array)
    if array.filename is None or not array.flags.c_contiguous or not isinstance(base, mmap.mmap):
        return None
    if array.mode == "c":  # changes stay in memory
        return None
    # A slice keeps the offset of the whole array, so the place follows from the addresses. The
    # mapping starts at a multiple of the granularity.
    mapping_start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    mapping = np.frombuffer(base, np.uint8)
    return mapping_start + array.ctypes.data - mapping.ctypes.data
