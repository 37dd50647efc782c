"""The base class of all bijectors, a chain of several, and the inverse of one."""

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

    The arguments are those of `tfb.Bijector`; `forward_min_event_ndims` is the smallest number of
    axes of an event of x.
    """

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
            raise ValueError(f"event_ndims = {event_ndims} of {self.name}; the least is {least}")
        return event_ndims - least

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self._forward_and_log_det(x)[0]

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self._inverse_and_log_det(y)[0]

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return self._forward_and_log_det(x)[1]

    def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return self._inverse_and_log_det(y)[1]

    def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.constant(self._forward_event_shape(_static(shape)).as_list(), tf.int32)

    def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.constant(self._inverse_event_shape(_static(shape)).as_list(), tf.int32)

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        # No parameter has a batch shape of its own.
        return {}


def _static(shape: tf.Tensor) -> tf.TensorShape:
    """The shape of an event, which is always known."""
    return tf.TensorShape(tf.get_static_value(shape))


class Invert(Bijector):
    """`forward` is the `inverse` of another bijector, and `inverse` its `forward`.

    Use it where the fast direction of a bijector is needed as the other one.

    Args:
        bijector: the bijector to invert.
    """

    def __init__(self, bijector: Bijector):
        self.bijector = bijector
        super().__init__(
            forward_min_event_ndims=bijector.inverse_min_event_ndims,
            inverse_min_event_ndims=bijector.forward_min_event_ndims,
        )

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.bijector.inverse_and_log_det(x, self.forward_min_event_ndims)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.bijector.forward_and_log_det(y, self.inverse_min_event_ndims)

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return self.bijector.inverse_event_shape(shape)

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return self.bijector.forward_event_shape(shape)


class Chain(Bijector):
    """The composition of several bijectors; `forward` applies the last one first.

    Args:
        bijectors: the members, from the data to the latents.
    """

    def __init__(self, bijectors: Sequence[Bijector]):
        self.bijectors = list(bijectors)
        least, added = 0, 0
        for bijector in reversed(self.bijectors):
            least = max(least, bijector.forward_min_event_ndims - added)
            added += bijector.inverse_min_event_ndims - bijector.forward_min_event_ndims
        super().__init__(forward_min_event_ndims=least, inverse_min_event_ndims=least + added)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _apply(self.bijectors[::-1], x, self.forward_min_event_ndims)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _apply([*map(Invert, self.bijectors)], y, self.inverse_min_event_ndims)

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        for bijector in reversed(self.bijectors):
            shape = bijector.forward_event_shape(shape)
        return shape

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        for bijector in self.bijectors:
            shape = bijector.inverse_event_shape(shape)
        return shape


def _apply(chain: Sequence[Bijector], event: tf.Tensor, ndims: int) -> tuple[tf.Tensor, tf.Tensor]:
    """What an event becomes from member to member, and the sum of their log-determinants."""
    log_dets = []
    for bijector in chain:
        event, log_det = bijector.forward_and_log_det(event, ndims)
        ndims += bijector.inverse_min_event_ndims - bijector.forward_min_event_ndims
        log_dets.append(log_det)
    # Of the batch's shape even if there are no members.
    total = sum(log_dets, tf.zeros([], event.dtype))
    return event, tf.broadcast_to(total, batch_shape(event, ndims))
