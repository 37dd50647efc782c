"""Kills one of two workers of a training at random, again and again, and resumes the run in both.

    python benchmarks/kill_workers.py
    python benchmarks/kill_workers.py 5 --family flow

After each kill, the other worker must end with one line and exit status 1. At the end, the weights
and the logged values must be bit-equal to those of a run that nothing disturbed. The table has the
time until the other worker has ended.
"""

import argparse
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser

from tfgen.data import Split
from tfgen.data.writing import write_prepared
from tfgen.errors import WorkError
from tfgen.training.checkpoint import read_newest
from tfgen.training.folder import RunFolder

PROG = "kill_workers"
# Small models of each family.
MODELS = {
    "vae": "--preset mlp --latent-dim 2 --hidden 16",
    "gan": "--preset mlp --latent-dim 2 --generator-hidden 16 --discriminator-hidden 16",
    "flow": "--preset mlp --couplings 2 --hidden 16",
    "flow-matching": "--preset mlp --hidden 16",
    "classifier": "--preset conv --channels 4 --units 8",
}
# So many that the training lasts longer than the kills.
EPOCHS_A_KILL = 5
# Latest time of a kill after the workers are connected [s]: while they open the run, or train.
LATEST = 20.0
# Longest time in which the other worker has to end [s].
PATIENCE = 120.0


def start_workers(folder: Path, words: Sequence[str], **streams: Any) -> list[Any]:
    """Starts `tfgen-train` in a folder in two workers, with these words and streams."""
    with socket.create_server(("", 0)) as first, socket.create_server(("", 0)) as second:
        ports = [listener.getsockname()[1] for listener in (first, second)]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": i}} for i in range(2)]
    # The level that this process has set for itself would show more than a user sees.
    own = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environments = [{**own, "TF_CONFIG": json.dumps(task)} for task in tasks]
    command = [sys.executable, "-m", "tfgen", "train", *words]
    return [subprocess.Popen(command, cwd=folder, env=env, **streams) for env in environments]


def start(folder: Path, family: str, epochs: int) -> list[subprocess.Popen[str]]:
    """Starts or resumes the run of a folder in two workers; returns once they are connected."""
    words = [family, "--run-dir", "run", "--no-publish"]
    if RunFolder(folder / "run").config.exists():
        words += ["--resume"]
    else:
        words += [*MODELS[family].split(), "--strategy", "multiworker", "--epochs", str(epochs)]
        words += ["--batch-size", "8", "--dataset", "noise", "--data-dir", str(folder.parent)]
    pipe = subprocess.PIPE
    workers = start_workers(folder, words, stdout=pipe, stderr=pipe, text=True)
    # Before its first line, a worker would wait for one that was killed.
    workers[1].stdout.readline()
    return workers


def finish(folder: Path, family: str, epochs: int) -> None:
    """Trains to the end.

    Raises:
        WorkError: a worker failed.
    """
    for worker in start(folder, family, epochs):
        _, errors = worker.communicate()
        if worker.returncode:
            raise WorkError(f"a worker ended with exit status {worker.returncode}: {errors}")


def kill(folder: Path, family: str, epochs: int, victim: int, seconds: float) -> str:
    """Kills a worker after some time; returns a row of the table.

    Raises:
        WorkError: the other worker did not end as it should.
    """
    workers = start(folder, family, epochs)
    with contextlib.suppress(subprocess.TimeoutExpired):
        workers[victim].wait(seconds)
    workers[victim].kill()
    workers[victim].communicate()
    other, begin = workers[1 - victim], time.perf_counter()
    try:
        _, errors = other.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        other.kill()
        raise WorkError(f"the other worker has not ended in {PATIENCE:g} s") from None
    if other.returncode != 1 or errors.count("\n") != 1:
        raise WorkError(f"the other worker ended with exit status {other.returncode}: {errors}")
    done = len(RunFolder(folder / "run").read_metrics())
    waited = time.perf_counter() - begin
    name = "worker 1" if victim else "chief"
    return f"| {name} | {seconds:.1f} | {done} of {epochs} | {waited:.1f} |"


def is_same_end(run: RunFolder, whole: RunFolder) -> bool:
    """Whether two runs have bit-equal checkpoints at their ends, and the same logged values."""
    (first, _), (second, _) = (read_newest(folder.checkpoints) for folder in (run, whole))
    logs = [
        [{**row, "seconds": 0, "peak_mib": 0} for row in folder.read_metrics()]
        for folder in (run, whole)
    ]
    return (
        first is not None
        and second is not None
        and all(np.array_equal(array, second.arrays[name]) for name, array in first.arrays.items())
        and logs[0] == logs[1]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; the exit status is 1 if a kill had other consequences than documented."""
    parser = Parser(PROG, str(__doc__))
    parser.add_argument("kills", nargs="?", type=int, default=20, help="number (default: 20)")
    parser.add_argument("--family", choices=MODELS, default="vae", help="model (default: vae)")
    return run_command(PROG, parser.parse, _kill_and_compare, argv)


def _kill_and_compare(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{PROG}-") as name:
        whole, part = Path(name, "whole"), Path(name, "part")
        images = np.random.default_rng(0).integers(0, 256, (400, 8, 8, 1), np.uint8)
        write_prepared("noise", {"train": Split(images, np.arange(400) % 10)}, Path(name))
        for folder in (whole, part):
            folder.mkdir()
        training = arguments.family, EPOCHS_A_KILL * arguments.kills
        finish(whole, *training)
        print("| victim | killed after [s] | epochs done | other ends after [s] |")
        print("|---|---:|---:|---:|", flush=True)
        times = random.Random(0)
        for number in range(arguments.kills):
            seconds = times.uniform(0, LATEST)
            print(kill(part, *training, number % 2, seconds), flush=True)
        finish(part, *training)
        if not is_same_end(RunFolder(part / "run"), RunFolder(whole / "run")):
            raise WorkError("the run differs from the one that nothing disturbed")
    print("weights and logged values are bit-equal to those of the undisturbed run")


if __name__ == "__main__":
    raise SystemExit(main())
