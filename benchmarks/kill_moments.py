"""The moments at which `kill_workers.py` kills a process of a training, recognized from outside.

The files of the run and the temporary folders say what the processes do.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from memory import DATASET
from worker_processes import free_ports

from tfgen.training.folder import RunFolder

EPOCHS = 2
# Small models of each family.
MODELS = {
    "vae": "--preset mlp --latent-dim 2 --hidden 16",
    "gan": "--preset mlp --latent-dim 2 --generator-hidden 16 --discriminator-hidden 16",
    "flow": "--preset mlp --couplings 2 --hidden 16",
    "classifier": "--preset conv --channels 4 --units 8",
}


class View(NamedTuple):
    """What the files say of a training.

    Attributes:
        has_run: whether there is a run directory.
        step: steps of the newest checkpoint.
        rows: epochs in the log of metrics.
        is_writing: whether a checkpoint is being written.
        is_publishing: whether a version is being written.
    """

    has_run: bool
    step: int
    rows: int
    is_writing: bool
    is_publishing: bool


class Training:
    """A run of one family in two processes.

    Args:
        family: the family.
        folder: the disks of the two processes are its subfolders.
        data: the prepared data set.
        number: number of the run; another one is killed at other steps.
        steps: steps of an epoch.
    """

    def __init__(self, family: str, folder: Path, data: Path, number: int, steps: int):
        self.family, self.folder, self.number, self.steps = family, folder, number, steps
        self.run = RunFolder(folder / "disk0" / "run")
        self.saved_models = folder / "disk0" / "saved_models"
        self._data = data
        self._old: set[Path] = set()

    def command(self, flags: str) -> list[str]:
        """The command that starts the run, or resumes it if there is one."""
        words = ["-m", "tfgen.cli.train", self.family, "--run-dir", "run", *flags.split()]
        if self.run.config.exists():
            return [*words, "--resume"]
        words += [*MODELS[self.family].split(), "--strategy", "multiworker"]
        words += ["--batch-size", "8", "--epochs", str(EPOCHS), "--name", self.family]
        return [*words, "--dataset", DATASET, "--data-dir", str(self._data)]

    def prepare(self) -> list[int]:
        """Forgets what killed processes have left; returns the ports of the next ones."""
        self._old = set(self._temporary())
        return free_ports(2)

    def look(self) -> View:
        """What the files say at this moment."""
        folders = [path.parent for path in self._temporary() if path not in self._old]
        return View(
            self.run.path.exists(),
            self.newest_step(),
            len(self.run.read_metrics()),
            self.run.checkpoints in folders,
            self.saved_models / self.family in folders,
        )

    def newest_step(self) -> int:
        """The step of the newest checkpoint."""
        names = [name for name in entries(self.run.checkpoints) if name.startswith("step-")]
        return max((int(name.removeprefix("step-")) for name in names), default=0)

    def _temporary(self) -> Iterator[Path]:
        for folder in (self.run.checkpoints, self.saved_models / self.family):
            names = entries(folder)
            yield from (folder / name for name in names if name.startswith(".writing-"))


def entries(folder: Path) -> list[str]:
    """The names in a folder, which may appear and vanish at any time."""
    with contextlib.suppress(FileNotFoundError):
        return [path.name for path in folder.iterdir()]
    return []


# --- moments ----------------------------------------------------------------------------


class Moment(NamedTuple):
    """When a process is killed.

    Attributes:
        name: what the table calls it.
        holds: whether it is that moment.
        settle: how long it must hold already [s], from the number of the run.
    """

    name: str
    holds: Callable[[Training, View], bool]
    settle: Callable[[int], float] = lambda number: 0.0


def _start(training: Training, view: View) -> bool:
    return not view.has_run


def _train(training: Training, view: View) -> bool:
    batch = view.step % training.steps
    first = 3 + 4 * (training.number % 4)
    return first <= batch < training.steps - 1 and not view.is_writing


def _write(training: Training, view: View) -> bool:
    return view.is_writing and view.step >= 20 + 4 * (training.number % 4)


def _end_epoch(training: Training, view: View) -> bool:
    epoch, batch = divmod(view.step, training.steps)
    if training.number // 2 % 2:  # the epoch is logged, but not saved
        return view.rows > epoch
    return batch == training.steps - 1 and view.rows == epoch and not view.is_writing


def _publish(training: Training, view: View) -> bool:
    return view.step == EPOCHS * training.steps and view.is_publishing


MOMENTS = (
    Moment("they start", _start, lambda n: 2.0 + 0.8 * n),
    Moment("in the middle of an epoch", _train),
    Moment("the chief writes a checkpoint", _write),
    # Longer than the last step, which follows the last checkpoint of an epoch.
    Moment("validation and end of an epoch", _end_epoch, lambda n: 0.0 if n // 2 % 2 else 0.1),
    Moment("the chief publishes", _publish),
)
