"""Callbacks of a run: checkpoints, the log of metrics, figures, TensorBoard, the progress bar."""

import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import TaskID

from tfgen import figures
from tfgen.data import Split
from tfgen.errors import InterruptedRunError, WorkError
from tfgen.settings.model import images_at_once
from tfgen.system import machine
from tfgen.system.terminal import count_noun, format_value, make_bar
from tfgen.training import checkpoint
from tfgen.training.folder import RunFolder
from tfgen.training.interrupt import InterruptRequest

# The panel of the curves of what a comparison of samples with validation images has logged.
_SAMPLES_PANEL = ("samples relative to validation images", ("distance", "diversity"))
# Validation images that the pictures at the end of a run are drawn from, for images like MNIST's.
PICTURE_IMAGES = 1000
# Grids of samples that a run writes for TensorBoard, at most. A small data set has thousands of
# short epochs; a grid of each would take time and disk space.
MAX_GRIDS = 400
# What a checkpoint at the end of an epoch holds.
_LASTING = ("weights", "optimizers")


@dataclasses.dataclass
class Position:
    """How far a run has come.

    Attributes:
        epoch: completed epochs.
        batch: completed steps of the epoch after them.
        steps_per_epoch: steps of a whole epoch.
        seconds: training time of the incomplete epoch so far.
    """

    epoch: int
    batch: int
    steps_per_epoch: int
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """Completed steps in total."""
        return self.epoch * self.steps_per_epoch + self.batch

    @property
    def place(self) -> str:
        """The position as messages have it; the epochs count from 1."""
        if self.batch == 0:
            return f"after epoch {self.epoch}"
        return f"at epoch {self.epoch + 1}, step {self.batch} of {self.steps_per_epoch}"


class Tracking(keras.callbacks.Callback):
    """Updates the position, times the training part of an epoch, and stops at non-finite values.

    Args:
        position: the run's position, updated in place.
        checkpoints: folder of the checkpoints, for the error message.
    """

    def __init__(self, position: Position, checkpoints: Path):
        super().__init__()
        self.position, self.checkpoints = position, checkpoints
        self._started_at = 0.0
        self._first_batch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock, which continues from the time of an interrupted epoch."""
        self._started_at = time.perf_counter() - self.position.seconds
        self._first_batch = self.position.batch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the steps.

        Raises:
            WorkError: a logged value is not finite.
        """
        self.position.batch = min(self._first_batch + batch + 1, self.position.steps_per_epoch)
        self.position.seconds = time.perf_counter() - self._started_at
        self._check_finite(logs or {})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the epoch.

        Raises:
            WorkError: a logged value is not finite.
        """
        self._check_finite(logs or {})
        self.position.epoch, self.position.batch = epoch + 1, 0

    def _check_finite(self, logs: Mapping[str, Any]) -> None:
        for name, value in logs.items():
            if not np.all(np.isfinite(value)):
                raise WorkError(
                    f"{name} became {_scalar(value)} in epoch {self.position.epoch + 1}; training "
                    f"stopped, and the checkpoints before it are in {self.checkpoints}; "
                    "try a new run with a smaller --learning-rate"
                )


class MetricsLog(keras.callbacks.Callback):
    """Writes one line per epoch to metrics.jsonl and to the terminal."""

    def __init__(self, folder: RunFolder, position: Position, epochs: int, console: Console):
        super().__init__()
        self.folder, self.position, self.epochs, self.console = folder, position, epochs, console

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes the epoch's line."""
        # Keras sorts by name. Here training comes before validation, and the loss comes first.
        names = sorted(
            logs or {}, key=lambda name: (name.startswith("val_"), not name.endswith("loss"), name)
        )
        values = {name: _scalar((logs or {})[name]) for name in names}
        seconds = round(self.position.seconds, 3)
        self.position.seconds = 0.0
        self.folder.append_metrics(
            {"epoch": epoch + 1, "seconds": seconds, "peak_mib": machine.peak_mib(), **values}
        )
        words = [f"{name} {format_value(value)}" for name, value in values.items()]
        start = f"epoch {epoch + 1:{len(str(self.epochs))}}/{self.epochs}"
        # A terminal wraps the line between words; a log has it whole.
        self.console.print(
            "  ".join([start, f"{seconds:.1f} s", *words]),
            markup=False,
            highlight=False,
            soft_wrap=not self.console.is_terminal,
        )


class Checkpointing(keras.callbacks.Callback):
    """Saves at the end of an epoch, at intervals within it, on a signal, and weights to keep.

    These are the best ones, and those of every n-th epoch.

    Args:
        folder: the run directory.
        position: the run's position.
        minutes: time between two checkpoints within an epoch.
        keep_every: number of epochs from one that is kept to the next; 0 keeps none.
        interrupt: records the signal that asks the run to end.
        restored: the checkpoint that the run resumes from, or None. It is kept until there are two
            newer ones, and its metrics are restored if it was saved within an epoch.
        advice: how to continue, for the message of an interrupted run.
        keeps_best: whether the best weights are kept; false without images to validate by.
    """

    def __init__(
        self,
        folder: RunFolder,
        position: Position,
        minutes: float,
        keep_every: int,
        interrupt: InterruptRequest,
        restored: checkpoint.Checkpoint | None,
        advice: str,
        keeps_best: bool = True,
    ):
        super().__init__()
        self._keeps_best = keeps_best
        self.folder, self.position = folder, position
        self.interrupt, self.advice = interrupt, advice
        self.period, self.keep_every = 60 * minutes, keep_every
        self._restored = restored
        self._previous = None if restored is None else restored.path
        self._saved_at = time.monotonic()
        best = checkpoint.read_best(folder.checkpoints)
        self._best = math.inf if best is None else float(best.state["value"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Restores the metrics of an epoch that was interrupted."""
        if self._restored is not None and self.position.batch:
            self._restored.restore_metrics(self.model)
        self._restored = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Saves when it is time to, or when a signal asks the run to end.

        Raises:
            InterruptedRunError: a signal was recorded; the state is saved.
        """
        if self.position.batch == self.position.steps_per_epoch:
            return  # `on_epoch_end` saves, after the validation
        signum = self.interrupt.signum
        is_due = signum is not None or time.monotonic() - self._saved_at > self.period
        if is_due:
            self._save()
        self._stop(signum)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Saves the weights, if they are to be kept, and then the epoch.

        In this order a kill between the two loses neither.

        Raises:
            InterruptedRunError: a signal was recorded; the state is saved.
        """
        monitor = self.model.monitor if self._keeps_best else None
        value = float((logs or {}).get(monitor, math.inf)) if monitor else math.inf
        if value < self._best:
            self._best = value
            weights = checkpoint.read_arrays(self.model, ("weights",))
            state = {"epoch": epoch + 1, "monitor": monitor, "value": value}
            checkpoint.save_best(self.folder.checkpoints, epoch + 1, weights, state)
        if self.keep_every and (epoch + 1) % self.keep_every == 0:
            weights = checkpoint.read_arrays(self.model, ("weights",))
            checkpoint.save_epoch(self.folder.checkpoints, epoch + 1, weights)
        self._save()
        self._stop(self.interrupt.signum)

    def _save(self) -> None:
        # A new epoch resets the metrics; several workers could only read them together.
        groups = ("weights", "metrics", "optimizers") if self.position.batch else _LASTING
        self._previous = checkpoint.save_step(
            self.folder.checkpoints,
            self.position.step,
            checkpoint.read_arrays(self.model, groups),
            dataclasses.asdict(self.position),
            self._previous,
        )
        self._saved_at = time.monotonic()

    def _stop(self, signum: int | None) -> None:
        if signum is None:
            return
        raise InterruptedRunError(
            f"interrupted {self.position.place}; the state is saved. {self.advice}", signum
        )


def write_samples(model: Any, path: Path, epoch: int, title: str = "samples") -> None:
    """Writes the model's preview, if it has one, as a PNG whose title says the epoch.

    Args:
        model: an `ImageModel`.
        path: file to write.
        epoch: epochs that the model was trained for.
        title: start of the title.
    """
    if (preview := model.preview()) is not None:
        images, columns = preview
        rows = figures.class_axis(len(images) // columns) if columns and model.num_classes else None
        title = f"{title} after {count_noun(epoch, 'epoch')}"
        figures.save_figure(figures.picture(images, title, columns, rows), path)


class Figures(keras.callbacks.Callback):
    """Writes samples before, halfway through and after training, curves, and the final pictures.

    Args:
        folder: the run directory.
        epochs: epochs of the whole run.
        title: start of every title.
        family: the family's name, which decides the colours.
        held_out: images that were not trained on, for the final pictures; with labels for a
            conditional model.
    """

    def __init__(self, folder: RunFolder, epochs: int, title: str, family: str, held_out: Split):
        super().__init__()
        self.folder, self.epochs, self.title, self.family = folder, epochs, title, family
        self.held_out = held_out.take(0, images_at_once(PICTURE_IMAGES, held_out.images.shape[1:]))
        self.folder.figures.mkdir(exist_ok=True)

    def write_samples(self, epoch: int) -> None:
        """Writes samples-<epoch>.png, from the same seeds each time, if the model has samples."""
        path = self.folder.figures / f"samples-{epoch}.png"
        write_samples(self.model, path, epoch, f"{self.title}: samples")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the figures that are due after this epoch."""
        if epoch + 1 in (self.epochs // 2, self.epochs):
            self.write_samples(epoch + 1)
            self.write_curves()
        if epoch + 1 == self.epochs:
            labels = self.held_out.labels
            pictures = self.model.pictures(
                tf.constant(self.held_out.images), None if labels is None else tf.constant(labels)
            )
            for name, figure in pictures.items():
                self._save(figure, name)

    def write_curves(self) -> None:
        """Writes curves.png from the log of metrics."""
        panels = [(curve.title, curve.names) for curve in self.model.curves]
        rows = self.folder.read_metrics()
        if any(_SAMPLES_PANEL[1][1] in row for row in rows):
            panels.append(_SAMPLES_PANEL)
        self._save(figures.curves(rows, panels, self.title, self.family), "curves")

    def _save(self, figure: Any, name: str) -> None:
        figures.save_figure(figure, self.folder.figures / f"{name}.png")


class TensorBoard(keras.callbacks.Callback):
    """Writes scalars of training and validation and grids of samples; one step per epoch.

    Keras's own callback starts again with each call of `fit`, and a run calls it once per epoch.

    Args:
        folder: the run directory.
        epochs: epochs of the whole run; at most 400 of them have a grid of samples.
    """

    def __init__(self, folder: RunFolder, epochs: int):
        super().__init__()
        self._every = -(-epochs // MAX_GRIDS)
        self._writers = {
            split: tf.summary.create_file_writer(str(folder.tensorboard / split))
            for split in ("train", "validation")
        }

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes the epoch's values and, if they are due, samples."""
        for name, value in (logs or {}).items():
            split = "validation" if name.startswith("val_") else "train"
            with self._writers[split].as_default():
                tf.summary.scalar(name.removeprefix("val_"), np.ravel(value)[0], step=epoch + 1)
        is_due = (epoch + 1) % self._every == 0
        if is_due and (preview := self.model.preview()) is not None:
            with self._writers["train"].as_default():
                tf.summary.image("samples", figures.image_grid(*preview)[None], step=epoch + 1)
        for writer in self._writers.values():
            writer.flush()


class ProgressBar(keras.callbacks.Callback):
    """A bar over all epochs with the remaining time; nothing without a terminal.

    Attributes:
        bar: the bar, a context in which it is on the terminal.
    """

    def __init__(self, position: Position, epochs: int, console: Console):
        super().__init__()
        self.position, self.total = position, epochs * position.steps_per_epoch
        self.bar = make_bar(console)
        self._task: TaskID = self.bar.add_task(
            f"epoch {position.epoch + 1}  compiling", total=self.total, completed=position.step
        )

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Moves the bar."""
        if not self.bar.disable:
            text = f"epoch {self.position.epoch + 1}"
            # Keras sorts the logs by name; the family logs its main value first.
            name = self.model.logged[0]
            if logs and name in logs:
                text += f"  {name} {format_value(_scalar(logs[name]))}"
            self.bar.update(self._task, completed=self.position.step, description=text)


def _scalar(value: Any) -> float:
    """A logged value as a number; over several workers it is an array of equal values."""
    return float(np.ravel(value)[0])
