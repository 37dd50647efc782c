"""Rows of arrays that may be mapped from a file, read without filling the process's memory."""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

# Bytes of a block, if the caller does not say how many rows it has.
_BLOCK = 2**24


def read_rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A copy of the rows of those indices, `[B, …]`.

    Pages of a mapped file count as memory of the process until they are dropped, which is done here
    at once. They stay in the system's cache of files.
    """
    result = np.take(np.asarray(array), rows, axis=0)
    if isinstance(array, np.memmap) and array.mode == "r":
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap):
            base.madvise(mmap.MADV_DONTNEED)
    return result


def blocks(array: np.ndarray, rows: int | None = None) -> Iterator[np.ndarray]:
    """The rows of an array in order, in contiguous blocks.

    Args:
        array: `[N, …]`, in memory or memory-mapped.
        rows: rows of a block; None: as many as have 16 MiB, at least one.
    """
    size = rows or max(1, _BLOCK * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), size):
        yield read_rows(array, np.arange(start, min(start + size, len(array))))
