"""What the benchmarks share: presets, times, and the machine."""

import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfgen import __version__, registry
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system import machine

# Largest share of the cores that other processes may take. The threads of eager PyTorch wait for
# each other after every operation, so they lose far more than that share.
MAX_OTHERS = 0.1


def preset_config(name: str, **options: Any) -> RunConfig:
    """The configuration that `tfgen-train` would use for `FAMILY/PRESET`, with other options."""
    family, _, preset_name = name.partition("/")
    preset = registry.family(family).preset(preset_name)
    training = {**preset.training(), "preset": preset_name, **options}
    return RunConfig(family, preset.model, TrainingOptions(**training))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def timed(function: Callable[[], Any]) -> tuple[float, Any, float]:
    """The time of a call [s], its value, and the share of the cores that other processes took."""
    before, start = _others_seconds(), time.perf_counter()
    value = function()
    seconds = time.perf_counter() - start
    return seconds, value, (_others_seconds() - before) / (seconds * (os.cpu_count() or 1))


def _others_seconds() -> float:
    """CPU time of all other processes since the machine started [s]; 0 without `/proc/stat`."""
    counters = Path("/proc/stat")
    if not counters.is_file():
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, counters.read_text().split()[1:9]
    )
    own = os.times()
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK") - own.user - own.system


def environment() -> dict[str, Any]:
    """Date, machine and versions, for `json.dump`."""
    import torch  # not needed where TensorFlow has the GPU

    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "machine": {**machine.hardware_record(), "torch_threads": torch.get_num_threads()},
        "versions": machine.package_versions() | {"torch": torch.__version__, "tfgen": __version__},
    }


def print_environment(report: dict[str, Any]) -> None:
    """Prints the machine and the versions of a report."""
    versions = ", ".join(f"{name} {report['versions'][name]}" for name in ("tensorflow", "torch"))
    print(f"\n{report['machine']['processor']}, {report['machine']['cores']} cores; {versions}")
    print(f"{report['date']}\n")


def print_void(others: float) -> None:
    """Says that the times are void if other processes took too much of the cores."""
    if others > MAX_OTHERS:
        print(f"\nvoid: other processes took up to {others:.0%} of the cores; use an idle machine")
