"""The machine's processor and the memory of this process."""

import contextlib
import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Processor and number of cores; times compare only where both are the same."""
    return {"processor": _processor(), "cores": os.cpu_count()}


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def peak_mib() -> int:
    """Peak memory of this process so far [MiB]."""
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
