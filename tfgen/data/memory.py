"""Checks whether the pixels of a data set fit into memory."""

import math
import os
from collections.abc import Sequence

from tfgen.errors import UsageError

GIGABYTE = 10**9


def machine_memory() -> int:
    """Bytes of physical memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(name: str, shape: Sequence[int], count: int, memory: int | None = None) -> None:
    """Refuses images that would not fit into memory, before the first one is decoded.

    Args:
        name: the data set or its folder, for the error message.
        shape: height, width, channels of one uint8 image.
        count: number of images.
        memory: available bytes; None uses the physical memory of this machine.

    Raises:
        UsageError: the pixels need more bytes than are available.
    """
    needed = math.prod(shape) * count
    limit = machine_memory() if memory is None else memory
    if needed > limit:
        raise UsageError(
            f"{name} does not fit into memory: its {count} images need {needed / GIGABYTE:.3g} GB, "
            f"this machine has {limit / GIGABYTE:.3g} GB; use a smaller data set or smaller images"
        )
