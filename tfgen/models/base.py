"""The base of all image models: noise, steps, metrics, compiling, saving."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import keras
import tensorflow as tf

from tfgen import random
from tfgen.models import batch
from tfgen.models.compiling import CompilableModel
from tfgen.models.preprocessing import Preprocessing
from tfgen.models.saving import SavableModel
from tfgen.models.stepping import SteppingModel
from tfgen.nn import cpu
from tfgen.nn.batches import images_present, not_empty, pad_empty
from tfgen.nn.optimizers import Schedule, make_adam
from tfgen.settings.model import ModelConfig

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

# Separates the noise of training from that of testing under one seed.
_TRAINING, _TESTING = 0, 1

Signatures: TypeAlias = dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]
"""The signatures of an export: name → (function, specs of its inputs).

See `ImageModel.signatures`.
"""


@dataclass(frozen=True)
class Curve:
    """One panel of the training curves: logged values that share an axis.

    Attributes:
        title: the axis label, with units.
        names: names of logged values; the same values of the validation images are drawn dashed.
    """

    title: str
    names: tuple[str, ...]


class ImageModel(SavableModel, SteppingModel, CompilableModel):
    """Base of every family: a Keras model of images `uint8[B, H, W, C]`.

    A batch is `x`, `(x, labels)` or `(x, labels, sample_weight)`. Training noise is a function of
    (seed, step, replica), test noise of (seed, batch index, replica). Therefore a resumed run draws
    what the uninterrupted run would have drawn, and two evaluations give the same numbers.

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
    - `train_step(data)`: `unpack` the batch, compute losses `[B]` under a `tf.GradientTape`, with
      `training=True` for the networks, make a scalar of them by `reduce_loss(losses, weights)`,
      call `minimize(loss, tape)`, and `return self.log(weights, name=values, …)` with values `[B]`,
      one for each image. `minimize` moves all trainable weights and the EMA, and counts the step. A
      family with several optimizers calls `descend` for each of them and `count_step(loss)` once.
    - `test_step(data)`: logs the same values, computed with the EMA weights (`with
      self.averaged():`), noise from `next_test_noise()`, and `training=False`.
    - `call(images, …)`: what `model(images)` and `predict` return. A model with classes gets their
      labels in `predict` too, as the second argument.
    - `signatures()` and `example_inputs(size)`: what an export offers. `GenerativeModel` has both.

    A family may say:

    - `curves`: the panels of the training curves. Their names must be in `logged`.
    - `monitor`: the logged value whose minimum marks the best checkpoint, with `val_` in front for
      the validation images. With `"val_distance"`, which no step logs, `tfgen-train` uses
      `tfgen.callbacks.SampleMonitor`, which logs the distance between samples and validation
      images. None: there is no best checkpoint, as in any run with `--train-on all`, which logs no
      value of validation images.
    - `default_optimizers`: the arguments of `compile` that `tfgen-train` uses. With several
      optimizers, like the GAN's, also `optimizers`, `build_optimizers`, `compile` and
      `get_compile_config`.
    - `compared()`: the shapes of what metrics passed to `compile` compare. Both steps then call
      `self.compare(data, lambda: (targets, predictions), weights)`. By default, they are refused.
    - `preview` and `pictures`: what a run shows after each epoch and at its end.
    - `networks`: the networks whose layers have known shapes, for pictures of them.
    - `own_parts`, an argument of this constructor: the layers or the preprocessing that the caller
      passed in place of the family's own. `.keras` files then hold them.
    - `track_average(variables, decay)`, called at the end of `__init__`: an EMA of the weights,
      which `tfgen.nn.average` selects whether or not they are frozen.

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
    logged: tuple[str, ...] = ("loss",)
    curves: tuple[Curve, ...] = ()
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
        self._average = None
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
        """Example inputs of the signatures by name, `[size, …]` each."""
        raise NotImplementedError(f"{type(self).__name__} must define example_inputs(size)")

    def preview(self) -> tuple["np.ndarray", int | None] | None:
        """What a run shows after each epoch; None shows nothing.

        Returns:
            Images `[N, H, W, C]` in 0…1, and the columns of their grid (None: a square grid). If
            the grid of a conditional model has columns, row i shows the class i.
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
    def networks(self) -> list[keras.Model]:
        """The sequential and functional networks, whose layers have known shapes, for pictures.

        The estimate of memory does not use them: it traces a training step, which has all layers.
        """
        models = [layer for layer in self.layers if isinstance(layer, keras.Model)]
        return [model for model in models if getattr(model, "inputs", None)]

    def summary(self, *args: Any, expand_nested: bool = True, **kwargs: Any) -> None:
        """`keras.Model.summary`, with the layers of each network unless told otherwise."""
        super().summary(*args, expand_nested=expand_nested, **kwargs)

    def own_parts(self) -> list[str]:
        """Argument names of the layers and preprocessing that the caller passed."""
        return list(self._given)

    # --- training: data and noise -------------------------------------------------------

    def unpack(self, data: Any) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
        """Images, labels and sample weights of a batch.

        `data` is `x`, `(x, labels)` or `(x, labels, weights)`.
        A replica that gets no image computes an image of zeros, whose sample weight is 0.

        Returns:
            Images `[B, *image_shape]`; labels `int32[B]`, None if the model uses no labels
            or the batch has none; weights `[B]`, None if all images have weight 1. A label out of
            range is an error when the step runs.

        Raises:
            UsageError: images, labels or weights have another shape.
        """
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        images = batch.shaped_images(images, self.config.image_shape)
        weights = batch.image_weights(weights, images, self.likelihood_dtype)
        has_labels = labels is not None and self.num_classes
        labels = batch.class_labels(labels, images, self.num_classes) if has_labels else None
        if not _may_be_empty(images):
            return images, labels, weights
        if weights is None:
            weights = tf.ones(tf.shape(images)[:1], self.likelihood_dtype)
        labels = None if labels is None else pad_empty(labels)
        return pad_empty(images), labels, pad_empty(weights)

    def presence(self, data: Any) -> tf.Tensor | None:
        """1 for each image of a batch, 0 for the one that stands for no image, `float[B]`.

        None: all are images. `data` is the batch, as `unpack` takes it.
        """
        images = keras.utils.unpack_x_y_sample_weight(data)[0]
        # What has no shape is no tensor, and `unpack` refuses it.
        if not hasattr(images, "shape") or not _may_be_empty(images):
            return None
        return pad_empty(tf.ones(tf.shape(images)[:1], self.likelihood_dtype))

    def _make_function(self, step_function: Callable[[Any], Any]) -> Any:
        """Keras's function of a step, which knows whether its replica has images."""

        def step(data: Any) -> Any:
            presence = self.presence(data)
            present = None if presence is None else tf.reduce_max(presence)
            with images_present(present):
                return step_function(data)

        return super()._make_function(step)

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

    # --- prediction and dtypes ----------------------------------------------------------

    def predict_step(self, data: Any) -> Any:
        """The outputs of `call` for images, and for their labels if the model has classes."""
        images, labels, _ = batch.split(data)
        batches = [batch.shaped_images(images, self.config.image_shape)]
        if labels is not None and self.num_classes:
            batches.append(batch.class_labels(labels, batches[0], self.num_classes))
        return not_empty(self, *batches) if _may_be_empty(batches[0]) else self(*batches)

    @property
    def likelihood_dtype(self) -> str:
        """The dtype of log-likelihoods: at least float32, whatever the networks' policy."""
        return "float64" if self.dtype_policy.variable_dtype == "float64" else "float32"


def _may_be_empty(images: tf.Tensor) -> bool:
    """Whether the batch may have no image, as that of a replica may, whose size is not known."""
    return tf.distribute.has_strategy() and not images.shape[0]
