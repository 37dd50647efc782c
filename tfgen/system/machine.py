"""The machine's processor, memory, disks and packages, and the memory of this process."""

import contextlib
import importlib.metadata
import os
import platform
import resource
import shutil
import sys
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Processor and number of cores; times compare only where both are the same."""
    return {"processor": _processor(), "cores": os.cpu_count()}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run's numbers depend on."""
    packages = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy")
    installed = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **installed}


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def memory_bytes() -> int:
    """Memory that this process may use: that of the machine, or less in a container [bytes]."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # control groups, version 2 and 1
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            limits.append(int((Path("/sys/fs/cgroup") / name).read_text()))
    return min(limits)


def free_disk_bytes(path: Path) -> int:
    """Free bytes of the disk that holds a folder, or will hold it."""
    path = path.absolute()
    return shutil.disk_usage(next(p for p in (path, *path.parents) if p.is_dir())).free


def peak_mib() -> int:
    """Peak memory of this process so far [MiB]."""
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
