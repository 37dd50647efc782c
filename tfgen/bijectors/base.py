"""The base class of all bijectors: value and log-determinant from one evaluation."""

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
    """Reshapes the last `event_ndims` axes to `shape` and keeps the axes before them."""
    return tf.reshape(event, tf.concat([batch_shape(event, event_ndims), list(shape)], axis=0))


def batch_shape(event: tf.Tensor, event_ndims: int) -> tf.Tensor:
    """The shape of the axes before the last `event_ndims`."""
    return tf.shape(event)[: event.shape.rank - event_ndims]


class Bijector(tfb.Bijector):
    """A `tfb.Bijector` that returns a value together with its log-determinant.

    TFP's `inverse` followed by `inverse_log_det_jacobian` evaluates a conditioner twice, and its
    gradient twice; `inverse_and_log_det` evaluates it once. A subclass implements
    `_forward_and_log_det` and `_inverse_and_log_det`. TFP's four methods follow from these two, so
    that a bijector also works in `tfb.Chain` and `tfd.TransformedDistribution`. TFP's `copy` and
    its equality by parameters are not supported.

    As in TFP, `forward` maps latents to data. A bijector receives its conditioner or variables as
    arguments; the caller owns them.

    Args:
        forward_min_event_ndims: the smallest number of axes of an event of x.
        name: name of the bijector.
        **kwargs: further arguments of `tfb.Bijector`.
    """

    def __init__(self, forward_min_event_ndims: int, name: str, **kwargs: Any):
        super().__init__(forward_min_event_ndims=forward_min_event_ndims, name=name, **kwargs)

    @abc.abstractmethod
    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """y, and log|det ∂y/∂x| without the last `forward_min_event_ndims` axes."""

    @abc.abstractmethod
    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """x, and log|det ∂x/∂y| without the last `inverse_min_event_ndims` axes."""

    def forward_and_log_det(self, x: tf.Tensor, event_ndims: int) -> tuple[tf.Tensor, tf.Tensor]:
        """`forward` and `forward_log_det_jacobian` from one evaluation.

        Args:
            x: float tensor `[*batch, *event]`.
            event_ndims: axes of an event of x, at least `forward_min_event_ndims`.

        Returns:
            y `[*batch, *event]` and log|det ∂y/∂x| `[*batch]`.

        Raises:
            ValueError: `event_ndims` is too small.
        """
        extra_ndims = self._extra_ndims(event_ndims, self.forward_min_event_ndims)
        y, log_det = self._forward_and_log_det(tf.convert_to_tensor(x))
        return y, sum_last(log_det, extra_ndims)

    def inverse_and_log_det(self, y: tf.Tensor, event_ndims: int) -> tuple[tf.Tensor, tf.Tensor]:
        """`inverse` and `inverse_log_det_jacobian` from one evaluation.

        Args:
            y: float tensor `[*batch, *event]`.
            event_ndims: axes of an event of y, at least `inverse_min_event_ndims`.

        Returns:
            x `[*batch, *event]` and log|det ∂x/∂y| `[*batch]`.

        Raises:
            ValueError: `event_ndims` is too small.
        """
        extra_ndims = self._extra_ndims(event_ndims, self.inverse_min_event_ndims)
        x, log_det = self._inverse_and_log_det(tf.convert_to_tensor(y))
        return x, sum_last(log_det, extra_ndims)

    def _extra_ndims(self, event_ndims: int, least: int) -> int:
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
    """Base class of bijectors that reshape events and preserve volumes.

    Args:
        inputs: shape of an event of x.
        outputs: shape of an event of y.
        name: name of the bijector.
    """

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
    """The log-determinant of a map that preserves volumes: zeros."""
    return tf.zeros(batch_shape(event, event_ndims), event.dtype)
