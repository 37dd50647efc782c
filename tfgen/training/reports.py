"""Reports of an epoch: a line, a progress bar, figures, TensorBoard's events."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen import figures
from tfgen.nn import gpu
from tfgen.settings.model import images_at_once
from tfgen.system.terminal import count_noun, format_minutes, format_value, make_bar, print_line
from tfgen.training.folder import append_line

# The panel with the logged comparison of samples with validation images.
_SAMPLES_PANEL = ("samples relative to validation images", ("distance", "diversity"))
# Number of images for the pictures at the end of a run, for images like MNIST's.
_PICTURE_IMAGES = 1000
# The part of a run from one epoch with pictures to the next.
_BETWEEN_PICTURES = 0.1
# Without a terminal, a line appears after so many seconds without one, at the end of some steps
# or of a batch of validation images.
_SILENCE = 45


class Reports:
    """Reports a run in metrics.jsonl, at the terminal, to TensorBoard and in figures.

    Keras's own callback for TensorBoard starts again with each call of `fit`, and a run calls it
    once per epoch.

    Args:
        run: the `tfgen.training.run.Run` that is trained.

    Attributes:
        bar: a progress bar over all epochs; as a context, it shows on the terminal, if any.
    """

    def __init__(self, run: Any):
        self._run, self._folder, self._drawn = run, run.folder, 0.0
        # When it began, and with how much done.
        self._start = time.monotonic(), run.done
        self._title = f"{run.name}, {run.options.preset}"
        self._folder.figures.mkdir(exist_ok=True)
        self._writers = {
            split: tf.summary.create_file_writer(str(self._folder.tensorboard / split))
            for split in ("train", "validation")
        }
        self._text, self._printed_at = "", time.monotonic()
        self.bar = make_bar(run.console)
        self._task = self.bar.add_task("starting", total=1.0, completed=run.done)

    @property
    def _time_left(self) -> str:
        """The time until the end of the training: `, 4:05 left`; empty at the start and the end."""
        if (deadline := self._run.deadline) is not None:
            return f", {format_minutes(deadline.seconds_to_end)} left"
        began, done = self._start
        part = (self._run.done - done) / (1 - done) if done < 1 else 1.0
        if not 0 < part < 1:
            return ""
        return f", {format_minutes((time.monotonic() - began) * (1 / part - 1))} left"

    def say(self, text: str) -> None:
        """Say what is done now: in the bar, or without a terminal in a line."""
        self.bar.update(self._task, description=text)
        if not self._run.console.is_terminal:
            print_line(self._run.console, text)

    def move_bar(self, values: Mapping[str, float]) -> None:
        """Show the run's position and the family's main logged value."""
        position, name = self._run.position, self._run.model.logged[0]
        text = f"epoch {position.epoch + 1}"
        if name in values:
            text += f"  {name} {format_value(values[name])}"
        self.bar.update(self._task, completed=self._run.done, description=text)
        self._text = f"{text}  step {position.batch} of {position.steps_per_epoch}"
        self._text += self._time_left
        self.log_position()

    def log_position(self, batch: int = 0, logs: Any = None) -> None:
        """Print the position if there is no terminal, and nothing was printed for a minute."""
        if not self._run.console.is_terminal and time.monotonic() - self._printed_at > _SILENCE:
            print_line(self._run.console, self._text)
            self._printed_at = time.monotonic()

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """Report an epoch at the terminal, in metrics.jsonl and to TensorBoard.

        Args:
            epoch: its number, from 1.
            values: what was logged.
        """
        # Keras sorts by name. Here training comes before validation, and the loss comes first.
        names = sorted(values, key=lambda n: (n.startswith("val_"), not n.endswith("loss"), n))
        values = {name: values[name] for name in names}
        position, console = self._run.position, self._run.console
        seconds, position.seconds = round(position.seconds, 3), 0.0
        costs = {"seconds": seconds, "peak_mib": gpu.peak_mib()}
        append_line(self._folder.metrics, {"epoch": epoch, **costs, **values})
        total, words = self._run.options.epochs, [f"epoch {epoch}"]
        if self._run.deadline is None:
            words = [f"epoch {epoch:{len(str(total))}}/{total}"]
        words.append(f"{seconds:.1f} s{self._time_left}")
        words += [f"{name} {format_value(value)}" for name, value in values.items()]
        # A terminal wraps the line between words; a log has it whole.
        wrapping = {"soft_wrap": not console.is_terminal}
        console.print("  ".join(words), markup=False, highlight=False, **wrapping)
        self._printed_at = time.monotonic()
        for name, value in values.items():
            split = "validation" if name.startswith("val_") else "train"
            with self._writers[split].as_default():
                tf.summary.scalar(name.removeprefix("val_"), value, step=epoch)
        for writer in self._writers.values():
            writer.flush()

    def draw(self, epoch: int) -> None:
        """Draw what is due after an epoch: curves and samples, after the last one also pictures.

        Args:
            epoch: completed epochs; 0: samples before the training.
        """
        is_last = self._run.is_finished
        # Up to rounding.
        if epoch and not is_last and self._run.done - self._drawn < _BETWEEN_PICTURES - 1e-9:
            return
        self._drawn = self._run.done
        self.say(f"drawing pictures of epoch {epoch}" if epoch else "drawing untrained samples")
        if epoch:
            self._write_curves()
        if is_last:
            self._write_pictures()
        # Last, since a resumed run draws if this picture is not there.
        path, names = self._folder.samples(epoch), self._run.dataset.class_names or ()
        title = f"{self._title}: samples"
        if (preview := write_samples(self._run.model, path, epoch, title, names)) is not None:
            with self._writers["train"].as_default() as writer:
                tf.summary.image("samples", figures.image_grid(*preview)[None], step=epoch)
                writer.flush()

    def _write_curves(self) -> None:
        panels = [(curve.title, curve.names) for curve in self._run.model.curves]
        rows = self._folder.read_metrics()
        if any(_SAMPLES_PANEL[1][1] in row for row in rows):
            panels.append(_SAMPLES_PANEL)
        figure = figures.curves(rows, panels, self._title, self._run.config.family)
        figures.save_figure(figure, self._folder.figures / "curves.png")

    def _write_pictures(self) -> None:
        split = self._run.held_out
        split = split.take(0, images_at_once(_PICTURE_IMAGES, split.images.shape[1:]))
        labels = None if split.labels is None else tf.constant(split.labels)
        for name, figure in self._run.model.pictures(tf.constant(split.images), labels).items():
            figures.save_figure(figure, self._folder.figures / f"{name}.png")


def write_samples(
    model: Any, path: Path, epoch: int, title: str = "samples", class_names: Sequence[str] = ()
) -> tuple[np.ndarray, int | None] | None:
    """Write the model's preview as a PNG whose title says the epoch; return it, None without one.

    Args:
        model: an `ImageModel`.
        path: file to write.
        epoch: epochs that the model was trained for.
        title: start of the title.
        class_names: names of a conditional model's classes; empty: their numbers.
    """
    if (preview := model.preview()) is not None:
        images, columns = preview
        rows = None
        if columns and model.num_classes:
            rows = figures.class_axis(range(len(images) // columns), class_names)
        title = f"{title} after {count_noun(epoch, 'epoch')}"
        figures.save_figure(figures.picture(images, title, columns, rows), path)
    return preview
