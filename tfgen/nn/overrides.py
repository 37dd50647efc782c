"""The private names of Keras and tf2onnx that tfgen overrides or reads, each with its reason.

Those of Keras's Adam are in `tfgen.nn.cpu.Adam`.
"""

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.nn import replicas


def uninitialized_variable(shape: Any, dtype: Any, trainable: bool | None) -> tf.Variable:
    """A variable without a value and so without memory; TensorFlow has no public one."""
    from tensorflow.python.ops.resource_variable_ops import UninitializedVariable

    return UninitializedVariable(shape=shape, dtype=dtype, trainable=trainable)


class Model(keras.Model):
    """Keras's model; checks each batch outside of XLA, and builds nothing in `fit`."""

    def _compile_anew(self, compared: tuple[Any, Any] | None, **kwargs: Any) -> None:
        """Compiles without the metrics of an earlier call, which Keras would keep.

        The variables of the metrics are created for `compared`, targets and predictions, if there
        are any: a replica's step cannot create them.
        """
        self._compile_metrics = None
        super().compile(**kwargs)
        metrics: Any = self._compile_metrics
        if compared is not None:
            metrics.build(*compared)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Keras's metrics, without the mean of the loss that Keras itself computes."""
        return [m for m in super().metrics if m is not getattr(self, "_loss_tracker", None)]

    def batch_checks(self, data: Any) -> list[tf.Operation]:
        """The operations that fail if something is wrong with a batch; by default none."""
        return []

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing: the constructor and `compile` build everything.

        Keras would average a batch over the workers to learn its shape, which fails for `uint8`.
        """

    def _autoconvert_optionals(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Checks a batch before the step of training, evaluation or prediction that gets it.

        XLA drops the assertions of a step that it compiles. This is the only method that wraps a
        step from outside.
        """

        def checked(data: Any) -> Any:
            with tf.control_dependencies(self.batch_checks(data)):
                return step(data)

        return super()._autoconvert_optionals(checked)


def all_layers(layer: keras.Layer) -> list[keras.Layer]:
    """A layer and the layers within it, at any depth; Keras's public names show only some."""
    return layer._flatten_layers()


def built_to_be_trained(layer: keras.Layer) -> set[int]:
    """The `id` of each weight that a layer has for training, also while it is frozen."""
    return {id(weight) for part in all_layers(layer) for weight in part._trainable_variables}


@keras.saving.register_keras_serializable(package="tfgen")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer; `synchronized=True` takes the moments of exactly the images of all replicas.

    Ioffe & Szegedy 2015, "Batch normalization". Over several replicas, Keras's layer also counts
    the image that a replica computes in place of none, and its variance E[x²] − E[x]² loses digits.
    """

    def _moments(self, inputs: tf.Tensor, mask: Any) -> tuple[tf.Tensor, tf.Tensor]:
        if not self.synchronized or mask is not None or replicas.context() is None:
            moments: tuple[tf.Tensor, tf.Tensor] = super()._moments(inputs, mask)
            return moments
        present, axes = replicas.are_present(), self._reduction_axes
        weight = 1 if present is None else tf.cast(present, inputs.dtype)

        def total(values: tf.Tensor) -> tf.Tensor:
            return replicas.total(weight * tf.reduce_sum(values, axes, keepdims=True))

        count = total(tf.ones_like(inputs))
        mean = total(inputs) / count
        variance = total((inputs - mean) ** 2) / count
        return tf.squeeze(mean, axes), tf.squeeze(variance, axes)


def apply_sums(
    optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any], after: tf.Tensor
) -> None:
    """A step of an optimizer by gradients that are already summed over the replicas.

    Keras's optimizer clips the gradients of each replica before it sums them. A loss-scale
    optimizer looks at those of the first replica alone, to see whether they are finite.

    Args:
        optimizer: an optimizer of Keras.
        gradients: results of `replicas.total`, one for each variable.
        variables: the variables that the optimizer moves.
        after: the step waits for this tensor.
    """

    def apply(gradients: Sequence[Any], after: tf.Tensor) -> None:
        with tf.control_dependencies([after]):
            optimizer.apply(gradients, variables)

    replica = replicas.context()
    if replica is None:
        apply(gradients, after)
        return

    def together(strategy: Any, gradients: Any, after: Any) -> None:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        inner._all_reduce_sum_gradients = list  # does not sum them again
        try:
            replicas.on_each(strategy, apply, gradients, after)
        finally:
            del inner._all_reduce_sum_gradients

    replica.merge_call(together, args=(list(gradients), after))


def copy_onnx_graphs_alone() -> None:
    """Makes tf2onnx copy a graph without the graph around it, which takes most of the time.

    tf2onnx does not use that part of the copy.
    """
    import tf2onnx.graph

    def copy_alone(graph: Any, memo: dict[int, Any]) -> Any:
        duplicate = memo[id(graph)] = object.__new__(type(graph))
        outside = {"parent_graph": memo.get(id(graph.parent_graph))}
        vars(duplicate).update(copy.deepcopy(vars(graph) | outside, memo))
        return duplicate

    tf2onnx.graph.Graph.__deepcopy__ = copy_alone


@contextlib.contextmanager
def onnx_failures() -> Iterator[list[tuple[str, str, str]]]:
    """A context that collects the operations that tf2onnx cannot convert, which it only logs.

    Yields:
        A list that grows in the context: name of the node, TensorFlow's name of the operation, and
        the reason.
    """
    failures: list[tuple[str, str, str]] = []

    def collect(record: logging.LogRecord) -> bool:
        match record.args:
            case (str(node), str(operation)):  # "Tensorflow op [%s: %s] is not supported"
                failures.append((node, operation, "not in ONNX"))
            case (str(node), _, str(summary)) if record.exc_info:  # "Failed to convert node …"
                operation = summary.partition("OP=")[2].partition("\n")[0]
                failures.append((node, operation, str(record.exc_info[1])))
        return True

    logger = logging.getLogger("tf2onnx.tfonnx")
    logger.addFilter(collect)
    try:
        yield failures
    finally:
        logger.removeFilter(collect)
