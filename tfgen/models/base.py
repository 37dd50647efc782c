"""The base of all image models: noise, steps, metrics, compiling, saving."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.models import batch, export
from tfgen.models.preprocessing import Labels, Preprocessing
from tfgen.nn import cpu, gpu, overrides, replicas
from tfgen.nn.average import MovingAverage
from tfgen.nn.layers import Dropout
from tfgen.nn.optimizers import Schedule, make_adam
from tfgen.random import BatchNoise
from tfgen.settings.model import ModelConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Separates the noise of training from that of testing under one seed.
_TRAINING, _TESTING = 0, 1

Signatures: TypeAlias = dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]
"""The signatures of an export: name → (function, specs of its inputs).

See `ImageModel.signatures`.
"""


class Curve(NamedTuple):
    """One panel of the training curves: logged values that share an axis.

    Attributes:
        title: the axis label, with units.
        names: names of logged values; the same values of the validation images are drawn dashed.
    """

    title: str
    names: tuple[str, ...]


class ImageModel(overrides.Model):
    """Base of every family: a Keras model of images `uint8[B, H, W, C]`.

    A batch is `x`, `(x, labels)` or `(x, labels, sample_weight)`. Training noise is a function of
    (seed, step, replica), test noise of (seed, batch index, replica). Therefore a resumed run draws
    what the uninterrupted run would have drawn, and two evaluations give the same numbers.

    A family that generates images subclasses `GenerativeModel`, any other family this class.
    `tfgen.registry.Family` describes the family to the commands, and `tfgen.testing` checks it.

    A family must define:

    - `@keras.saving.register_keras_serializable(package=…)`, the decorator of the model class and
      of each layer class of its own, so that `.keras` files can be opened.
    - `Config`: its configuration, a frozen dataclass derived from `ModelConfig`. Each field made
      by `tfgen.settings.fields.option` is a flag of `tfgen-train`.
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

    A family may define:

    - `curves`: the panels of the training curves. Their names must be in `logged`.
    - `monitor`: the logged value whose minimum marks the best checkpoint, with `val_` in front for
      the validation images. With `"val_distance"`, which no step logs, `tfgen-train` uses
      `tfgen.callbacks.SampleMonitor`, which logs the distance between samples and validation
      images. None: there is no best checkpoint, as in any run with `--train-on all`, which logs no
      value of validation images.
    - `default_optimizers`: the arguments of `compile` that `tfgen-train` uses. With several
      optimizers, like the GAN's, also `optimizers`, `build_optimizers`, `compile` and
      `get_compile_config`.
    - `before_fit(x, y)` and `after_fit()`, which `fit` calls before its first step and after its
      last.
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
    - `side_by_side(function, images, noise, labels)`, which speeds a step up on a CPU.

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

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            hidden = getattr(keras.Model, name, None)
            if isinstance(hidden, property) and not isinstance(value, property):
                raise UsageError(f"{cls.__name__}.{name} hides a property of Keras; rename it")

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
        passed = (own_parts or {}).items()
        self._own_parts = {name: part for name, part in passed if part is not None}
        self.seed = int(seed)
        count: dict[str, Any] = {"trainable": False, "aggregation": "only_first_replica"}
        self.step = self.add_weight((), "zeros", "int64", name="step", **count)
        # Not a weight: every evaluation starts it at 0.
        count["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._test_batch = tf.Variable(0, dtype=tf.int64, **count)
        self._average: MovingAverage | None = None
        self._has_metrics = False
        self._means = {name: keras.metrics.Mean(name, dtype="float64") for name in self.logged}
        # The constructor creates all weights, so Keras has nothing to build.
        self.built = True

    @classmethod
    def preset(cls, preset: str, /, *, steps: int | None = None, **arguments: Any) -> Self:
        """An untrained model with the settings of a preset, compiled with its optimizers.

        They are those of `tfgen-train`, with the preset's learning rate and clipping. The preset's
        batch size and epochs are arguments of `fit`; `tfgen.registry.Preset` has them.

        Args:
            preset: name of the preset, such as `"images"`, which is for images of any kind.
            steps: training steps, over which the preset's warm-up and decay of the learning rate
                run; None: the learning rate is constant.
            **arguments: those of the model: `seed`, `name`, `dtype`, networks of the caller's own,
                and fields of the configuration, which replace those of the preset.

        Raises:
            UsageError: the family has no such preset, an argument is wrong, or the class belongs to
                no family.
        """
        chosen = registry.family_of(cls).preset(preset)
        model = cls(chosen.model, **arguments)
        warmup, cosine = chosen.scaled_warmup(steps or 0), chosen.schedule == "cosine"
        schedule = Schedule(round(warmup), steps if cosine else None, chosen.clip_norm)
        model.compile(**model.default_optimizers(chosen.learning_rate, schedule))
        return model

    # --- what a family defines -----------------------------------------------------------

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

    def example_inputs(self, size: int) -> dict[str, np.ndarray]:
        """Example inputs of the signatures by name, `[size, …]` each."""
        raise NotImplementedError(f"{type(self).__name__} must define example_inputs(size)")

    def preview(self) -> tuple[np.ndarray, int | None] | None:
        """What a run shows after each epoch; None shows nothing.

        Returns:
            Images `[N, H, W, C]` in 0…1, and the columns of their grid (None: a square grid). If
            the grid of a conditional model has columns, row i shows the class i.
        """
        return None

    def pictures(self, images: tf.Tensor, labels: Labels = None) -> dict[str, "Figure"]:
        """What a run shows at its end: figures by file name.

        Args:
            images: held-out images, `uint8[B, H, W, C]`.
            labels: their labels, `int[B]`, if the model uses labels.
        """
        return {}

    def set_sampling(self, **options: Any) -> None:
        """Changes options of sampling, such as the number of steps of a solver.

        Args:
            **options: fields of the configuration that are made by `option(…, sampling=True)`.

        Raises:
            UsageError: a name is no such field, or a value is wrong.
        """
        self.config = self.config.with_sampling(options)
        self.predict_function = None  # Keras keeps the graph of the former options

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

    def compared(self) -> tuple[keras.KerasTensor, keras.KerasTensor] | None:
        """Targets and predictions of metrics passed to `compile`, as symbols of their shapes.

        None: `compile` refuses metrics.
        """
        return None

    def own_parts(self) -> list[str]:
        """Argument names of the layers and preprocessing that the caller passed."""
        return list(self._own_parts)

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
        if weights is not None:
            weights = batch.column(tf.cast(weights, self.likelihood_dtype), images, "sample weight")
        has_labels = labels is not None and self.num_classes
        labels = batch.class_labels(labels, images, self.num_classes) if has_labels else None
        replicas.note_presence(images)
        if replicas.may_be_empty(images):
            if weights is None:
                weights = tf.ones(tf.shape(images)[:1], self.likelihood_dtype)
            labels = None if labels is None else replicas.pad_empty(labels)
            images, weights = replicas.pad_empty(images), replicas.pad_empty(weights)
        return images, labels, weights

    def batch_checks(self, data: Any) -> list[tf.Operation]:
        """The operations that fail if a label of a batch is no class, outside of XLA."""
        labels = batch.split(data)[1] if self.num_classes else None
        # The replicas of a strategy check their own labels, without XLA.
        if labels is None or isinstance(labels, tf.distribute.DistributedValues):
            return []
        return [batch.label_check(labels, self.num_classes)]

    def training_noise(self) -> BatchNoise:
        """The noise of this training step on this replica."""
        return BatchNoise(self._noise_seed(_TRAINING, self.step.value))

    def next_test_noise(self) -> BatchNoise:
        """The noise of the next test batch on this replica; counts the batch."""
        noise = BatchNoise(self._noise_seed(_TESTING, self._test_batch))
        self._test_batch.assign_add(1)
        return noise

    def _noise_seed(self, purpose: int, index: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        # There is no replica outside of a step.
        replica = 0 if context is None else context.replica_id_in_sync_group
        fold = tf.random.experimental.stateless_fold_in
        return fold(fold(tf.constant([self.seed, purpose], tf.int32), index), replica)

    def side_by_side(
        self, function: Callable[..., Any], images: tf.Tensor, noise: BatchNoise, labels: Labels
    ) -> Any:
        """`function(images, noise, labels)`, on a CPU by `tfgen.nn.cpu.side_by_side`.

        XLA and several replicas use all cores without it. A network of the caller's own may mix
        the images of a batch, as batch normalization does, and therefore gets the whole batch.
        """
        own_networks = self._own_parts.keys() - {"preprocessing"}
        if self.jit_compile or tf.distribute.has_strategy() or own_networks:
            return function(images, noise, labels)
        return cpu.side_by_side(function, images, noise, labels)

    # --- prediction and dtypes ----------------------------------------------------------

    def predict_step(self, data: Any) -> Any:
        """The outputs of `call` for images, and for their labels if the model has classes."""
        images, labels, _ = batch.split(data)
        batches = [batch.shaped_images(images, self.config.image_shape)]
        if labels is not None and self.num_classes:
            batches.append(batch.class_labels(labels, batches[0], self.num_classes))
        return replicas.not_empty(self, *batches)

    @property
    def likelihood_dtype(self) -> str:
        """The dtype of log-likelihoods: at least float32, whatever the networks' policy."""
        return "float64" if self.dtype_policy.variable_dtype == "float64" else "float32"

    # --- compiling and metrics ------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """Number of classes of a model that uses labels, 0 of any other model."""
        return self.config.num_classes

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
        networks much slower. It is off under `tf.distribute`, with `run_eagerly=True` and, unless
        it is asked for, with deterministic operations. Optimizers are built here, because restoring
        into an unbuilt optimizer loses its slots. A line on standard error says if the machine
        lacks instructions for a 16-bit policy.

        Args:
            optimizer: the optimizer, or its name.
            jit_compile: whether to compile by XLA.
            **kwargs: further arguments of `keras.Model.compile`, among them `metrics` and
                `weighted_metrics` of a family that overrides `compared`.

        Raises:
            UsageError: `loss` is passed, or metrics to a family that has nothing to compare.
        """
        name = type(self).__name__
        if kwargs.get("loss") is not None:
            raise UsageError(f"a {name} trains on its own loss; compile it without loss=")
        self._has_metrics = bool(kwargs.get("metrics") or kwargs.get("weighted_metrics"))
        compared = self.compared() if self._has_metrics else None
        if self._has_metrics and compared is None:
            text = f"a {name} has no targets that metrics= could compare"
            raise UsageError(f"{text}; compile it without them")
        is_on_cpu = jit_compile == "auto" and not gpu.visible()
        if is_on_cpu or tf.distribute.has_strategy() or kwargs.get("run_eagerly"):
            jit_compile = False
        if self.compute_dtype in ("bfloat16", "float16"):
            cpu.warn_if_slow(self.compute_dtype)
        self._compile_anew(compared, optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        self.build_optimizers()

    def build_optimizers(self) -> None:
        """Creates the slots of all optimizers."""
        self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of `logged`, then those passed to `compile`; not Keras's own mean loss."""
        logged = list(getattr(self, "_means", {}).values())
        return [*logged, *(metric for metric in super().metrics if metric not in logged)]

    def reset_metrics(self) -> None:
        """Resets metrics and the count of test batches; Keras calls it before each pass."""
        super().reset_metrics()
        self._test_batch.assign(0)

    def compare(
        self, data: Any, values: Callable[[], Sequence[tf.Tensor]], weights: tf.Tensor | None = None
    ) -> None:
        """Updates the metrics that were passed to `compile`, if there are any.

        Args:
            data: the batch, as the step got it.
            values: returns targets and predictions, with the batch first; called only if there are
                metrics.
            weights: sample weights `[B]` for `weighted_metrics`.
        """
        if not self._has_metrics:
            return
        compared = [*values(), weights]
        if tf.distribute.has_strategy():
            # Without the image of zeros of a replica that gets no image.
            size = tf.shape(batch.split(data)[0])[0]
            compared = [None if rows is None else rows[:size] for rows in compared]
        self.compute_metrics(None, *compared)

    # --- training: steps --------------------------------------------------------------------

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.fit`, in which arrays of images without labels keep their sample weights.

        Calls `before_fit(x, y)` first, and `after_fit()` at the end.
        """
        self.before_fit(x, y)
        y = self._labels_beside(x, y, kwargs.get("sample_weight"))
        match kwargs.get("validation_data"):
            case (images, labels, weights):
                labels = self._labels_beside(images, labels, weights)
                kwargs["validation_data"] = images, labels, weights
        history = super().fit(x, y, *args, **kwargs)
        self.after_fit()
        return history

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.evaluate`, in which arrays without labels keep their sample weights."""
        weights = args[2] if len(args) > 2 else kwargs.get("sample_weight")
        y = self._labels_beside(x, y, weights)
        return super().evaluate(x, y, *args, **kwargs)

    def _labels_beside(self, x: Any, y: Any, weights: Any) -> Any:
        """Labels that the model ignores, if Keras would drop the sample weights without labels."""
        is_unlabelled = y is None and not self.num_classes and hasattr(x, "shape")
        return np.zeros(len(x), np.int32) if is_unlabelled and weights is not None else y

    def before_fit(self, x: Any, y: Any) -> None:
        """What a family does before the first step of `fit`; nothing here.

        Args:
            x: the images, as `fit` got them.
            y: their labels, or None.
        """

    def after_fit(self) -> None:
        """What a family does after the last step of `fit`; nothing here."""

    def reduce_loss(
        self,
        losses: tf.Tensor,
        weights: tf.Tensor | None = None,
        network: keras.Layer | None = None,
    ) -> tf.Tensor:
        """The scalar that a step minimizes: Σ w·l / B, and the regularizers of the network.

        B is the number of images of all replicas. Over several replicas, a step is that of a single
        device with the batch of all replicas, up to rounding: loss, gradient, clipping and logged
        values count each image alike, however many of them each replica has.

        Args:
            losses: the loss l of each image, `[B]` of this replica.
            weights: sample weights w, `[B]`; None: 1.
            network: the network that the loss trains, which this step has called; None: the model.
        """
        return replicas.mean_loss(losses, weights, self if network is None else network)

    def minimize(self, loss: tf.Tensor, tape: tf.GradientTape) -> None:
        """One training step: moves all trainable weights and the EMA, counts the step.

        Args:
            loss: scalar, the result of `reduce_loss`.
            tape: the tape that recorded the loss.
        """
        gradients = self.descend(loss, tape, self.optimizer, self.trainable_variables)
        if self._average is not None:
            self._average.update(self.step.value)
        self.count_step(loss, *gradients)

    def descend(
        self,
        loss: tf.Tensor,
        tape: tf.GradientTape,
        optimizer: Any,
        variables: Sequence[keras.Variable],
    ) -> list[tf.Tensor]:
        """One step of an optimizer down the gradient of a loss, its mean over the replicas.

        The optimizer gets, and clips, the gradient of the whole batch.

        The update waits until the loss is known, and thus until every pass of the step has read the
        weights. TensorFlow's graph optimizer drops the edges by which an update waits for reads of
        its variable. Usually the gradient itself needs these reads. The gradient of a loss that is
        linear in the last layer does not: a pass of the critic could then read that layer after its
        update.

        Args:
            loss: scalar, the result of `reduce_loss`.
            tape: the tape that recorded the loss.
            optimizer: an optimizer of the model.
            variables: the variables that the optimizer moves.

        Returns:
            The gradients of this replica, `[len(variables)]`, each of the shape of its variable.
        """
        scale = optimizer.scale_loss(tf.ones_like(loss)) / replicas.count()
        gradients = tape.gradient(loss, variables, output_gradients=scale)
        overrides.apply_sums(optimizer, replicas.total(gradients), variables, after=loss)
        return [gradient for gradient in gradients if gradient is not None]

    def count_step(self, *after: tf.Tensor) -> None:
        """Counts a training step once its loss is known, and all that depends on its number.

        At the end of a data set of unknown length, Keras starts one more step. It fails for lack of
        a batch, but what does not need the batch could still run.

        Args:
            after: the loss, and tensors for which the step reads `step`, such as gradients of a
                loss whose weights change with the steps.
        """
        with tf.control_dependencies(after):
            self.step.assign_add(1)

    def track_average(self, variables: Sequence[keras.Variable], decay: float) -> None:
        """Adds an EMA that evaluation and sampling use.

        Args:
            variables: the weights to average.
            decay: of a step; 0 adds no EMA.
        """
        if decay:
            self._average = MovingAverage(self, variables, decay)

    def averaged(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which the weights read as their EMA, if there is one."""
        return self._average.scope() if self._average is not None else contextlib.nullcontext()

    def accumulate(self, weights: tf.Tensor | None = None, /, **values: tf.Tensor) -> None:
        """Adds a batch's values `[B]` to the metrics; arguments as for `log`."""
        for name, value in values.items():
            self._means[name].update_state(value, weights)

    def log(self, weights: tf.Tensor | None = None, /, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Adds a batch's values `[B]` to the metrics; returns what a step returns.

        A logged value is the mean Σ w·v / Σ w over all images so far, those of all replicas; 0 if
        all weights are 0.

        Args:
            weights: sample weights w, `[B]`; None: 1.
            **values: values v by the names in `logged`.
        """
        self.accumulate(weights, **values)
        results: dict[str, tf.Tensor] = replicas.merged(self.get_metrics_result)
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            # Keras averages the workers' logs along their first axis, which a scalar lacks.
            results = {name: value[None] for name, value in results.items()}
        return results

    # --- saving ---------------------------------------------------------------------------

    @property
    def weights(self) -> list[keras.Variable]:
        """The weights, the EMA among them, without the counts of steps and of dropout's calls.

        Thus `set_weights`, with which `EarlyStopping(restore_best_weights=True)` goes back to
        earlier weights, leaves these counts where they are, as Keras leaves those of the optimizer
        and of its own dropout.
        """
        dropouts = (part for part in overrides.all_layers(self) if isinstance(part, Dropout))
        counts = [getattr(part, "calls", None) for part in dropouts]
        excluded = {id(count) for count in (getattr(self, "step", None), *counts)}
        return [weight for weight in super().weights if id(weight) not in excluded]

    def saved_weights(self) -> list[keras.Variable]:
        """The weights and these counts, in the order of a checkpoint."""
        return list(super().weights)

    def start_from(self, source: "ImageModel") -> None:
        """Takes over the weights of another model, so that training starts from them.

        They are the weights with which `source` is evaluated: their EMA, if it has one. The EMA of
        this model starts at them. Optimizers and counts of steps stay as they are.

        Args:
            source: a model of tfgen with networks of the same shapes.

        Raises:
            UsageError: it is no such model, or its weights have other shapes.
        """
        if not isinstance(source, ImageModel):
            text = f"a training cannot start from a {type(source).__name__}; pass a model of tfgen"
            raise UsageError(f"{text}, or use tfgen-train --start-from for a published version")
        own, values = self._network_weights(), source._network_weights()
        if [tuple(value.shape) for value in values] != [tuple(weight.shape) for weight in own]:
            there, here = type(source).__name__, type(self).__name__
            if there != here:
                raise UsageError(f"the weights to start from are of a {there}, not of a {here}")
            theirs, ours = vars(source.config), vars(self.config)
            names = [name for name, value in ours.items() if theirs[name] != value]
            settings = [f"{name} = {theirs[name]} there, {ours[name]} here" for name in names]
            text = "the weights to start from have other shapes; settings that differ"
            raise UsageError(f"{text}: {'; '.join(settings) or 'none'}")
        averages = source.averages_by_weight
        for weight, value in zip(own, values, strict=True):
            weight.assign(averages.get(id(value), value).value)
        if self._average is not None:
            self._average.start()

    @property
    def averages_by_weight(self) -> dict[int, Any]:
        """The EMA of each weight that has one, by the weight's `id`."""
        return {} if self._average is None else self._average.by_variable

    def _network_weights(self) -> list[keras.Variable]:
        """The weights without their EMA, counts and seeds."""
        excluded = {id(average) for average in self.averages_by_weight.values()}
        is_float = keras.backend.is_float_dtype
        return [w for w in self.weights if id(w) not in excluded and is_float(w.dtype)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the caller's own parts included."""
        serialize = keras.saving.serialize_keras_object
        parts = {name: serialize(part) for name, part in self._own_parts.items()}
        own = {"seed": self.seed, "name": self.name, "dtype": serialize(self.dtype_policy)}
        return {**self.config.to_json(), **own, **parts}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model that `get_config` describes, untrained."""
        deserialize = keras.saving.deserialize_keras_object
        return cls(**{name: deserialize(value) for name, value in config.items()})

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the saved model was compiled; part of `keras.saving.load_model`."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def export(self, filepath: str | Path, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """Writes a SavedModel of the model's `signatures`, in float32 whatever its policy.

        `tf.saved_model.load(filepath).signatures` runs it where TensorFlow alone is installed.

        Args:
            filepath: folder of the SavedModel; one that is there already is replaced.
            format: `tf_saved_model`.
            **kwargs: further arguments of `keras.Model.export`, which are not used.

        Raises:
            UsageError: another format is passed, the folder holds something else, or the caller's
                own network cannot be rebuilt in float32.
        """
        if format != "tf_saved_model":
            raise UsageError(f"export cannot write the format {format!r}; use 'tf_saved_model'")
        export.replace_saved_model(self, Path(filepath))
