"""Compares a training step of one process with that of two processes, on this machine.

Both train with tfgen-train and the same batch, of which each of the two processes gets one half.
The single process and the two take turns, so that other work on the machine slows both. Whoever
does not have its turn is stopped.

    python benchmarks/workers.py
    python benchmarks/workers.py vae/mlp flow/multiscale --turns 5

A time is that of 16 steps in a row within an epoch, since one process runs so many at once. The
table has the medians, divided by 16. The first 16 steps of each epoch are left out, since
TensorFlow compiles the step in the first ones. The losses are those that both have logged after the
same number of steps; their noise differs, so they differ a little.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser
from worker_processes import PATIENCE, Process, free_ports, started

from tfgen import registry
from tfgen.errors import UsageError, WorkError

PROG = "workers"
PRESETS = ("vae/mlp", "gan/dcgan", "flow/multiscale", "classifier/conv")
COUNTS = (1, 2)
# Steps that one process runs in one call.
SPAN = 16
# The first word of the command in a process whose steps are timed, and where it writes the times.
TIMED, TIMES = "--timed", Path("times.jsonl")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table, or trains in one of the processes; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == [TIMED]:
        return train(float(words[1]), words[2:])
    return run_command(PROG, _body, words)


def _body(argv: list[str]) -> None:
    arguments = parse(argv)
    names = [f"{count} process{'es' if count > 1 else ''}" for count in COUNTS]
    print(f"| preset | batch |{''.join(f' {name} [ms a step] |' for name in names)} ratio ", end="")
    print(f"| losses after | {' | '.join(names)} |\n|---|{'---:|' * 7}", flush=True)
    for name in arguments.presets:
        family, _, preset = name.partition("/")
        batch = registry.family(family).preset(preset).batch_size
        one, two = measure(family, preset, arguments)
        first, second = (statistics.median(row["seconds"] for row in rows) for rows in (one, two))
        losses = [{row["step"]: row["loss"] for row in rows} for rows in (one, two)]
        step = max(losses[0].keys() & losses[1].keys())
        ends = " | ".join(f"{values[step]:.4g}" for values in losses)
        print(
            f"| {family} {preset} | {batch} | {1e3 * first:.2f} | {1e3 * second:.2f} | "
            f"{second / first:.2f} | {step} steps | {ends} |",
            flush=True,
        )


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments.

    Raises:
        UsageError: a preset is unknown, or there is nothing to measure.
    """
    parser = Parser(PROG, str(__doc__))
    parser.add_argument(
        "presets",
        nargs="*",
        default=list(PRESETS),
        metavar="FAMILY/PRESET",
        help=f"what to train (default: {' '.join(PRESETS)})",
    )
    parser.add_argument(
        "--turns", type=int, default=3, metavar="N", help="turns of each (default: 3)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        metavar="X",
        help=f"least length of a turn [s]; it has at least {SPAN} steps (default: 3)",
    )
    arguments = parser.parse(argv)
    if arguments.turns < 1:
        raise UsageError(f"--turns {arguments.turns} is too small; the least is 1")
    for name in arguments.presets:
        family, _, preset = name.partition("/")
        registry.family(family).preset(preset)
    return arguments


# --- the processes ----------------------------------------------------------------------


def measure(family: str, preset: str, arguments: argparse.Namespace) -> list[list[dict[str, Any]]]:
    """What one process and two have written into `TIMES`, without the first steps.

    Raises:
        WorkError: a process ended.
    """
    command = [__file__, TIMED, str(arguments.seconds), family, "--preset", preset]
    command += ["--run-dir", "run", "--no-publish", "--strategy"]
    with tempfile.TemporaryDirectory(prefix=f"{PROG}-") as name:
        folders = [Path(name) / str(count) for count in COUNTS]
        one, two = ([*command, strategy] for strategy in ("none", "multiworker"))
        with started(one, folders[0], free_ports(1)) as alone:
            wait_until_stopped(alone)  # after the first steps
            with started(two, folders[1], free_ports(2)) as together:
                wait_until_stopped(together)
                for _ in range(arguments.turns):
                    for processes in (alone, together):
                        processes[0].send(signal.SIGCONT)
                        wait_until_stopped(processes)
        texts = [(folder / "disk0" / TIMES).read_text() for folder in folders]
    return [[json.loads(line) for line in text.splitlines()] for text in texts]


def wait_until_stopped(processes: Sequence[Process]) -> None:
    """Waits for the end of a turn.

    Raises:
        WorkError: a process ended, or the turn does not end.
    """
    end = time.monotonic() + PATIENCE
    while not processes[0].is_stopped():
        for process in processes:
            if not process.is_alive() or time.monotonic() > end:
                last = process.lines[-1:] or ["nothing"]
                raise WorkError(f"a process does not train; it printed {last[0]}")
        time.sleep(0.01)


def train(seconds: float, words: list[str]) -> int:
    """Runs tfgen-train in this process, which stops at the end of each turn.

    Args:
        seconds: least length of a turn; the first one has `SPAN` steps only.
        words: the arguments of tfgen-train.

    Returns:
        The exit status.
    """
    from tfgen.cli import train as command

    if json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0) == 0:
        time_steps(seconds)
    return command.main(words)


def time_steps(seconds: float) -> None:
    """Adds the timing to the first callback of a run."""
    import numpy as np

    from tfgen.training.callbacks import Tracking

    original, turn_end, since, epoch = Tracking.on_train_batch_end, 0.0, 0.0, -1

    def on_train_batch_end(
        self: Tracking, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        nonlocal turn_end, since, epoch
        original(self, batch, logs)
        if self.position.batch % SPAN:
            return
        now = time.perf_counter()
        if self.position.epoch == epoch and self.position.batch > SPAN:
            loss = float(np.ravel((logs or {})[self.model.logged[0]])[0])
            row = {"step": self.position.step, "seconds": (now - since) / SPAN, "loss": loss}
            with TIMES.open("a") as file:
                file.write(json.dumps(row) + "\n")
        epoch = self.position.epoch
        if now > turn_end:
            os.kill(os.getpid(), signal.SIGSTOP)
            turn_end = time.perf_counter() + seconds
        since = time.perf_counter()

    Tracking.on_train_batch_end = on_train_batch_end  # type: ignore[method-assign]


if __name__ == "__main__":
    raise SystemExit(main())
