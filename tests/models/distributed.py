"""Short trainings over two replicas, and the same on one device; run by `test_distributed.py`.

    python -m tests.models.distributed mirrored FOLDER    two logical CPUs, and a single device
    python -m tests.models.distributed multiworker FOLDER    one of the workers of `TF_CONFIG`

`run` starts these processes.

Every case writes its results as `FOLDER/<case>-<label>.npz`, with the label `mirrored`, `single`,
`worker0` or `worker1`.
"""

import contextlib
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tests.commands import PATIENCE
from tests.conftest import make_images
from tests.training.cluster_processes import tf_configs
from tfgen import GAN, VAE, Classifier, Flow, FlowMatching
from tfgen.models import batch
from tfgen.nn import overrides, replicas
from tfgen.nn.cpu import Adam
from tfgen.nn.replicas import pad_empty
from tfgen.training.cluster import make_strategy


class Images(NamedTuple):
    """What a model is trained on."""

    train: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    held_out_labels: np.ndarray


# With batches of 8, the last one has 5 images, 3 and 2 of the replicas; that of the validation
# images has 1 image.
HELD_OUT, HELD_OUT_LABELS = make_images(47, side=8)[30:], np.arange(17) % 3
BARS = Images(make_images(29, side=8), np.arange(29) % 3, HELD_OUT, HELD_OUT_LABELS)


class ContentNoise:
    """Noise that is a function of the image, and thus the same on whatever replica it is."""

    def __init__(self, images: tf.Tensor, place: int = 0):
        self.images, self.place = images, place

    def uniform(self, size: Any, event: tuple, stream: int, dtype: str = "float32") -> tf.Tensor:
        num_pixels = math.prod(self.images.shape[1:])
        pixels = tf.cast(tf.reshape(self.images, [-1, num_pixels]), tf.float64)
        # Whole numbers, so that their sum does not depend on the number of images.
        sums = tf.linalg.matvec(pixels, tf.range(1, num_pixels + 1, dtype=tf.float64))
        keys = sums % 9973 / 9973
        angles = tf.range(1, int(np.prod(event)) + 1, dtype=tf.float64) * 12.9898
        waves = tf.sin((keys[:, None] + 1) * angles + stream % 1000 + self.place) * 43758.5453
        return tf.cast(tf.reshape(waves - tf.floor(waves), [-1, *event]), dtype)

    def normal(self, size: Any, event: tuple, stream: int, dtype: str = "float32") -> tf.Tensor:
        uniform = self.uniform(size, event, stream, "float64")
        return tf.cast(tf.math.ndtri(tf.clip_by_value(uniform, 0.01, 0.99)), dtype)

    def part(self, place: int) -> "ContentNoise":
        return ContentNoise(self.images, self.place + 1 + place)


class WithContentNoise:
    """A family whose noise depends on the images alone."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._of_thread = threading.local()

    def _keep(self, data: Any) -> None:
        self._of_thread.images = pad_empty(tf.convert_to_tensor(batch.split(data)[0]))

    def train_step(self, data: Any) -> Any:
        self._keep(data)
        return super().train_step(data)

    def test_step(self, data: Any) -> Any:
        self._keep(data)
        return super().test_step(data)

    def adapt(self, images: Any, labels: Any = None) -> None:
        self._keep((images, labels))
        super().adapt(images, labels)

    def training_noise(self) -> ContentNoise:
        return ContentNoise(self._of_thread.images)

    def next_test_noise(self) -> ContentNoise:
        return ContentNoise(self._of_thread.images)

    def times(self, noise: ContentNoise, size: tf.Tensor) -> tf.Tensor:
        """The times of flow matching, which would be spread over the images of a batch."""
        return noise.uniform(size, (), 0, self.likelihood_dtype)

    def side_by_side(self, function: Callable, *inputs: Any) -> Any:
        return function(*inputs)


@dataclass
class Case:
    """A model, and how it is trained.

    Attributes:
        family: class of the model.
        fields: its configuration and `dtype`.
        optimizer: makes an optimizer.
        metrics: makes the metrics of `compile`.
        weighted: whether the images have sample weights.
        images: number of training images; None: all.
        parts: makes networks of the caller's own.
        predicts: whether the results have predictions.
        data: gives the images.
        batch_size: images of both replicas.
        epochs: passes over the images.
        eagerly: whether one device trains without a graph, whose tracing takes longer.
    """

    family: type
    fields: dict[str, Any]
    optimizer: Callable[[], Any] = lambda: Adam(1e-2, epsilon=1e-3, global_clipnorm=0.5)
    metrics: Callable[[], dict] = dict
    weighted: bool = False
    images: int | None = None
    parts: Callable[[], dict] = dict
    predicts: bool = False
    data: Callable[[], Images] = lambda: BARS
    batch_size: int = 8
    epochs: int = 2
    eagerly: bool = True

    def model(self, eagerly: bool) -> Any:
        kind = type(f"Test{self.family.__name__}", (WithContentNoise, self.family), {})
        shape = self.data().train.shape[1:]
        model = kind(image_shape=shape, **self.fields, **self.parts())
        model.compile(**self.optimizers(model), **self.metrics(), run_eagerly=eagerly)
        return model

    def optimizers(self, model: Any) -> dict[str, Any]:
        """Arguments of `compile`."""
        return {name: self.optimizer() for name in model.default_optimizers(1.0)}

    def train(self, strategy: Any) -> dict[str, np.ndarray]:
        """Trains; returns weights, optimizers' states and logs."""
        keras.utils.set_random_seed(0)
        with contextlib.nullcontext() if strategy is None else strategy.scope():
            model = self.model(self.eagerly and strategy is None)
        n, (images, labels, held_out, held_out_labels) = self.images, self.data()
        weights = np.linspace(0.5, 2, len(images)).astype(np.float32)
        history = model.fit(
            images[:n],
            labels[:n],
            sample_weight=weights[:n] if self.weighted else None,
            validation_data=(held_out, held_out_labels),
            batch_size=self.batch_size,
            epochs=self.epochs,
            shuffle=False,
            verbose=0,
        ).history
        results = {f"log {name}": np.array(values) for name, values in history.items()}
        if strategy is None:
            together = {"batch_size": len(held_out), "verbose": 0, "return_dict": True}
            logs = model.evaluate(held_out, held_out_labels, **together)
            results |= {f"in one batch {name}": np.array(value) for name, value in logs.items()}
        if self.predicts:  # the last batch has one image
            predicted = model.predict(held_out, batch_size=self.batch_size, verbose=0)
            predicted = tf.nest.flatten(predicted)
            results |= {f"predicted {index}": array for index, array in enumerate(predicted)}
        states = [v for optimizer in model.optimizers.values() for v in optimizer.variables]
        for index, variable in enumerate([*model.weights, *states]):
            copies = values_of(variable)
            assert len(copies) == (2 if isinstance(strategy, tf.distribute.MirroredStrategy) else 1)
            for copy in copies[1:]:
                np.testing.assert_array_equal(copies[0], copy, err_msg=variable.path)
            results[f"weight {index:03}"] = copies[0]
        return results


def regularized() -> dict[str, Any]:
    """An encoder with penalties of weights and of activities."""
    dense = keras.layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l1")
    return {"encoder": keras.Sequential([keras.layers.Flatten(), dense])}


DENSE_VAE = {"latent_dim": 2, "hidden": (8,)}
DENSE_GAN = {"latent_dim": 2, "generator_hidden": (8, 6), "discriminator_hidden": (8,)}
DENSE_GAN |= {"dropout": 0.0}
CONV = {"architecture": "convolutional", "channels": 2}
CONV_GAN = {"latent_dim": 2, "units": 6, "ema_decay": 0.9, "dropout": 0.0, **CONV}
CONV_FLOW = {"architecture": "multiscale", "scale_steps": (1,), "scale_channels": (2,), "blocks": 1}
CLASSIFIER = {"num_classes": 3, "channels": 2, "units": 4, "dropout": 0.0}


def accuracy() -> dict[str, Any]:
    return {"metrics": [keras.metrics.SparseTopKCategoricalAccuracy(2, "top_2")]}


CASES = {
    # Penalties, sample weights, and a last batch with an image on one replica alone.
    "vae": Case(VAE, DENSE_VAE, images=25, weighted=True, parts=regularized, predicts=True),
    # Batch normalization and averaged weights.
    "gan-conv": Case(GAN, CONV_GAN),
    # Updates and penalties that are not due at every step. Both replicas have whole packs, or one
    # of them has no image. Without batch normalization, before which a bias has a gradient that is
    # nothing but rounding.
    "gan-packed": Case(
        GAN,
        {**DENSE_GAN, "generator_hidden": (8,), "spectral_norm": True, "critic_steps": 3}
        | {"penalty_every": 2, "r1": 0.1, "r2": 0.1, "pack": 2, "num_classes": 3},
        images=17,
        data=lambda: BARS._replace(held_out=HELD_OUT[:16], held_out_labels=HELD_OUT_LABELS[:16]),
        weighted=True,
    ),
    # The initialization by the first batch.
    "flow-conv": Case(Flow, CONV_FLOW),
    # Labels that are left out.
    "matching": Case(FlowMatching, {"architecture": "dense", "hidden": (8,), "num_classes": 3}),
    # Metrics of `compile`.
    "classifier": Case(Classifier, CLASSIFIER, metrics=accuracy),
}


# A step of an optimizer whose limit is below the gradient of both replicas together, whose norm is
# 5, but not below that of each of them.
CLIPPING = {"global_clipnorm": 4.5, "clipnorm": 3.9, "clipvalue": 3.5}
SHARES = ([[3.0, 1.0], [0.0]], [[0.0, 3.0], [0.0]])


def step_by(optimizer: Any, strategy: Any, shares: Any) -> list[np.ndarray]:
    """Two variables of zeros after a step by the shares of a gradient, one for each replica."""
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        variables = [keras.Variable(np.zeros(n, np.float32)) for n in (2, 1)]
        optimizer.build(variables)

    def step() -> None:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        stacked = [tf.constant(parts) for parts in zip(*shares, strict=True)]
        # A single device has the whole gradient.
        gradients = [part[replica] if strategy else tf.reduce_sum(part, 0) for part in stacked]
        overrides.apply_sums(optimizer, replicas.total(gradients), variables, tf.constant(0.0))

    tf.function(lambda: strategy.run(step) if strategy else step())()
    return [variable.numpy() for variable in variables]


def clip(strategy: Any) -> dict[str, np.ndarray]:
    """Steps by clipped gradients, and by one that is not finite on the last replica alone."""
    results = {}
    for name, limit in CLIPPING.items():
        with contextlib.nullcontext() if strategy is None else strategy.scope():
            optimizer = keras.optimizers.SGD(1.0, **{name: limit})
        results[name] = np.concatenate(step_by(optimizer, strategy, SHARES))
        assert not vars(optimizer).get("_all_reduce_sum_gradients")
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=8.0)
    infinite = (SHARES[0], [[0.0, np.inf], [0.0]])
    results["not finite"] = np.concatenate(step_by(scaled, strategy, infinite))
    results["scale"] = np.array([float(v) for v in values_of(scaled.dynamic_scale)])
    return results


def values_of(variable: keras.Variable) -> list[np.ndarray]:
    """The values of a variable on all replicas of this process."""
    values = getattr(variable.value, "values", [variable.value])
    return [np.asarray(value.numpy()) for value in values]


# The case of two processes.
OF_WORKERS = "vae"


def main(kind: str, folder: Path) -> None:
    """Trains the cases in this process, and saves their results."""
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, halves)
    strategy = make_strategy(kind)
    assert strategy.num_replicas_in_sync == 2
    if kind == "mirrored":
        strategies = {"mirrored": strategy, "single": None}
    else:
        index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        strategies = {f"worker{index}": strategy}
    names = CASES if kind == "mirrored" else [OF_WORKERS]
    cases = {"clipping": clip} | {name: CASES[name].train for name in names}
    for name, train in cases.items():
        for label, used in strategies.items():
            np.savez(folder / f"{name}-{label}.npz", **train(used))


def run(folder: Path) -> None:
    """Trains on two logical CPUs and on one device, then in two processes."""
    processes = [_start("mirrored", folder)]
    processes += [_start("multiworker", folder, TF_CONFIG=config) for config in tf_configs(2)]
    for process in processes:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors[-3000:]


def _start(kind: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", __name__, kind, str(folder)]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, **environment}, **streams)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
