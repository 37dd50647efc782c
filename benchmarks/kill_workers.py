"""Kills one of the two processes of a training again and again, and checks the other.

A run is killed once at each of five moments and resumed in both processes after each kill. Chief
and worker are killed in turn, and each run trains the next family. At the end of a run, its weights
and logged values are compared with those of a run that nothing disturbed:

    python benchmarks/kill_workers.py
    python benchmarks/kill_workers.py 5 --families flow

A moment is recognized by the files of the run and by the ports in use. Then both processes are
stopped. If it is still that moment, one of them is killed and the other goes on; if not, both go
on, and the script waits for the next such moment. Linux only.
"""

import argparse
import itertools
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kill_moments import EPOCHS, MODELS, MOMENTS, Moment, Training, View
from memory import write_noise
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser
from worker_processes import PATIENCE, Process, finish, started

from tfgen.errors import UsageError, WorkerLostError, WorkError
from tfgen.publishing.versions import FIRST_TRAINED, version_numbers
from tfgen.training.checkpoint import read_newest
from tfgen.training.folder import RunFolder

PROG = "kill_workers"
NAMES = ("chief", "worker 1")
IMAGES = 400
# A checkpoint after every step, so that the files say which step a process is at.
EVERY_STEP = "--checkpoint-every 1e-9"
# Longest time in which the other process has to end [s].
AT_ONCE = 10.0
# Time between two looks at the files [s].
PAUSE = 3e-4


class Kill(NamedTuple):
    """A kill and what came of it.

    Attributes:
        family: the model that was trained.
        moment: when.
        place: the place of the process.
        victim: the process.
        seconds: time until the other process has ended.
        status: its exit status.
        line: its last line.
    """

    family: str
    moment: str
    place: str
    victim: str
    seconds: float
    status: int
    line: str

    @property
    def is_published(self) -> bool:
        """Whether the chief goes on by the contract, because all are trained."""
        return self.moment == MOMENTS[-1].name and self.victim != NAMES[0]

    @property
    def is_named(self) -> bool:
        """Whether the line of the other process names the process that was killed."""
        return f"{self.victim} at 127.0.0.1:" in self.line and "has ended; " in self.line

    @property
    def is_as_documented(self) -> bool:
        """Whether the other process did what docs/distributed.md says."""
        if self.is_published:
            return self.status == 0 and self.line.startswith("published ")
        lost = WorkerLostError.exit_status
        return self.status == lost and self.is_named and self.seconds < AT_ONCE


def kill(training: Training, moment: Moment, victim: int) -> Kill:
    """Starts or resumes a training and kills a process at a moment.

    Raises:
        WorkError: the training ended before there was such a moment.
    """
    command = training.command(EVERY_STEP)
    with started(command, training.folder, training.prepare()) as processes:
        view = stop_at(training, moment, processes)
        other = processes[1 - victim]
        start = time.perf_counter()
        processes[victim].send(signal.SIGKILL)
        other.send(signal.SIGCONT)
        status = other.status()
        seconds = time.perf_counter() - start
    place = f"step {view.step} of {EPOCHS * training.steps}" if view.has_run else "before the run"
    line = other.lines[-1] if other.lines else ""
    return Kill(training.family, moment.name, place, NAMES[victim], seconds, status, line)


def stop_at(training: Training, moment: Moment, processes: Sequence[Process]) -> View:
    """Stops both processes at a moment, and returns what they have come to.

    Raises:
        WorkError: a process ended before.
    """
    end, since = time.monotonic() + PATIENCE, None
    while all(process.is_alive() for process in processes) and time.monotonic() < end:
        if not moment.holds(training, training.look()):
            since = None
        elif since is None:
            since = time.monotonic()
        if since is not None and time.monotonic() - since >= moment.settle(training.number):
            for process in processes:
                process.stop()
            view = training.look()
            if moment.holds(training, view):
                return view
            for process in processes:
                process.send(signal.SIGCONT)
        time.sleep(PAUSE)
    last = " / ".join(process.lines[-1] if process.lines else "" for process in processes)
    raise WorkError(f"{training.family} was not to be killed while {moment.name}: {last}")


# --- runs -------------------------------------------------------------------------------


def is_same_end(run: RunFolder, whole: RunFolder) -> bool:
    """Whether two runs have bit-equal checkpoints at their ends, and the same logged values."""
    states = [read_newest(folder.checkpoints)[0] for folder in (run, whole)]
    first, second = ({} if state is None else state.arrays for state in states)
    logs = [
        [{**row, "seconds": 0, "peak_mib": 0} for row in folder.read_metrics()]
        for folder in (run, whole)
    ]
    return (
        bool(first)
        and first.keys() == second.keys()
        and all(np.array_equal(array, second[name]) for name, array in first.items())
        and logs[0] == logs[1]
    )


def print_run(number: int, family: str, count: int, folder: Path, data: Path) -> bool:
    """Trains a family undisturbed, and with so many kills; prints a row for each.

    Returns:
        Whether all is as docs/distributed.md says.
    """
    whole = Training(family, folder / "whole", data, number, 0)
    finish(whole.command("--no-publish"), whole.folder, len(NAMES))
    steps = whole.newest_step() // EPOCHS
    training = Training(family, folder / "killed", data, number, steps)
    kills = [
        kill(training, moment, (number + index) % len(NAMES))
        for index, moment in enumerate(MOMENTS[:count])
    ]
    finish(training.command("--checkpoint-every 10"), training.folder, len(NAMES))
    is_equal = is_same_end(training.run, whole.run)
    is_once = version_numbers(training.saved_models / family) == [FIRST_TRAINED]
    for one in kills:
        named = "it publishes" if one.is_published else "yes" if one.is_named else "NO"
        print(
            f"| {family} | {one.moment} | {one.place} | {one.victim} | {one.seconds:.2f} | "
            f"{one.status} | {named} | {'yes' if is_equal else 'NO'} | "
            f"{'yes' if one.is_as_documented and is_once else 'NO: ' + one.line} |",
            flush=True,
        )
    return is_equal and is_once and all(one.is_as_documented for one in kills)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; the exit status is 1 if a process did not do as documented."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    arguments = parse(argv)
    print(
        "| model | killed while | at | victim | other ends after [s] | its status | names victim ",
        end="",
    )
    print(
        "| resumed: bit-equal | as documented |\n|---|---|---|---|---:|---:|---|---|---|",
        flush=True,
    )
    results = []
    with tempfile.TemporaryDirectory(prefix=f"{PROG}-") as name:
        folder = Path(name)
        write_noise(folder / "data", "8x8x1", IMAGES)
        families = itertools.cycle(arguments.families)
        for number, start in enumerate(range(0, arguments.kills, len(MOMENTS))):
            count = min(len(MOMENTS), arguments.kills - start)
            place = folder / str(number)
            results.append(print_run(number, next(families), count, place, folder / "data"))
    if not all(results):
        raise WorkError("a kill had other consequences than docs/distributed.md says")


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments.

    Raises:
        UsageError: there is nothing to kill.
    """
    parser = Parser(PROG, str(__doc__))
    parser.add_argument(
        "kills", nargs="?", type=int, default=20, metavar="N", help="number of kills (default: 20)"
    )
    parser.add_argument(
        "--families",
        nargs="+",
        choices=MODELS,
        default=list(MODELS),
        metavar="MODEL",
        help=f"models to train, by turns (default: {' '.join(MODELS)})",
    )
    arguments = parser.parse(argv)
    if arguments.kills < 1:
        raise UsageError(f"{arguments.kills} kills are too few; the least is 1")
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
