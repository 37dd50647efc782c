"""What a machine is and what a process took of it; no TensorFlow here."""

import contextlib
import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Processor and cores: times compare only where both are the same."""
    return {"processor": _processor(), "cores": os.cpu_count()}


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def peak_mib() -> int:
    """The most memory that this process has had so far [MiB]."""
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
