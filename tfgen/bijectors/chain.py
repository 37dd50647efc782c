"""A chain of bijectors, each of which is evaluated once."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfgen.bijectors.base import Bijector, batch_shape


class Chain(Bijector):
    """The composition of several bijectors; `forward` applies the last one first.

    A bijector of TFP may be a member if its parameters have no batch shape. Its value and its
    log-determinant take one evaluation each.

    Args:
        bijectors: the members, from the data to the latents.
        name: name of the bijector.
    """

    def __init__(self, bijectors: Sequence[Any], name: str = "chain"):
        self.bijectors = list(bijectors)
        least, added = 0, 0
        for bijector in reversed(self.bijectors):
            least = max(least, bijector.forward_min_event_ndims - added)
            added += bijector.inverse_min_event_ndims - bijector.forward_min_event_ndims
        super().__init__(least, name, inverse_min_event_ndims=least + added)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ndims, log_dets = self.forward_min_event_ndims, []
        for bijector in reversed(self.bijectors):
            x, log_det = _forward(bijector, x, ndims)
            ndims += bijector.inverse_min_event_ndims - bijector.forward_min_event_ndims
            log_dets.append(log_det)
        return x, _total(log_dets, x, ndims)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ndims, log_dets = self.inverse_min_event_ndims, []
        for bijector in self.bijectors:
            y, log_det = _inverse(bijector, y, ndims)
            ndims += bijector.forward_min_event_ndims - bijector.inverse_min_event_ndims
            log_dets.append(log_det)
        return y, _total(log_dets, y, ndims)

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        for bijector in reversed(self.bijectors):
            shape = bijector.forward_event_shape(shape)
        return shape

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        for bijector in self.bijectors:
            shape = bijector.inverse_event_shape(shape)
        return shape

    def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        for bijector in reversed(self.bijectors):
            shape = bijector.forward_event_shape_tensor(shape)
        return shape

    def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        for bijector in self.bijectors:
            shape = bijector.inverse_event_shape_tensor(shape)
        return shape


def _forward(bijector: Any, x: tf.Tensor, event_ndims: int) -> tuple[tf.Tensor, tf.Tensor]:
    if isinstance(bijector, Bijector):
        return bijector.forward_and_log_det(x, event_ndims)
    return bijector.forward(x), bijector.forward_log_det_jacobian(x, event_ndims)


def _inverse(bijector: Any, y: tf.Tensor, event_ndims: int) -> tuple[tf.Tensor, tf.Tensor]:
    if isinstance(bijector, Bijector):
        return bijector.inverse_and_log_det(y, event_ndims)
    return bijector.inverse(y), bijector.inverse_log_det_jacobian(y, event_ndims)


def _total(log_dets: list[tf.Tensor], event: tf.Tensor, event_ndims: int) -> tf.Tensor:
    """The sum of the log-determinants; TFP's may be scalars, so the sum is broadcast."""
    return tf.broadcast_to(
        sum(log_dets, tf.zeros([], event.dtype)), batch_shape(event, event_ndims)
    )
