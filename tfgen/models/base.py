"""What all models of images share, generative or not: noise, steps, metrics, compile, save."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import keras
import tensorflow as tf

from tfgen import random
from tfgen.models.preprocessing import Preprocessing
from tfgen.nn import cpu
from tfgen.nn.average import MovingAverage
from tfgen.nn.optimizers import Schedule, make_adam
from tfgen.settings.model import ModelConfig

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

# Separates the noise of training from that of testing under one seed.
_TRAINING, _TESTING = 0, 1
# An export's signatures: name → (function of named tensors, their specs).
Signatures: TypeAlias = dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]


@dataclass(frozen=True)
class Curve:
    """One panel of the training curves: logged values that share an axis.

    Attributes:
        title: the axis label, with units.
        names: logged names; those of validation have `val_` before them.
    """

    title: str
    names: tuple[str, ...]


class ImageModel(keras.Model):
    """Base of every family: a Keras model of `uint8` images `[B, H, W, C]`; a batch is `x` or `(x,
    labels)`.

    A family subclasses it, or `GenerativeModel` if it makes images. Training noise is a function of
    (seed, step, replica), test noise of (seed, batch index, replica). So a resumed run draws what
    the uninterrupted run would have drawn, and two evaluations give the same numbers.

    A family must say:

    - `Config`: its configuration class, a frozen dataclass derived from `ModelConfig`, or from
      `ConditionalConfig` if it has class-conditional variants. `__init__(config=None, *, seed=0, …,
      **fields)` calls `super().__init__(self.Config.build(config, fields), preprocessing, seed, …)`
      and then makes the networks. Everything built before and after that call must be a function of
      the arguments.
    - `logged`: the names of the values that a step logs. For each there is a `keras.metrics.Mean`.
    - `train_step(data)`: unpack (`unpack`), a tape, the mean loss of the batch, `minimize(loss,
      tape)`, `return self.log(name=values, …)`. `minimize` moves the weights and their EMA and
      counts the step; a family with several optimizers calls `descend` for each and `count_step`
      once.
    - `test_step(data)`: the same values by the weights that judge, `with self.averaged():`, with
      the noise of `next_test_noise()`.
    - `call(images, …)`: what `model(images)` gives, so that Keras can build and `predict` it.
    - `signatures()` and `example_inputs(size)`: what an export offers; a `GenerativeModel` has
      both.

    A family may say:

    - `curves`: the panels of the training curves.
    - `monitor`: the logged value that picks the best checkpoint, the lower the better; None: there
      is no best.
    - `default_optimizers`, with several optimizers also `optimizers`, `build_optimizers`, `compile`
      and `get_compile_config`.
    - `shown`, `pictures`: what a run shows as it goes and at its end.
    - `networks`: the networks of one step, for the estimate of memory.
    - `track_average(variables, decay)`, called once after the networks are made: an EMA that judges
      and samples.

    Noise comes from `training_noise()`, `next_test_noise()` and `random.SeedNoise(seeds)`, which
    offer `uniform(batch, event_shape, stream, dtype)` and `normal(…)`. A stream is a number of the
    family's own, which keeps draws of different purpose apart.

    Args:
        config: the model's configuration.
        preprocessing: turns bytes into events.
        seed: of the initial weights and of all noise.
        own_parts: what the caller passed in place of what the family would have built: name →
            object or None.
        **kwargs: `name`, `dtype` and the like, for `keras.Model`.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    config: ModelConfig
    logged: ClassVar[tuple[str, ...]] = ("loss",)
    curves: ClassVar[tuple[Curve, ...]] = ()
    monitor: ClassVar[str | None] = "val_loss"

    def __init__(
        self,
        config: ModelConfig,
        preprocessing: Preprocessing,
        seed: int = 0,
        own_parts: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.config = config
        self.preprocessing = preprocessing
        # `.keras` files hold the caller's networks under this name.
        self._given = {name: part for name, part in (own_parts or {}).items() if part is not None}
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
            0,
            trainable=False,
            dtype=tf.int64,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._average: MovingAverage | None = None
        self._means = {name: keras.metrics.Mean(name, dtype="float64") for name in self.logged}
        # The constructor makes all weights; there is nothing that Keras would have to build.
        self.built = True

    # --- what a family offers
    # --------------------------------------------------------------------------

    def default_optimizers(
        self, learning_rate: float, schedule: Schedule | None = None
    ) -> dict[str, keras.optimizers.Optimizer]:
        """Arguments of `compile` for the optimizers that the family trains with by default."""
        return {"optimizer": make_adam(learning_rate, schedule=schedule)}

    def signatures(self) -> Signatures:
        """What an export offers; all inputs and outputs have the batch first.

        The first one becomes `serving_default`.
        """
        raise NotImplementedError("a family says what it exports")

    def example_inputs(self, size: int) -> dict[str, "np.ndarray"]:
        """Example inputs of the signatures, `size` rows of each, by name."""
        raise NotImplementedError("a family says what its signatures take")

    def shown(self) -> tuple["np.ndarray", int | None] | None:
        """What a run shows as it goes: images `[N, H, W, C]` in 0…1 and columns of their grid, or
        None."""
        return None

    def pictures(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, "Figure"]:
        """What a run shows at its end: figures by the names of their files.

        Args:
            images: held-out images, `uint8[B, H, W, C]`.
            labels: their labels, `int[B]`, for a model that takes labels.
        """
        return {}

    @property
    def num_classes(self) -> int:
        """Number of classes of a model that takes labels, 0 of another."""
        return getattr(self.config, "num_classes", 0)

    @property
    def networks(self) -> list[keras.Sequential]:
        """The networks of one training step, for an estimate of its memory."""
        return [layer for layer in self.layers if isinstance(layer, keras.Sequential)]

    def own_parts(self) -> list[str]:
        """Names of the networks or the preprocessing that the caller passed to the constructor."""
        return list(self._given)

    # --- training: data and noise
    # ----------------------------------------------------------------------

    def unpack(self, data: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Images of a batch that is `x` or `(x, labels)`, and a conditional model's labels, else
        None."""
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        if not self.num_classes or labels is None:
            return images, None
        message = f"labels must be 0…{self.num_classes - 1}"
        checks = [
            tf.debugging.assert_non_negative(labels, message),
            tf.debugging.assert_less(labels, tf.cast(self.num_classes, labels.dtype), message),
        ]
        with tf.control_dependencies([check for check in checks if check is not None]):
            return images, tf.identity(labels)

    def training_noise(self) -> random.BatchNoise:
        """The noise of this training step on this replica."""
        return random.BatchNoise(self._noise_seed(_TRAINING, self.step.value))

    def next_test_noise(self) -> random.BatchNoise:
        """The noise of this test batch on this replica; counts the batch."""
        noise = random.BatchNoise(self._noise_seed(_TESTING, self._test_batch))
        self._test_batch.assign_add(1)
        return noise

    def _noise_seed(self, purpose: int, index: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        # Outside of a replica's step there is none.
        replica = 0 if context is None else context.replica_id_in_sync_group
        fold = tf.random.experimental.stateless_fold_in
        return fold(fold(tf.constant([self.seed, purpose], tf.int32), index), replica)

    def side_by_side(
        self, function: Callable[..., Any], noise: random.BatchNoise, *batches: Any
    ) -> Any:
        """`function(noise, *batches)`; on a CPU both halves of the batch at once, see
        `cpu.side_by_side`.

        XLA and several replicas have their own ways to use all cores. A network of the caller's own
        may mix the images of a batch, as batch normalization does, and gets the batch whole.
        """
        own_networks = any(isinstance(part, keras.Layer) for part in self._given.values())
        if self.jit_compile or tf.distribute.has_strategy() or own_networks:
            return function(noise, *batches)
        return cpu.side_by_side(function, noise, *batches)

    # --- training: steps and logs
    # ----------------------------------------------------------------------

    def minimize(self, loss: tf.Tensor, tape: tf.GradientTape) -> None:
        """One training step: the optimizer moves all trainable weights, then the EMA, and the step
            counts.

        Args:
            loss: scalar, the mean over this replica's images.
            tape: recorded it.
        """
        self.descend(loss, tape, self.optimizer, self.trainable_variables)
        if self._average is not None:
            self._average.update(self.step.value)
        self.count_step()

    def descend(
        self,
        loss: tf.Tensor,
        tape: tf.GradientTape,
        optimizer: Any,
        variables: Sequence[keras.Variable],
    ) -> None:
        """One step of an optimizer down the gradient of a loss.

        A replica's loss counts for its share of the batch, since gradients are summed over the
        replicas.

        The update waits until the loss is known, and so until every pass of the step has read the
        weights. TensorFlow's graph optimizer drops the edges by which an update waits for reads of
        its variable. Mostly the gradient needs these reads itself, but that of a linear loss by the
        last layer does not, and a critic's pass could then see that layer already moved.

        Args:
            loss: scalar, the mean over this replica's images.
            tape: recorded it.
            optimizer: one of the model's.
            variables: those that the optimizer moves.
        """
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        scale = optimizer.scale_loss(tf.ones_like(loss)) / replicas
        gradients = tape.gradient(loss, variables, output_gradients=scale)
        with tf.control_dependencies([loss]):
            optimizer.apply(gradients, variables)

    def count_step(self) -> None:
        """Counts a training step."""
        self.step.assign_add(1)

    def track_average(self, variables: Sequence[keras.Variable], decay: float) -> None:
        """Adds an EMA of variables, which judges and samples; none where `decay` is 0."""
        if decay:
            self._average = MovingAverage(self, variables, decay)

    def averaged(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which the weights read as their EMA, where there is one."""
        return self._average.scope() if self._average is not None else contextlib.nullcontext()

    def log(self, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Adds a batch's values `[B]` to the metrics of the same names; what a step returns."""
        for name, value in values.items():
            self._means[name].update_state(value)
        results = {metric.name: metric.result() for metric in self.metrics}
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            # Keras concatenates the replicas' logs along their first axis, which a scalar lacks.
            results = {name: value[None] for name, value in results.items()}
        return results

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The family's own; Keras's mean of a loss given to `compile` has no part in them."""
        return [
            metric
            for metric in super().metrics
            if metric is not getattr(self, "_loss_tracker", None)
        ]

    def reset_metrics(self) -> None:
        """Resets all metrics and the count of test batches; Keras calls it before each pass over
        data."""
        super().reset_metrics()
        self._test_batch.assign(0)

    # --- optimizers
    # ------------------------------------------------------------------------------------

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """All optimizers of the compiled model by name."""
        # Keras has no such attribute before `compile`.
        optimizer = getattr(self, "optimizer", None)
        return {} if optimizer is None else {"optimizer": optimizer}

    def compile(
        self, optimizer: Any = "adam", *, jit_compile: bool | str = "auto", **kwargs: Any
    ) -> None:
        """Configures training, as `keras.Model.compile` does.

        By default XLA is on only on a GPU: on a CPU it makes a step slower, and one of
        convolutional networks much slower. Under `tf.distribute` and with `run_eagerly=True` it is
        off. Optimizers are built at once, because restoring into an unbuilt optimizer loses its
        slots.
        """
        if tf.distribute.has_strategy() or kwargs.get("run_eagerly"):
            jit_compile = False
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        self.build_optimizers()

    def build_optimizers(self) -> None:
        """Makes the optimizers' slots."""
        self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the saved model was; part of `keras.saving.load_model`."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing: the constructor and `compile` build all there is.

        Keras would average a batch over the workers to learn its shape, which `uint8` cannot be.
        """

    # --- saving
    # ----------------------------------------------------------------------------------------

    @property
    def likelihood_dtype(self) -> str:
        """The dtype of log-likelihoods: never below float32, whatever the policy of the
        networks."""
        return "float64" if self.dtype_policy.variable_dtype == "float64" else "float32"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments: the configuration's fields, seed, name, dtype, and the
        caller's own parts."""
        serialize = keras.saving.serialize_keras_object
        parts = {name: serialize(part) for name, part in self._given.items()}
        policy = serialize(self.dtype_policy)
        return {
            **self.config.to_json(),
            "seed": self.seed,
            "name": self.name,
            "dtype": policy,
            **parts,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model that `get_config` describes, untrained."""
        return cls(
            **{key: keras.saving.deserialize_keras_object(value) for key, value in config.items()}
        )
