"""Callbacks of a run: checkpoints, the log of metrics, figures, TensorBoard, progress."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import TaskID

from tfgen import figures
from tfgen.data import Split
from tfgen.errors import InterruptedRunError, WorkError
from tfgen.system import machine
from tfgen.system.terminal import make_bar, on_screen
from tfgen.training import checkpoint
from tfgen.training.folder import RunFolder

# Held-out images that a family's pictures are made of.
PICTURED = 1000


@dataclasses.dataclass
class Position:
    """Where a run stands.

    Attributes:
        epoch: epochs done.
        batch: steps done in the epoch after them.
        steps_per_epoch: steps of a whole epoch.
        seconds: training time already spent in the unfinished epoch.
    """

    epoch: int
    batch: int
    steps_per_epoch: int
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """Steps done in all."""
        return self.epoch * self.steps_per_epoch + self.batch


class Tracking(keras.callbacks.Callback):
    """Moves the position along, times the training part of an epoch, and stops at what is not
    finite."""

    def __init__(self, position: Position):
        super().__init__()
        self.position = position
        self._started = 0.0
        self._offset = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock, less what an interrupted part of this epoch took."""
        self._started = time.perf_counter() - self.position.seconds
        self._offset = self.position.batch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the steps.

        Raises:
            WorkError: a logged value is not finite.
        """
        self.position.batch = min(self._offset + batch + 1, self.position.steps_per_epoch)
        self.position.seconds = time.perf_counter() - self._started
        self._check(logs or {})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """The epoch is done.

        Raises:
            WorkError: a logged value is not finite.
        """
        self._check(logs or {})
        self.position.epoch, self.position.batch = epoch + 1, 0

    def _check(self, logs: Mapping[str, Any]) -> None:
        for name, value in logs.items():
            if not np.all(np.isfinite(value)):
                raise WorkError(
                    f"{name} became {float(np.ravel(value)[0])} in epoch {self.position.epoch + 1}; "
                    "the last good checkpoint is kept; try a smaller --learning-rate"
                )


class MetricsLog(keras.callbacks.Callback):
    """One line an epoch, in metrics.jsonl and on the terminal."""

    def __init__(self, folder: RunFolder, position: Position, epochs: int, console: Console):
        super().__init__()
        self.folder, self.position, self.epochs, self.console = folder, position, epochs, console

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes the line and prints it."""
        # Keras sorts by name; what is minimised comes first here, and training before validation.
        names = sorted(
            logs or {}, key=lambda name: (name.startswith("val_"), not name.endswith("loss"), name)
        )
        values = {name: float(np.ravel((logs or {})[name])[0]) for name in names}
        seconds = round(self.position.seconds, 3)
        self.position.seconds = 0.0
        self.folder.append_metrics(
            {"epoch": epoch + 1, "seconds": seconds, "peak_mib": machine.peak_mib(), **values}
        )
        shown = "  ".join(
            f"{name} {value:.4g}" if abs(value) < 10 else f"{name} {value:.2f}"
            for name, value in values.items()
        )
        width = len(str(self.epochs))
        self.console.print(
            f"epoch {epoch + 1:{width}}/{self.epochs}  {seconds:.1f} s  {shown}",
            highlight=False,
            soft_wrap=True,
        )


class Checkpointing(keras.callbacks.Callback):
    """Saves at each epoch's end, every so many minutes within one, when interrupted, and the best.

    Args:
        folder: the run's.
        position: where the run stands.
        minutes: between checkpoints within an epoch.
        interrupt: tells the signal that asks for the end, or None.
        restored: a checkpoint of inside an epoch that is being resumed; its metrics are brought
            back.
        advice: how to go on, the end of the message when interrupted.
    """

    def __init__(
        self,
        folder: RunFolder,
        position: Position,
        minutes: float,
        interrupt: Any,
        restored: Any,
        advice: str,
    ):
        super().__init__()
        self.folder, self.position, self.interrupt, self.advice = (
            folder,
            position,
            interrupt,
            advice,
        )
        self.period = 60 * minutes
        self._restored = restored
        self._saved_at = time.monotonic()
        best = checkpoint.read_best(folder.checkpoints)
        self._best = math.inf if best is None else float(best.state["value"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Brings back the metrics of the part of the epoch that was done before."""
        if self._restored is not None:
            self._restored.restore_metrics(self.model)
            self._restored = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Saves when it is time to, or when a signal asks for the end.

        Raises:
            InterruptedRunError: the state is saved and a signal was there.
        """
        if self.position.batch == self.position.steps_per_epoch:
            return  # the epoch's end saves, validation included
        if self.interrupt.signum is not None:
            self._save()
            self._stop()
        if time.monotonic() - self._saved_at > self.period:
            self._save()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Saves the epoch, and before it, if it is that, the best: a kill between the two loses
        neither."""
        monitor = self.model.monitor
        value = float((logs or {}).get(monitor, math.inf)) if monitor else math.inf
        if value < self._best:
            self._best = value
            weights = {
                n: a
                for n, a in checkpoint.read_arrays(self.model).items()
                if n.startswith("weights/")
            }
            state = {"epoch": epoch + 1, "monitor": monitor, "value": value}
            checkpoint.save_best(self.folder.checkpoints, epoch + 1, weights, state)
        self._save()
        if self.interrupt.signum is not None:
            self._stop()

    def _save(self) -> None:
        state = dataclasses.asdict(self.position)
        checkpoint.save_step(
            self.folder.checkpoints, self.position.step, checkpoint.read_arrays(self.model), state
        )
        self._saved_at = time.monotonic()

    def _stop(self) -> None:
        done = f"epoch {self.position.epoch}, step {self.position.batch} of {self.position.steps_per_epoch}"
        raise InterruptedRunError(
            f"interrupted after {done}; the state is saved. {self.advice}", self.interrupt.signum
        )


class Figures(keras.callbacks.Callback):
    """Samples before training, half way and after; curves; at the end the family's own pictures.

    Args:
        folder: the run's.
        epochs: of the whole run.
        title: of the figures.
        held_out: images that the pictures may need, with labels for a conditional model.
    """

    def __init__(self, folder: RunFolder, epochs: int, title: str, held_out: Split):
        super().__init__()
        self.folder, self.epochs, self.title, self.held_out = folder, epochs, title, held_out
        self.folder.figures.mkdir(exist_ok=True)

    def write_samples(self, epoch: int) -> None:
        """Writes samples-<epoch>.png, from the same seeds each time; of a model that has none,
        nothing."""
        if (made := self.model.shown()) is not None:
            images, columns = made
            figure = figures.picture(images, f"{self.title}: samples after {epoch} epochs", columns)
            self._save(figure, f"samples-{epoch}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes what is due after this epoch."""
        if epoch + 1 in (self.epochs // 2, self.epochs):
            self.write_samples(epoch + 1)
            self.write_curves()
        if epoch + 1 == self.epochs:
            images, labels = self.held_out.images[:PICTURED], self.held_out.labels
            for name, figure in self.model.pictures(
                tf.constant(images), None if labels is None else tf.constant(labels[:PICTURED])
            ).items():
                self._save(figure, name)

    def write_curves(self) -> None:
        """Writes curves.png from the log of metrics."""
        panels = [(curve.title, curve.names) for curve in self.model.curves]
        self._save(figures.curves(self.folder.read_metrics(), panels, self.title), "curves")

    def _save(self, figure: Any, name: str) -> None:
        figures.save_figure(figure, self.folder.figures / f"{name}.png")


class TensorBoard(keras.callbacks.Callback):
    """Scalars of train and validation and the grid of samples, an epoch a step.

    Keras's own callback starts anew with each call of `fit`, and a run calls it once an epoch.
    """

    def __init__(self, folder: RunFolder):
        super().__init__()
        self._writers = {
            part: tf.summary.create_file_writer(str(folder.tensorboard / part))
            for part in ("train", "validation")
        }

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes the epoch's values and samples."""
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            with self._writers[part].as_default():
                tf.summary.scalar(name.removeprefix("val_"), np.ravel(value)[0], step=epoch + 1)
        if (made := self.model.shown()) is not None:
            with self._writers["train"].as_default():
                tf.summary.image("samples", figures.image_grid(*made)[None], step=epoch + 1)
        for writer in self._writers.values():
            writer.flush()


class ProgressBar(keras.callbacks.Callback):
    """A bar over all epochs with the time left; nothing where there is no terminal."""

    def __init__(self, position: Position, epochs: int, console: Console):
        super().__init__()
        self.position, self.total = position, epochs * position.steps_per_epoch
        self.bar = make_bar(console)
        self._task: TaskID = self.bar.add_task(
            "training", total=self.total, completed=position.step
        )

    def shown(self) -> contextlib.AbstractContextManager[Any]:
        """While it is entered the bar is on the terminal."""
        return on_screen(self.bar)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Moves the bar."""
        if not self.bar.disable:
            loss = next(iter((logs or {}).items()), None)
            shown = f"epoch {self.position.epoch + 1}" + (
                f"  {loss[0]} {float(np.ravel(loss[1])[0]):.2f}" if loss else ""
            )
            self.bar.update(self._task, completed=self.position.step, description=shown)
