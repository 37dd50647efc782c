"""What `compile` sets up for an image model: optimizers, metrics, and checks outside of XLA."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.models import batch
from tfgen.nn import precision
from tfgen.settings.model import ModelConfig


class CompilableModel(keras.Model):
    """The part of `ImageModel` that `compile` configures."""

    logged: tuple[str, ...] = ("loss",)
    config: ModelConfig
    _test_batch: tf.Variable
    _has_metrics = False
    # False while Keras wraps a step that uses no labels.
    _checks_labels = True

    def compared(self) -> tuple[keras.KerasTensor, keras.KerasTensor] | None:
        """Targets and predictions of metrics passed to `compile`, as symbols of their shapes.

        None: `compile` refuses metrics.
        """
        return None

    @property
    def num_classes(self) -> int:
        """Number of classes of a model that uses labels, 0 of any other model."""
        return getattr(self.config, "num_classes", 0)

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
        Optimizers are built here, because restoring into an unbuilt optimizer loses its slots. A
        line on standard error says if the machine lacks instructions for a 16-bit policy.

        Args:
            optimizer: the optimizer, or its name.
            jit_compile: whether to compile by XLA.
            **kwargs: further arguments of `keras.Model.compile`, among them `metrics` and
                `weighted_metrics` of a family that overrides `compared`.

        Raises:
            UsageError: `loss` or `loss_weights` is passed, metrics to a family that has nothing to
                compare, or a metric with the name of a logged value.
        """
        name = type(self).__name__
        for argument in ("loss", "loss_weights"):
            if kwargs.get(argument) is not None:
                raise UsageError(f"a {name} trains on its own loss; compile it without {argument}=")
        metrics = [key for key in ("metrics", "weighted_metrics") if kwargs.get(key)]
        compared = self.compared() if metrics else None
        if metrics and compared is None:
            raise UsageError(
                f"a {name} has no targets that {metrics[0]}= could compare; compile it without "
                f"them, it logs {', '.join(self.logged)}"
            )
        if tf.distribute.has_strategy() or kwargs.get("run_eagerly"):
            jit_compile = False
        if self.compute_dtype in ("bfloat16", "float16"):
            precision.warn_if_slow(self.compute_dtype)
        self._has_metrics = bool(metrics)
        self._compile_metrics = None  # Keras would keep those of an earlier `compile`
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        if compared is not None:
            # A replica's step cannot create the variables of a metric.
            compiled_metrics: Any = self._compile_metrics
            compiled_metrics.build(*compared)
            for metric in compiled_metrics.metrics:
                if metric.name in self.logged:
                    raise UsageError(
                        f"a {name} logs {metric.name} in any case; leave the metric out, or give "
                        "it another name"
                    )
        self.build_optimizers()

    def build_optimizers(self) -> None:
        """Creates the slots of all optimizers."""
        self.optimizer.build(self.trainable_variables)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing: the constructor and `compile` build everything.

        Keras would average a batch over the workers to learn its shape, which fails for `uint8`.
        """

    def _autoconvert_optionals(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Checks the labels of a batch before the step that gets it.

        XLA drops the assertions of a step that it compiles. Keras calls this to wrap a step of
        training, evaluation or prediction from outside.
        """
        if not self._checks_labels:
            return super()._autoconvert_optionals(step)

        def checked(data: Any) -> Any:
            labels = batch.split(data)[1] if self.num_classes else None
            # The replicas of a strategy check their own labels, without XLA.
            if labels is None or isinstance(labels, tf.distribute.DistributedValues):
                return step(data)
            with tf.control_dependencies(batch.label_checks(labels, self.num_classes)):
                return step(data)

        return super()._autoconvert_optionals(checked)

    # --- arrays of images without labels ------------------------------------------------

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.fit`, in which images without labels keep their sample weights."""
        call = inspect.signature(super().fit).bind(*args, **kwargs)
        held_out = call.arguments.get("validation_data")
        if isinstance(held_out, tuple | list) and len(held_out) == 3:
            x, y, weights = held_out
            call.arguments["validation_data"] = (x, self._targets(x, y, weights), weights)
        self._fill_targets(call)
        return super().fit(*call.args, **call.kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.evaluate`, in which images without labels keep their sample weights."""
        call = inspect.signature(super().evaluate).bind(*args, **kwargs)
        self._fill_targets(call)
        return super().evaluate(*call.args, **call.kwargs)

    def _fill_targets(self, call: inspect.BoundArguments) -> None:
        x, y, weights = (call.arguments.get(name) for name in ("x", "y", "sample_weight"))
        call.arguments["y"] = self._targets(x, y, weights)

    def _targets(self, x: Any, y: Any, weights: Any) -> Any:
        """y, or zeros that the model ignores: without y, Keras drops the weights of an array."""
        is_missing = y is None and weights is not None and hasattr(x, "shape")
        return np.zeros(len(x), np.int32) if is_missing and not self.num_classes else y

    # --- metrics ------------------------------------------------------------------------

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of `logged`, then those passed to `compile`; not Keras's own mean loss."""
        logged = list(getattr(self, "_means", {}).values())
        excluded = {id(metric) for metric in (*logged, getattr(self, "_loss_tracker", None))}
        return [*logged, *(metric for metric in super().metrics if id(metric) not in excluded)]

    def reset_metrics(self) -> None:
        """Resets metrics and the count of test batches; Keras calls it before each pass."""
        super().reset_metrics()
        self._test_batch.assign(0)

    def compare(
        self,
        data: Any,
        values: Callable[[], tuple[tf.Tensor, tf.Tensor]],
        weights: tf.Tensor | None = None,
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
