"""A bijector with its two directions exchanged."""

import tensorflow as tf

from tfgen.bijectors.base import Bijector


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
