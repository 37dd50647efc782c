"""Bijectors made of others: a chain, each member evaluated once, and an inverse."""

from collections.abc import Sequence

import tensorflow as tf

from tfgen.bijectors.base import Bijector, batch_shape


class Chain(Bijector):
    """The composition of several bijectors; `forward` applies the last one first.

    Args:
        bijectors: the members, from the data to the latents.
        name: name of the bijector.
    """

    def __init__(self, bijectors: Sequence[Bijector], name: str = "chain"):
        self.bijectors = list(bijectors)
        least, added = 0, 0
        for bijector in reversed(self.bijectors):
            least = max(least, bijector.forward_min_event_ndims - added)
            added += bijector.inverse_min_event_ndims - bijector.forward_min_event_ndims
        super().__init__(least, name, inverse_min_event_ndims=least + added)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ndims, log_dets = self.forward_min_event_ndims, []
        for bijector in reversed(self.bijectors):
            x, log_det = bijector.forward_and_log_det(x, ndims)
            ndims += bijector.inverse_min_event_ndims - bijector.forward_min_event_ndims
            log_dets.append(log_det)
        return x, _total(log_dets, x, ndims)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ndims, log_dets = self.inverse_min_event_ndims, []
        for bijector in self.bijectors:
            y, log_det = bijector.inverse_and_log_det(y, ndims)
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


def _total(log_dets: list[tf.Tensor], event: tf.Tensor, event_ndims: int) -> tf.Tensor:
    """The sum of the log-determinants, of the batch's shape even if the chain is empty."""
    return tf.broadcast_to(
        sum(log_dets, tf.zeros([], event.dtype)), batch_shape(event, event_ndims)
    )


class Invert(Bijector):
    """`forward` is the `inverse` of another bijector, and `inverse` its `forward`.

    Use it where the fast direction of a bijector is needed as the other one.

    Args:
        bijector: the bijector to invert.
        name: name of the bijector.
    """

    def __init__(self, bijector: Bijector, name: str = "invert"):
        self.bijector = bijector
        super().__init__(
            bijector.inverse_min_event_ndims,
            name,
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

    def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return self.bijector.inverse_event_shape_tensor(shape)

    def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return self.bijector.forward_event_shape_tensor(shape)
