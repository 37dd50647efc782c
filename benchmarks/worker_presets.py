"""Trains a few steps of every preset of every family with two workers on this machine.

    python benchmarks/worker_presets.py
    python benchmarks/worker_presets.py vae gan/dcgan

The images are noise, of the size of MNIST's. Each line has the seconds until both workers have
ended; the exit status is 1 if a worker failed. The workers also estimate the memory of the run,
which they do for larger images or smaller machines alone: it must not disturb the others.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from kill_workers import environments, free_ports

from tfgen import registry
from tfgen.data import Split
from tfgen.data.writing import write_prepared

IMAGES, HELD_OUT = 96, 16
TRAIN = """
import sys
from tfgen.cli import train
from tfgen.training import cost
cost._CHECKED_PART = 0
sys.exit(train.main(sys.argv[1:]))
"""


def write_noise(folder: Path, channels: int) -> str:
    """Writes a data set of noise with three classes; returns its name."""
    rng, name = np.random.default_rng(0), f"noise{channels}"
    pixels = rng.integers(0, 256, (IMAGES + HELD_OUT, 28, 28, channels), np.uint8)
    images = Split(pixels, np.arange(IMAGES + HELD_OUT) % 3)
    splits = {"train": images.take(0, IMAGES), "test": images.take(IMAGES, IMAGES + HELD_OUT)}
    write_prepared(name, splits, folder)
    return name


def train(folder: Path, family: str, preset: str, dataset: str) -> list[str]:
    """Trains in two workers; returns the last line of each that failed."""
    words = [family, "--preset", preset, "--dataset", dataset, "--data-dir", str(folder.parent)]
    words += ["--strategy", "multiworker", "--epochs", "1", "--run-dir", "run"]
    folder.mkdir()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, *words],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for environment in environments(free_ports(2))
    ]
    outputs = [worker.communicate()[0] for worker in workers]
    pairs = zip(workers, outputs, strict=True)
    return [output.strip().splitlines()[-1] for worker, output in pairs if worker.returncode]


def main(names: Sequence[str]) -> int:
    """Trains the presets whose names begin with one of these, or all; returns the exit status."""
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        datasets = {channels: write_noise(folder, channels) for channels in (1, 3)}
        for family in registry.families():
            for preset in family.presets:
                name = f"{family.name}/{preset}"
                if names and not any(f"{name}/".startswith(f"{start}/") for start in names):
                    continue
                began = time.monotonic()
                dataset = datasets[3 if "stacked" in preset else 1]
                errors = train(folder / name.replace("/", "-"), family.name, preset, dataset)
                result = "; ".join(errors) or f"{time.monotonic() - began:.0f} s"
                print(f"{name:<24}{result}", flush=True)
                failed = failed or bool(errors)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
