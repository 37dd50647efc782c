"""What tfgen's bijectors add to TFP's: value and log-determinant from one evaluation."""

import abc
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

tfb: Any = tfp.bijectors


def sum_last(tensor: tf.Tensor, ndims: int) -> tf.Tensor:
    """Sums over the last `ndims` axes."""
    return tf.reduce_sum(tensor, axis=list(range(-ndims, 0))) if ndims else tensor


def with_batch_of(event: tf.Tensor, shape: Sequence[int], event_ndims: int) -> tf.Tensor:
    """Reshapes the last `event_ndims` axes to `shape`, whatever stands before them."""
    return tf.reshape(event, tf.concat([batch_shape(event, event_ndims), list(shape)], axis=0))


def batch_shape(event: tf.Tensor, event_ndims: int) -> tf.Tensor:
    """The shape before the last `event_ndims` axes."""
    return tf.shape(event)[: event.shape.rank - event_ndims]


class Bijector(tfb.Bijector):
    """A `tfb.Bijector` that gives a value together with its log-determinant.

    Calling TFP's `inverse` and then `inverse_log_det_jacobian` evaluates a conditioner twice, and
    its gradient twice; `inverse_and_log_det` does so once. A subclass implements the pair
    `_forward_and_log_det` and `_inverse_and_log_det`, and TFP's four methods come out of it; so it
    works in `tfb.Chain` and `tfd.TransformedDistribution`. TFP's `copy` and equality by parameters
    are not offered.

    `forward` generates, as in TFP: from latents to data. What a bijector needs besides numbers,
    such as a conditioner or variables, it receives; whoever makes it owns them.
    """

    def __init__(self, forward_min_event_ndims: int, name: str, **kwargs: Any):
        super().__init__(forward_min_event_ndims=forward_min_event_ndims, name=name, **kwargs)

    @abc.abstractmethod
    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """y and log|det ∂y/∂x|, summed over `forward_min_event_ndims` axes, of the batch's full
        shape."""

    @abc.abstractmethod
    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """x and log|det ∂x/∂y|, summed over `inverse_min_event_ndims` axes, of the batch's full
        shape."""

    def forward_and_log_det(self, x: tf.Tensor, event_ndims: int) -> tuple[tf.Tensor, tf.Tensor]:
        """`forward(x)` and `forward_log_det_jacobian(x, event_ndims)` from one evaluation.

        Args:
            x: float tensor `[*batch, *event]`.
            event_ndims: axes of an event of x, at least `forward_min_event_ndims`.

        Raises:
            ValueError: `event_ndims` is too small.
        """
        more = self._more_ndims(event_ndims, self.forward_min_event_ndims)
        y, log_det = self._forward_and_log_det(tf.convert_to_tensor(x))
        return y, sum_last(log_det, more)

    def inverse_and_log_det(self, y: tf.Tensor, event_ndims: int) -> tuple[tf.Tensor, tf.Tensor]:
        """`inverse(y)` and `inverse_log_det_jacobian(y, event_ndims)` from one evaluation.

        Args:
            y: float tensor `[*batch, *event]`.
            event_ndims: axes of an event of y, at least `inverse_min_event_ndims`.

        Raises:
            ValueError: `event_ndims` is too small.
        """
        more = self._more_ndims(event_ndims, self.inverse_min_event_ndims)
        x, log_det = self._inverse_and_log_det(tf.convert_to_tensor(y))
        return x, sum_last(log_det, more)

    def _more_ndims(self, event_ndims: int, least: int) -> int:
        if event_ndims < least:
            raise ValueError(
                f"event_ndims = {event_ndims} is too small for {self.name}; the least is {least}"
            )
        return event_ndims - least

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self._forward_and_log_det(x)[0]

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self._inverse_and_log_det(y)[0]

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return self._forward_and_log_det(x)[1]

    def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return self._inverse_and_log_det(y)[1]

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        # No parameter has a batch shape of its own.
        return {}


class Reshaping(Bijector):
    """A bijector of volume 1 that gives events of one fixed shape another: a base of some."""

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], name: str):
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        super().__init__(len(self.inputs), name, inverse_min_event_ndims=len(self.outputs))

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return shape[: shape.rank - len(self.inputs)] + self.outputs

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return shape[: shape.rank - len(self.outputs)] + self.inputs

    def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.concat([shape[: -len(self.inputs)], self.outputs], axis=0)

    def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.concat([shape[: -len(self.outputs)], self.inputs], axis=0)


def zeros_for(event: tf.Tensor, event_ndims: int) -> tf.Tensor:
    """The log-determinant of what keeps volumes: zeros of the batch's shape."""
    return tf.zeros(batch_shape(event, event_ndims), event.dtype)
