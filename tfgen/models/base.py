"""What all models of images share, generative or not: noise by step, metrics by example, compile, save."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import keras
import tensorflow as tf

from tfgen import random
from tfgen.config import ModelConfig
from tfgen.models.preprocessing import Preprocessing
from tfgen.optimizers import Schedule, make_adam

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

# Separates the noise of training from that of testing under one seed.
_TRAINING, _TESTING = 0, 1
# An export's signatures: name → (function of named tensors, their specs).
Signatures: TypeAlias = dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]


@dataclass(frozen=True)
class Curve:
    """One panel of the training curves: logged names that share an axis.

    Attributes:
        title: the axis' label, with units.
        names: logged names; validation's have `val_` before them.
    """

    title: str
    names: tuple[str, ...]


class ImageModel(keras.Model):
    """A Keras model of `uint8` images `[B, H, W, C]`; a batch is `x` or `(x, labels)`.

    A model implements `train_step`, `test_step` and `call`, and says what it logs, exports and shows.

    Training noise is a function of (seed, step, replica), test noise of (seed, batch index, replica); so a
    resumed run draws what the uninterrupted one would have drawn, and evaluating twice gives the same
    numbers.

    Args:
        config: the model's configuration.
        preprocessing: what turns bytes into events.
        seed: of the initial weights and of all noise.
        **kwargs: `name`, `dtype` and the like, for `keras.Model`.
    """

    config: ModelConfig
    curves: ClassVar[tuple[Curve, ...]] = ()
    # Logged value that picks the best checkpoint, the lower the better; None where there is none.
    monitor: ClassVar[str | None] = "val_loss"

    def __init__(self, config: ModelConfig, preprocessing: Preprocessing, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.config = config
        self.preprocessing = preprocessing
        # What a family was given in place of what it would have built: name → object.
        self._given: dict[str, Any] = {}
        self.seed = int(seed)
        self.step = self.add_weight(
            name="step",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        # No weight: it is 0 at the start of every evaluation.
        self._test_batch = tf.Variable(
            0, trainable=False, dtype=tf.int64, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )

    # --- what a model offers --------------------------------------------------------------------------

    def default_optimizers(
        self, learning_rate: float, schedule: Schedule | None = None
    ) -> dict[str, keras.optimizers.Optimizer]:
        """Arguments of `compile` for the optimizers that the family trains with by default."""
        return {"optimizer": make_adam(learning_rate, schedule=schedule)}

    def signatures(self) -> Signatures:
        """What an export offers; all inputs and outputs have a batch first.

        The first one becomes `serving_default`.
        """
        raise NotImplementedError("a model says what it exports")

    def example_inputs(self, size: int) -> dict[str, "np.ndarray"]:
        """Inputs that the signatures may get, `size` rows of each, by name."""
        raise NotImplementedError("a model says what its signatures take")

    def shown(self) -> tuple["np.ndarray", int | None] | None:
        """What a run shows as it goes: images `[N, H, W, C]` in 0…1, columns of their grid, or nothing."""
        return None

    def pictures(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, "Figure"]:
        """What a run shows at its end: figures by their files' names.

        Args:
            images: held out ones, `uint8[B, H, W, C]`.
            labels: theirs, `int[B]`, of a model that takes labels.
        """
        return {}

    @property
    def num_classes(self) -> int:
        """Classes of a model that takes labels, 0 of another."""
        return getattr(self.config, "num_classes", 0)

    @property
    def networks(self) -> list[keras.Sequential]:
        """The networks, for an estimate of what a step takes."""
        return [layer for layer in self.layers if isinstance(layer, keras.Sequential)]

    # --- training --------------------------------------------------------------------------------------

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """All optimizers of the compiled model by name."""
        # Keras has no such attribute before `compile`.
        optimizer = getattr(self, "optimizer", None)
        return {} if optimizer is None else {"optimizer": optimizer}

    def compile(self, optimizer: Any = "adam", *, jit_compile: bool | str = "auto", **kwargs: Any) -> None:
        """Configures training, as `keras.Model.compile` does.

        XLA is on by default on a GPU alone: on a CPU it makes a step slower, of convolutional networks much
        slower. Under `tf.distribute` and with `run_eagerly=True` it is off. Optimizers are built at once:
        restoring into an unbuilt one loses its slots.
        """
        if tf.distribute.has_strategy() or kwargs.get("run_eagerly"):
            jit_compile = False
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        self.build_optimizers()

    def build_optimizers(self) -> None:
        """Makes the optimizers' slots."""
        self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The family's own; Keras's mean of a loss given to `compile` has no part in them."""
        return [metric for metric in super().metrics if metric is not getattr(self, "_loss_tracker", None)]

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing to do: the constructor and `compile` build all there is.

        Keras would average a batch over the workers to learn its shape, which `uint8` cannot be.
        """

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the saved model was; part of `keras.saving.load_model`."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def unpack(self, data: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Images of a batch that is `x` or `(x, labels)`, and a conditional model's labels, else None."""
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        if not self.num_classes or labels is None:
            return images, None
        told = f"labels must be 0…{self.num_classes - 1}"
        within = [
            tf.debugging.assert_non_negative(labels, told),
            tf.debugging.assert_less(labels, tf.cast(self.num_classes, labels.dtype), told),
        ]
        with tf.control_dependencies([each for each in within if each is not None]):
            return images, tf.identity(labels)

    def training_noise(self) -> random.BatchNoise:
        """The noise of this training step on this replica."""
        return random.BatchNoise(self._noise_seed(_TRAINING, self.step.value))

    def next_test_noise(self) -> random.BatchNoise:
        """The noise of this test batch on this replica; counts the batch."""
        noise = random.BatchNoise(self._noise_seed(_TESTING, self._test_batch))
        self._test_batch.assign_add(1)
        return noise

    def side_by_side(self, function: Callable[..., Any], noise: random.BatchNoise, *batches: Any) -> Any:
        """`function(noise, *batches)` for a training step; on a CPU of both halves of the batch at once.

        TensorFlow runs operations side by side where none waits for the other. A dense network is one chain,
        and two cores on each of its small products are slower than one core on each of two. What a network of
        the user's own may take from its batch, as batch normalization does, is left whole.

        Args:
            function: of noise and batches, to tensors that have the batch first.
            noise: of the whole batch.
            *batches: tensors that have the batch first, or None.

        Returns:
            What `function` returns for the whole batch.
        """
        whole = self.jit_compile or tf.distribute.has_strategy()
        if whole or any(isinstance(given, keras.Layer) for given in self._given.values()):
            return function(noise, *batches)
        middle = (batches[0].shape[0] or tf.shape(batches[0])[0]) // 2
        given = [index for index, each in enumerate(batches) if each is not None]

        def of_part(part: random.BatchNoise, *halves: tf.Tensor) -> Any:
            by_place = dict(zip(given, halves, strict=True))
            return function(part, *(by_place.get(index) for index in range(len(batches))))

        parts = [
            not_empty(functools.partial(of_part, noise.part(index)), *(batches[i][half] for i in given))
            for index, half in enumerate((slice(None, middle), slice(middle, None)))
        ]
        return tf.nest.map_structure(lambda *each: tf.concat(each, axis=0), *parts)

    def _noise_seed(self, purpose: int, index: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        # Outside of a replica's step there is none.
        replica = 0 if context is None else context.replica_id_in_sync_group
        fold = tf.random.experimental.stateless_fold_in
        return fold(fold(tf.constant([self.seed, purpose], tf.int32), index), replica)

    def reset_metrics(self) -> None:
        """Resets all metrics and the count of test batches; Keras calls it before each pass over data."""
        super().reset_metrics()
        self._test_batch.assign(0)

    def gradient_loss(self, loss: tf.Tensor, optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
        """The loss to differentiate: a replica's share, since gradients are summed, under the loss scale."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return optimizer.scale_loss(loss / replicas if replicas > 1 else loss)

    def logs(self) -> dict[str, tf.Tensor]:
        """The current value of every metric, for a step to return."""
        values = {metric.name: metric.result() for metric in self.metrics}
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            # Keras concatenates the replicas' logs along their first axis, which a scalar lacks.
            values = {name: value[None] for name, value in values.items()}
        return values

    # --- saving ----------------------------------------------------------------------------------------

    @property
    def likelihood_dtype(self) -> str:
        """What log-likelihoods are computed in: never below float32, whatever the networks' policy."""
        return "float64" if self.dtype_policy.variable_dtype == "float64" else "float32"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments: the configuration's fields, seed, name, dtype, and what was given."""
        serialize = keras.saving.serialize_keras_object
        given = {name: serialize(value) for name, value in self._given.items() if value is not None}
        policy = serialize(self.dtype_policy)
        return {**self.config.to_json(), "seed": self.seed, "name": self.name, "dtype": policy, **given}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model that `get_config` describes, untrained."""
        return cls(**{key: keras.saving.deserialize_keras_object(value) for key, value in config.items()})


def not_empty(function: Callable[..., Any], *batches: tf.Tensor) -> Any:
    """`function(*batches)` where the batches may have no example: there it is given one, of zeros.

    On a CPU TensorFlow's convolution of no images has another shape than it ought to have. What the function
    returns has the batch first.
    """
    if batches[0].shape[0]:  # known
        return function(*batches)
    size = tf.shape(batches[0])[0]
    missing = tf.cast(tf.equal(size, 0), tf.int32)
    padded = (tf.pad(each, [[0, missing]] + [[0, 0]] * (len(each.shape) - 1)) for each in batches)
    return tf.nest.map_structure(lambda each: each[:size], function(*padded))
