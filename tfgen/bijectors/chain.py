"""Composition that stays fused."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfgen.bijectors.base import Bijector, batch_shape


class Chain(Bijector):
    """`forward` applies the last bijector first, as `tfb.Chain` does, each in one evaluation.

    A bijector of TFP's own may be a member, if its parameters have no batch shape: it is asked for
    value and log-determinant one after the other.

    Args:
        bijectors: from data's end to the latents'.
        name: of the bijector.
    """

    def __init__(self, bijectors: Sequence[Any], name: str = "chain"):
        self.bijectors = list(bijectors)
        least, gained = 0, 0
        for bijector in reversed(self.bijectors):
            least = max(least, bijector.forward_min_event_ndims - gained)
            gained += bijector.inverse_min_event_ndims - bijector.forward_min_event_ndims
        super().__init__(least, name, inverse_min_event_ndims=least + gained)

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
    """Their sum, of the batch's full shape: TFP's own may be scalars where volumes are kept."""
    return tf.broadcast_to(
        sum(log_dets, tf.zeros([], event.dtype)), batch_shape(event, event_ndims)
    )
