"""Keras callbacks for scripts: pictures and metrics of samples while a model is trained.

They work with every generative family, sample with the EMA weights, and change nothing in the
training: weights are bit-equal with and without them. `tfgen-train` uses `SampleMonitor`, too.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen.errors import UsageError, size_text
from tfgen.evaluation.job import Range
from tfgen.evaluation.metrics import sample_metrics
from tfgen.evaluation.monitoring import REFERENCE, SAMPLES, SampleComparison, TrainingWatch
from tfgen.evaluation.own_network import choose_extractor
from tfgen.evaluation.sources import as_bytes
from tfgen.models.generative import SAMPLE_DISTANCE, GenerativeModel
from tfgen.sampling import batches, check_image_bytes, request_labels, request_seeds
from tfgen.training.reports import write_samples

# What the shipped classifier takes.
_MNIST_SHAPE = (28, 28, 1)


class _OfSamples(keras.callbacks.Callback):
    """Takes only a model that generates images, of the shape of those to compare with, if any."""

    def __init__(self, every: int = 1, images: np.ndarray | None = None):
        super().__init__()
        if every < 1:
            raise UsageError(f"every = {every} is too small; the least is 1")
        if images is not None:
            check_image_bytes(str(images.dtype), images.shape)
        self.every, self._is_first = every, True
        self._shape = None if images is None else tuple(images.shape[1:])

    def set_model(self, model: Any) -> None:
        """Takes the model.

        Raises:
            UsageError: the model generates no images, or others than those to compare with; labels
                are missing, out of range, or the model is not conditional.
        """
        if not isinstance(model, GenerativeModel):
            text = f"{type(self).__name__} needs a model that generates images, such as tfgen.VAE"
            raise UsageError(f"{text}; a {type(model).__name__} generates none")
        shape = tuple(model.config.image_shape)
        if self._shape not in (None, shape):
            text = f"{model.name} generates images of {size_text(shape)}, not of"
            raise UsageError(f"{text} {size_text(self._shape or ())}, as {type(self).__name__} has")
        super().set_model(model)

    def on_train_begin(self, logs: Any = None) -> None:
        """Remembers that nothing is written or computed yet."""
        self._is_first = True


class SampleGrid(_OfSamples):
    """Writes a picture of samples before the first epoch and after every n-th one.

    The samples have the same seeds each time; those of a class-conditional model have a row for
    each class. `samples-0003.png` shows the model after three epochs.

    Args:
        folder: where the pictures are written; it is created if it is missing.
        every: number of epochs from one picture to the next.

    Raises:
        UsageError: `every` is less than 1; in `fit`: the model generates no images.
    """

    def __init__(self, folder: str | Path, every: int = 1):
        super().__init__(every)
        self.folder = Path(folder)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Writes the picture of the model as it was before `fit`."""
        if self._is_first:
            self._write(epoch)
        self._is_first = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the picture, if one is due after this epoch."""
        if (epoch + 1) % self.every == 0:
            self._write(epoch + 1)

    def _write(self, epoch: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_samples(self.model, self.folder / f"samples-{epoch:04}.png", epoch)


class Evaluate(_OfSamples):
    """Adds the metrics of samples, such as FID, to the logs of an epoch.

    They are those of `samples` in an evaluation of `tfgen-evaluate`, under the same keys;
    `tfgen.evaluation.metrics` declares them. `History` and the progress bar have them too.
    Callbacks get the logs in the order of the list, so whatever uses the metrics comes after this
    callback.

    The metrics are computed at the end of the first epoch, and after every n-th one.

    Args:
        images: held-out images to compare with, `uint8[N, H, W, C]`.
        labels: their classes, `int[N]`, for a class-conditional model: sample i then has the class
            of image i. None: sample i has the class i mod K.
        n: number of samples, and of images to compare with: the first n, or all if they are fewer.
        features: where the features come from. `"random"`: a fixed random network, which takes any
            images (Naeem et al. 2020). A network of the user's own: the path of a SavedModel's
            folder or of a `.keras` file. A classifier: the name, under `saved_models`, or folder of
            a published one, or a `tfgen.Classifier` or `tfgen.Sampler`; `"classifier"` is the
            shipped one of MNIST. None: that one for images of 28 × 28 × 1, else `"random"`.
        features_range: values of black and white for a network of the user's own: `"0,1"`,
            `"-1,1"` or `"0,255"`; required unless it takes bytes.
        every: number of epochs from one evaluation to the next.
        seed: of the samples, the same in each epoch.

    Raises:
        UsageError: images are not `uint8`, fewer than the features need, or of a shape that the
            network does not take; there is no such network, or its pixels have another range;
            `every` is less than 1. In `fit`: the model generates no images, or images of another
            shape; labels are out of range.
        WorkError: the network is damaged, holds what is not allowed, or computes features that are
            not finite. In `fit`: a pixel of a sample is not finite.
    """

    def __init__(
        self,
        images: Any,
        labels: Sequence[int] | np.ndarray | None = None,
        *,
        n: int = 2000,
        features: Any = None,
        features_range: Range | None = None,
        every: int = 1,
        seed: int = 0,
    ):
        images = np.asarray(images)
        super().__init__(every, images)
        self.n, self.seed, shape = min(n, len(images)), seed, tuple(images.shape[1:])
        if features is None:
            features = "classifier" if shape == _MNIST_SHAPE else "random"
        choice = features, features_range
        self._extractor = choose_extractor("mnist", self.n, Path("saved_models"), *choice)
        self._extractor.check_images(shape)
        self._extractor.check_count(self.n, shape)
        self._modes = self._extractor.num_modes(shape)
        self._labels = None if labels is None else np.asarray(labels)[: self.n]
        self._reference = self._extractor.extract(images[:n])

    def set_model(self, model: Any) -> None:
        """See the base class."""
        super().set_model(model)
        request_labels(self.n, model.num_classes, self._labels)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the metrics to the logs, if they are due.

        They are after the first epoch too: `CSVLogger` takes its columns from the logs of the
        first epoch.
        """
        is_due, self._is_first = self._is_first or (epoch + 1) % self.every == 0, False
        if logs is not None and is_due:
            logs.update(self.metrics())

    def metrics(self) -> dict[str, float]:
        """The metrics of samples that the model generates now.

        Raises:
            WorkError: a pixel of a sample is not finite.
        """
        pixels = self.model.sample(self.n, seed=self.seed, labels=self._labels).numpy()
        features = self._extractor.extract(as_bytes(pixels, self.model.name))
        values = sample_metrics(features, self._reference, self._modes)
        return {name: float(value) for name, value in values.items() if name != "classes"}


def _print_warning(message: str, best_epoch: int | None) -> None:
    """Prints a warning of `SampleMonitor` on standard error."""
    print(f"warning: {message}; the distance is least at epoch {best_epoch}", file=sys.stderr)


class SampleMonitor(_OfSamples):
    """Adds distance and diversity of samples to the logs of each epoch, and warns of failures.

    `val_distance` tells how far samples are from held-out images, `diversity` how much they differ
    from each other; see `tfgen.evaluation.monitoring.SampleComparison.compare`. They take less than
    a second for small images, need no classifier, and no images but the held-out ones. Values
    compare within one training alone; `Evaluate` computes the usual metrics.

    A warning says, once, that the samples have lost their diversity, or that the discriminator of a
    GAN has learned the training images by heart; for the latter, `fit` needs `validation_data`.

    `History` and the progress bar have the values too. Callbacks get the logs in the order of the
    list, so whatever uses the values, such as `ModelCheckpoint`, comes after this callback.

    Args:
        images: held-out images to compare with, `uint8[N, H, W, C]`, grey or RGB; the first 2000
            are used.
        labels: their classes, `int[N]`, for a class-conditional model: sample i then has the class
            of image i. None: sample i has the class i mod K.
        n: number of samples; at most N.
        seed: of the samples, the same in each epoch.
        warn: gets each warning, and the epoch with the least distance so far, counted from 1; by
            default it is printed on standard error.
        earlier: the logs of the epochs before, each with its number as `epoch`, for a training
            that goes on; a warning that is due to them is not repeated.
        held_out: whether the images are held out. If the model is trained on them, the distance is
            logged as `distance`, since `val_` stands for held-out images.

    Raises:
        UsageError: images are not `uint8`, neither grey nor RGB, fewer than two, or all alike;
            there is not one label for each. In `fit`: the model generates no images, or images of
            another shape; labels are out of range.
        WorkError: in `fit`: a pixel of a sample is not finite.
    """

    def __init__(
        self,
        images: Any,
        labels: Sequence[int] | np.ndarray | None = None,
        *,
        n: int = SAMPLES,
        seed: int = 0,
        warn: Callable[[str, int | None], None] = _print_warning,
        earlier: Iterable[Mapping[str, Any]] = (),
        held_out: bool = True,
    ):
        images = np.asarray(images[:REFERENCE])
        super().__init__(images=images)
        self._comparison = SampleComparison(images, labels, n)
        self._seeds = request_seeds(self._comparison.n, seed)
        self._distance = SAMPLE_DISTANCE if held_out else SAMPLE_DISTANCE.removeprefix("val_")
        self._warn, self._watch = warn, TrainingWatch(self._distance)
        self._traced: Any = None
        for row in earlier:
            self._watch.update(row["epoch"], row)

    def set_model(self, model: Any) -> None:
        """Takes the model, and traces the graph that draws its samples when it is first used.

        Raises:
            UsageError: the model generates no images, or images of another shape; labels are out
                of range, or the model is not conditional.
        """
        super().set_model(model)
        if self._traced is not model:
            labels = request_labels(len(self._seeds), model.num_classes, self._comparison.labels)
            function, specs = model.signatures()["sample"]
            self._inputs = [self._seeds] if labels is None else [self._seeds, labels]
            self._function, self._traced = tf.function(function, input_signature=specs), model

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds distance and diversity to the logs, and warns."""
        logs = {} if logs is None else logs
        logs.update(self.metrics())
        for message in self._watch.update(epoch + 1, logs):
            self._warn(message, self._watch.best_epoch)

    def metrics(self) -> dict[str, float]:
        """`val_distance`, or `distance`, and `diversity` of samples that the model generates now.

        Raises:
            WorkError: a pixel of a sample is not finite.
        """
        pixels = [
            self._function(*(tf.constant(values[part], tf.int32) for values in self._inputs))
            for part in batches(len(self._seeds))
        ]
        images = np.concatenate([batch["images"].numpy() for batch in pixels])
        values = self._comparison.compare(as_bytes(images, self.model.name))
        return {self._distance: values.pop(SAMPLE_DISTANCE), **values}
