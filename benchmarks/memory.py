"""Compares the memory and disk space that `tfgen-train --dry-run` tells with those of a training.

Trains each preset for one epoch of a few steps on images of noise, in a process of its own, and
prints a table of the estimates, the measured peaks of resident memory, and their ratios:

    python benchmarks/memory.py
    python benchmarks/memory.py flow/mlp/28x28x1 vae/conv/128x128x3 --images 600
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

SHAPES = ("28x28x1", "32x32x3", "64x64x3")
# Dense networks of these images are too large for most machines.
LARGE = "128x128x3"
DATASET = "noise"
CLASSES = 10


class Case(NamedTuple):
    """A preset, and the images that it is trained on."""

    family: str
    preset: str
    shape: str

    def __str__(self) -> str:
        return "/".join(self)


class Result(NamedTuple):
    """Estimates and measurements of a case [MB], and the time of its training [s]."""

    memory: float
    peak: float
    disk: float
    written: float
    seconds: float


def main() -> int:
    """Runs all cases and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="FAMILY/PRESET/SHAPE", help="default: all")
    parser.add_argument("--images", type=int, default=1200, help="images of the data set")
    args = parser.parse_args()
    cases = [Case(*name.split("/")) for name in args.cases] or all_cases()
    print(f"{'':<32}{'memory [MB]':>27}   {'disk [MB]':>27}")
    heading = "".join(f"{name:>9}" for name in ("estimate", "measured", "ratio"))
    print(f"{'':<32}{heading}   {heading}{'time':>8}", flush=True)
    for case in cases:
        result = measure(case, args.images)
        memory = f"{result.memory:9.0f}{result.peak:9.0f}{result.memory / result.peak:9.2f}"
        disk = f"{result.disk:9.0f}{result.written:9.0f}{result.disk / result.written:9.2f}"
        print(f"{case!s:<32}{memory}   {disk}{result.seconds:6.0f} s", flush=True)
    return 0


def all_cases() -> list[Case]:
    """Every preset of every family with images of several sizes."""
    from tfgen import registry

    presets = [(family.name, preset) for family in registry.families() for preset in family.presets]
    cases = [Case(*preset, shape) for preset in presets for shape in SHAPES]
    large = [("vae", "conv"), ("gan", "dcgan"), ("classifier", "conv")]
    return cases + [Case(*preset, LARGE) for preset in large]


def measure(case: Case, count: int) -> Result:
    """Trains a preset for an epoch.

    Raises:
        RuntimeError: the training failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_noise(folder / "data", case.shape, count)
        flags = ["--preset", case.preset, "--dataset", DATASET, "--data-dir", str(folder / "data")]
        flags += ["--epochs", "1", "--run-dir", str(folder / "run")]
        flags += ["--saved-models", str(folder / "models")]
        table, _, _ = run_command("train", [case.family, *flags, "--dry-run"], folder)
        _, peak, seconds = run_command("train", [case.family, *flags], folder)
        written = sum(disk_bytes(folder / part) for part in ("run", "models")) / 1e6
        return Result(read_row(table, "memory"), peak, read_row(table, "disk"), written, seconds)


def write_noise(folder: Path, shape: str, count: int) -> None:
    """Writes a data set of noise, in a process that the measurements do not inherit from."""
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from tfgen.data import Split\n"
        "from tfgen.data.writing import write_prepared\n"
        f"shape = ({count}, *map(int, {shape!r}.split('x')))\n"
        "images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)\n"
        f"train = Split(images, np.arange({count}) % {CLASSES})\n"
        f"write_prepared({DATASET!r}, {{'train': train}}, Path({str(folder)!r}))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def run_command(verb: str, flags: list[str], folder: Path) -> tuple[str, float, float]:
    """What a command prints, its peak memory [MB] and its time [s].

    Args:
        verb: the command, for example `train`.
        flags: its arguments.
        folder: where the output is written on the way.

    Raises:
        RuntimeError: it failed.
    """
    start, log = time.perf_counter(), folder / "log"
    with log.open("w") as file:
        command = [sys.executable, "-m", f"tfgen.cli.{verb}", *flags]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    text = log.read_text()
    if status:
        raise RuntimeError(f"tfgen-{verb} {' '.join(flags)} failed:\n{text}")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return text, usage.ru_maxrss * unit / 1e6, time.perf_counter() - start


def read_row(table: str, name: str) -> float:
    """The number of bytes in a row of the dry run [MB]."""
    match = re.search(rf"^{name} +about ([\d.e+]+) ([MG])B", table, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"the dry run has no row {name!r}:\n{table}")
    return float(match[1]) * {"M": 1, "G": 1000}[match[2]]


def disk_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    raise SystemExit(main())
