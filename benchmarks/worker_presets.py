"""Trains a few steps of every preset of every family with two workers on this machine.

    python benchmarks/worker_presets.py
    python benchmarks/worker_presets.py vae gan/dcgan

The images are noise, of the size of MNIST's. Each line has the seconds until both workers have
ended; the exit status is 1 if a worker failed.
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


def train(folder: Path, family: str, preset: str, dataset: str) -> list[str]:
    """Trains in two workers; returns the exit status and the output of each that failed."""
    words = [family, "--preset", preset, "--dataset", dataset, "--data-dir", str(folder.parent)]
    words += ["--strategy", "multiworker", "--epochs", "1", "--run-dir", "run"]
    folder.mkdir()
    workers, logs = [], [folder / f"output{index}.txt" for index in range(2)]
    for environment, log in zip(environments(free_ports(2)), logs, strict=True):
        with log.open("w") as output:
            command = [sys.executable, "-m", "tfgen", "train", *words]
            streams = {"stdout": output, "stderr": output}
            workers.append(subprocess.Popen(command, cwd=folder, env=environment, **streams))
    try:
        statuses = [worker.wait(PATIENCE) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    pairs = zip(statuses, logs, strict=True)
    return [f"status {status}: {log.read_text()[-500:]}" for status, log in pairs if status]


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
