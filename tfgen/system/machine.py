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

# Instruction sets, slowest first, and the flag of each in /proc/cpuinfo.
INSTRUCTION_SETS = {
    "AVX2": "avx2",
    "AVX-512": "avx512f",
    "AVX-512 with BF16": "avx512_bf16",
    "AMX": "amx_bf16",
}
# The values that oneDNN takes from ONEDNN_MAX_CPU_ISA, in lower case, and the fastest of
# `INSTRUCTION_SETS` that each leaves. oneDNN ignores the case, and every other value.
_ALLOWED_BY_ONEDNN = {
    "sse41": "",
    "avx": "",
    "avx2": "AVX2",
    "avx2_vnni": "AVX2",
    "avx2_vnni_2": "AVX2",
    "avx512_core": "AVX-512",
    "avx512_core_vnni": "AVX-512",
    "avx512_core_bf16": "AVX-512 with BF16",
    "avx512_core_fp16": "AVX-512 with BF16",
    "avx10_1_512": "AVX-512 with BF16",
}


def hardware_record() -> dict[str, Any]:
    """Processor, instruction set and number of cores; times compare only where all are the same."""
    processor = _read_cpuinfo("model name") or platform.machine()
    return {"processor": processor, "instruction_set": _instruction_set(), "cores": os.cpu_count()}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run's numbers depend on."""
    packages = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy")
    installed = {name: _installed_version(name) for name in packages}
    return {"python": platform.python_version(), **installed}


def _installed_version(package: str) -> str:
    """The version of a package, or of its nightly release if that is installed instead."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # A release candidate of TensorFlow installs `keras-nightly`.
        return importlib.metadata.version(f"{package}-nightly")


def _instruction_set() -> str:
    """The fastest of `INSTRUCTION_SETS` that oneDNN may use; "" if there is none."""
    slowest_first = ["", *INSTRUCTION_SETS]
    flags = _read_cpuinfo("flags").split()
    known = ["", *(name for name, flag in INSTRUCTION_SETS.items() if flag in flags)]
    variable = os.environ.get("ONEDNN_MAX_CPU_ISA", "").lower()
    allowed = _ALLOWED_BY_ONEDNN.get(variable, slowest_first[-1])
    return min(known[-1], allowed, key=slowest_first.index)


def has_avx512() -> bool:
    """Whether oneDNN may use AVX-512, without which it does not compute in 16 bits either."""
    return _instruction_set() not in ("", "AVX2")


def _read_cpuinfo(key: str) -> str:
    """The first value of a key in /proc/cpuinfo; "" if there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


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
