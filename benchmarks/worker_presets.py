"""Trains a few steps of every preset of every family with two workers on this machine.

    python benchmarks/worker_presets.py
    python benchmarks/worker_presets.py vae gan/dcgan

The images are noise, of the size of MNIST's. Each line has the seconds until both workers have
ended; the exit status is 1 if a worker failed.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from kill_workers import start_workers

from tfgen import registry
from tfgen.data import Split
from tfgen.data.writing import write_prepared

IMAGES, HELD_OUT = 96, 16
# Longest time of a training [s].
PATIENCE = 1800.0


def write_noise(folder: Path, channels: int) -> str:
    """Writes a data set of noise with three classes; returns its name."""
    rng, name = np.random.default_rng(0), f"noise{channels}"
    pixels = rng.integers(0, 256, (IMAGES + HELD_OUT, 28, 28, channels), np.uint8)
    images = Split(pixels, np.arange(IMAGES + HELD_OUT) % 3)
    splits = {"train": images.take(0, IMAGES), "test": images.take(IMAGES, IMAGES + HELD_OUT)}
    write_prepared(name, splits, folder)
    return name


def train(folder: Path, family: str, preset: str, dataset: str) -> str:
    """Trains in two workers; returns their exit statuses and output if one failed, else ""."""
    words = [family, "--preset", preset, "--dataset", dataset, "--data-dir", str(folder.parent)]
    words += ["--strategy", "multiworker", "--epochs", "1", "--run-dir", "run"]
    folder.mkdir()
    log = folder / "output.txt"
    with log.open("a") as output:
        workers = start_workers(folder, words, stdout=output, stderr=output)
    try:
        statuses = [worker.wait(PATIENCE) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    return f"statuses {statuses}: {log.read_text()[-1000:]}" if any(statuses) else ""


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
                error = train(folder / name.replace("/", "-"), family.name, preset, dataset)
                print(f"{name:<24}{error or f'{time.monotonic() - began:.0f} s'}", flush=True)
                failed |= bool(error)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
