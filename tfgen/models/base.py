"""The base of all image models: noise, steps, metrics, compiling, saving."""

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
# The signatures of an export: name → (function, specs of its inputs). See `ImageModel.signatures`.
Signatures: TypeAlias = dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]


@dataclass(frozen=True)
class Curve:
    """One panel of the training curves: logged values that share an axis.

    Attributes:
        title: the axis label, with units.
        names: names of logged values; the same values of the validation images are drawn dashed.
    """

    title: str
    names: tuple[str, ...]


class ImageModel(keras.Model):
    """Base of every family: a Keras model of images `uint8[B, H, W, C]`.

    A batch is `x` or `(x, labels)`. Training noise is a function of (seed, step, replica), test
    noise of (seed, batch index, replica). Therefore a resumed run draws what the uninterrupted run
    would have drawn, and two evaluations give the same numbers.

    A family that generates images subclasses `GenerativeModel`, any other family this class.
    `tfgen.registry.Family` describes the family to the commands, and `tfgen.testing` checks it.

    A family must say:

    - `@keras.saving.register_keras_serializable(package=…)`, the decorator of the model class and
      of each layer class of its own, so that `.keras` files can be opened.
    - `Config`: its configuration, a frozen dataclass derived from `ModelConfig`, or from
      `ConditionalConfig` if it has class-conditional variants. Each field made by
      `tfgen.settings.fields.option` is a flag of `tfgen-train`.
    - `__init__(config=None, *, seed=0, name=None, dtype=None, **fields)`. First
      `config = Config.build(config, fields)`, then `super().__init__(config, preprocessing, seed,
      name=name, dtype=dtype)`, then the layers and weights. Layers get `dtype=self.dtype_policy`
      and are built here, because Keras will not build them. Weights that a mixed policy must not
      cast to 16 bits get `add_weight(…, autocast=False)`. Initial weights are a function of the
      arguments.
    - `logged`: the names of the values that a step logs. Each gets a `keras.metrics.Mean`.
    - `train_step(data)`: `unpack` the batch, compute the mean loss under a `tf.GradientTape`, call
      `minimize(loss, tape)`, and `return self.log(name=values, …)` with values `[B]`, one for each
      image. `minimize` moves all trainable weights and the EMA, and counts the step. A family with
      several optimizers calls `descend` for each of them and `count_step` once.
    - `test_step(data)`: logs the same values, computed with the EMA weights (`with
      self.averaged():`) and noise from `next_test_noise()`.
    - `call(images, …)`: what `model(images)` and `predict` return.
    - `signatures()` and `example_inputs(size)`: what an export offers. `GenerativeModel` has both.

    A family may say:

    - `curves`: the panels of the training curves. Their names must be in `logged`.
    - `monitor`: the logged value whose minimum marks the best checkpoint, with `val_` in front for
      the validation images. None: there is no best checkpoint.
    - `default_optimizers`: the arguments of `compile` that `tfgen-train` uses. With several
      optimizers, like the GAN's, also `optimizers`, `build_optimizers`, `compile` and
      `get_compile_config`.
    - `preview` and `pictures`: what a run shows after each epoch and at its end.
    - `networks`: the networks that a training step evaluates, for the estimate of memory.
    - `own_parts`, an argument of this constructor: the layers or the preprocessing that the caller
      passed in place of the family's own. `.keras` files then hold them.
    - `track_average(variables, decay)`, called at the end of `__init__`: an EMA of the weights.

    Steps use:

    - `training_noise()` and `next_test_noise()`, which offer `uniform(batch, event_shape, stream,
      dtype)` and `normal(…)`. So does `tfgen.random.SeedNoise(seeds)`, where each image has a seed.
      A stream is an integer that keeps draws of different purpose apart.
    - `preprocessing.events(images, noise, dtype)`, which gives the events of a batch and refuses
      images that are not `uint8`.
    - `likelihood_dtype`, the dtype of events, losses and log-likelihoods.
    - `side_by_side(function, noise, *batches)`, which speeds a step up on a CPU.

    Args:
        config: the model's configuration.
        preprocessing: turns bytes into events: an object of `tfgen.models.preprocessing`, or one
            with the same methods.
        seed: seed of the initial weights and of all noise.
        own_parts: what the caller passed in place of the family's own parts, by the name of the
            constructor's argument; None stands for the family's own.
        **kwargs: `name`, `dtype` and further arguments of `keras.Model`.
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
        # Not a weight: every evaluation starts it at 0.
        self._test_batch = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._average: MovingAverage | None = None
        self._means = {name: keras.metrics.Mean(name, dtype="float64") for name in self.logged}
        # The constructor creates all weights, so Keras has nothing to build.
        self.built = True

    # --- what a family says -----------------------------------------------------------

    def default_optimizers(
        self, learning_rate: float, schedule: Schedule | None = None
    ) -> dict[str, keras.optimizers.Optimizer]:
        """Arguments of `compile` for the family's default optimizers.

        Args:
            learning_rate: peak learning rate.
            schedule: warm-up, decay and clipping; None keeps the learning rate constant.
        """
        return {"optimizer": make_adam(learning_rate, schedule=schedule)}

    def signatures(self) -> Signatures:
        """The functions of an export: name → (function, specs of its inputs).

        The first one is also `serving_default`. A function returns tensors by name. Inputs are
        named as its arguments. Inputs and outputs have the batch first, of any size, 0 included.
        """
        raise NotImplementedError(f"{type(self).__name__} must define signatures()")

    def example_inputs(self, size: int) -> dict[str, "np.ndarray"]:
        """Example inputs of the signatures, `size` rows of each, by name."""
        raise NotImplementedError(f"{type(self).__name__} must define example_inputs(size)")

    def preview(self) -> tuple["np.ndarray", int | None] | None:
        """What a run shows after each epoch; None shows nothing.

        Returns:
            Images `[N, H, W, C]` in 0…1, and the columns of their grid (None: a square grid).
        """
        return None

    def pictures(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, "Figure"]:
        """What a run shows at its end: figures by file name.

        Args:
            images: held-out images, `uint8[B, H, W, C]`.
            labels: their labels, `int[B]`, if the model uses labels.
        """
        return {}

    @property
    def num_classes(self) -> int:
        """Number of classes of a model that uses labels, 0 of any other model."""
        return getattr(self.config, "num_classes", 0)

    @property
    def networks(self) -> list[keras.Sequential]:
        """The networks that a training step evaluates, for an estimate of its memory."""
        return [layer for layer in self.layers if isinstance(layer, keras.Sequential)]

    def own_parts(self) -> list[str]:
        """Argument names of the layers and preprocessing that the caller passed."""
        return list(self._given)

    # --- training: data and noise -------------------------------------------------------

    def unpack(self, data: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Images and labels of a batch that is `x` or `(x, labels)`.

        Returns:
            Images as they are, and labels `int[B]`; None if the model uses no labels or the batch
            has none. A label out of range is an error when the step runs.
        """
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
        """The noise of the next test batch on this replica; counts the batch."""
        noise = random.BatchNoise(self._noise_seed(_TESTING, self._test_batch))
        self._test_batch.assign_add(1)
        return noise

    def _noise_seed(self, purpose: int, index: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        # There is no replica outside of a step.
        replica = 0 if context is None else context.replica_id_in_sync_group
        fold = tf.random.experimental.stateless_fold_in
        return fold(fold(tf.constant([self.seed, purpose], tf.int32), index), replica)

    def side_by_side(
        self, function: Callable[..., Any], noise: random.BatchNoise, *batches: Any
    ) -> Any:
        """`function(noise, *batches)`, on a CPU by `tfgen.nn.cpu.side_by_side`.

        XLA and several replicas use all cores without it. A network of the caller's own may mix
        the images of a batch, as batch normalization does, and therefore gets the whole batch.
        """
        own_networks = any(isinstance(part, keras.Layer) for part in self._given.values())
        if self.jit_compile or tf.distribute.has_strategy() or own_networks:
            return function(noise, *batches)
        return cpu.side_by_side(function, noise, *batches)

    # --- training: steps and logs -------------------------------------------------------

    def minimize(self, loss: tf.Tensor, tape: tf.GradientTape) -> None:
        """One training step: moves all trainable weights and the EMA, counts the step.

        Args:
            loss: scalar, the mean over this replica's images.
            tape: the tape that recorded the loss.
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

        Gradients are summed over the replicas, so each replica's loss counts for its share of the
        batch.

        The update waits until the loss is known, and thus until every pass of the step has read the
        weights. TensorFlow's graph optimizer drops the edges by which an update waits for reads of
        its variable. Usually the gradient itself needs these reads. The gradient of a loss that is
        linear in the last layer does not: a pass of the critic could then read that layer after its
        update.

        Args:
            loss: scalar, the mean over this replica's images.
            tape: the tape that recorded the loss.
            optimizer: an optimizer of the model.
            variables: the variables that the optimizer moves.
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
        """Adds an EMA that evaluation and sampling use; a `decay` of 0 adds none."""
        if decay:
            self._average = MovingAverage(self, variables, decay)

    def averaged(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which the weights read as their EMA, if there is one."""
        return self._average.scope() if self._average is not None else contextlib.nullcontext()

    def log(self, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Adds a batch's values `[B]` to the metrics; returns what a step returns."""
        for name, value in values.items():
            self._means[name].update_state(value)
        results = {metric.name: metric.result() for metric in self.metrics}
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            # Keras concatenates the replicas' logs along their first axis, which a scalar lacks.
            results = {name: value[None] for name, value in results.items()}
        return results

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of `logged`, without Keras's own mean loss."""
        return [
            metric
            for metric in super().metrics
            if metric is not getattr(self, "_loss_tracker", None)
        ]

    def reset_metrics(self) -> None:
        """Resets metrics and the count of test batches; Keras calls it before each pass."""
        super().reset_metrics()
        self._test_batch.assign(0)

    # --- optimizers ---------------------------------------------------------------------

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """All optimizers of the compiled model by name; empty before `compile`."""
        # Keras has no such attribute before `compile`.
        optimizer = getattr(self, "optimizer", None)
        return {} if optimizer is None else {"optimizer": optimizer}

    def compile(
        self, optimizer: Any = "adam", *, jit_compile: bool | str = "auto", **kwargs: Any
    ) -> None:
        """Configures training, as `keras.Model.compile` does.

        By default XLA is used on a GPU only: on a CPU it makes a step slower, with convolutional
        networks much slower. It is off under `tf.distribute` and with `run_eagerly=True`.
        Optimizers are built here, because restoring into an unbuilt optimizer loses its slots.
        """
        if tf.distribute.has_strategy() or kwargs.get("run_eagerly"):
            jit_compile = False
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        self.build_optimizers()

    def build_optimizers(self) -> None:
        """Creates the slots of all optimizers."""
        self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the saved model was compiled; part of `keras.saving.load_model`."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing: the constructor and `compile` build everything.

        Keras would average a batch over the workers to learn its shape, which fails for `uint8`.
        """

    # --- saving -------------------------------------------------------------------------

    @property
    def likelihood_dtype(self) -> str:
        """The dtype of log-likelihoods: at least float32, whatever the networks' policy."""
        return "float64" if self.dtype_policy.variable_dtype == "float64" else "float32"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the caller's own parts included."""
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
