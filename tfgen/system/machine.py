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
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_group_limits()])


def _group_limits(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> list[int]:
    """The memory limits of the control groups that this process is in [bytes]; Linux only.

    Args:
        groups: lists the groups as `<number>:<controllers>:<path>`.
        root: where the control groups are mounted.
    """
    limits = []
    lines = groups.read_text().splitlines() if groups.is_file() else []
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if controllers and "memory" not in controllers.split(","):
            continue
        # Version 2 has one hierarchy, version 1 a hierarchy for each controller.
        top, name = (
            (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        )
        # A container may see its own group as the root. A group obeys the limits of its parents.
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                limits.append(int((folder / name).read_text()))
            if folder == top:
                break
    return limits


def existing_folder(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = path.absolute()
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):  # within a folder that may not be read
            if folder.is_dir():
                return folder
    return Path(path.anchor)


def disk_of(path: Path) -> int:
    """A number of the disk that holds a folder, or will hold it."""
    return existing_folder(path).stat().st_dev


def free_disk_bytes(path: Path) -> int:
    """Free bytes of the disk that holds a folder, or will hold it."""
    return shutil.disk_usage(existing_folder(path)).free


def peak_mib() -> int:
    """Peak memory of this process so far [MiB]."""
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
