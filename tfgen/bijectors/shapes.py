"""Bijectors that rearrange the elements of an event."""

import math
from collections.abc import Sequence

import tensorflow as tf

from tfgen.bijectors.base import Bijector, batch_shape, with_batch_of


class Reshaping(Bijector):
    """Base class of bijectors that reshape events and preserve volumes.

    Args:
        inputs: shape of an event of x.
        outputs: shape of an event of y.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int]):
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        super().__init__(
            forward_min_event_ndims=len(self.inputs), inverse_min_event_ndims=len(self.outputs)
        )

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return shape[: shape.rank - len(self.inputs)] + self.outputs

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return shape[: shape.rank - len(self.outputs)] + self.inputs


def zeros_for(event: tf.Tensor, event_ndims: int) -> tf.Tensor:
    """The log-determinant of a map that preserves volumes: zeros."""
    return tf.zeros(batch_shape(event, event_ndims), event.dtype)


class Unflatten(Reshaping):
    """Reshapes vectors of latents to events; its inverse flattens.

    Args:
        event_shape: shape of an event of y.
    """

    def __init__(self, event_shape: Sequence[int]):
        super().__init__([math.prod(event_shape)], event_shape)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return with_batch_of(x, self.outputs, 1), zeros_for(x, 1)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ndims = len(self.outputs)
        return with_batch_of(y, self.inputs, ndims), zeros_for(y, ndims)


class Squeeze(Reshaping):
    """Its inverse maps `[H, W, C]` to `[H / 2, W / 2, 4 C]`.

    Each block of 2 × 2 pixels becomes one pixel with four times as many channels (Dinh et al. 2016,
    section 3.6).

    Args:
        image_shape: shape of y: height and width, both even, and channels.
    """

    def __init__(self, image_shape: Sequence[int]):
        height, width, channels = image_shape
        super().__init__([height // 2, width // 2, 4 * channels], image_shape)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        height, width, channels = self.outputs
        blocks = with_batch_of(x, [height // 2, width // 2, 2, 2, channels], 3)
        return with_batch_of(_swap_middle(blocks), self.outputs, 5), zeros_for(x, 3)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        height, width, channels = self.outputs
        blocks = with_batch_of(y, [height // 2, 2, width // 2, 2, channels], 3)
        return with_batch_of(_swap_middle(blocks), self.inputs, 5), zeros_for(y, 3)


def _swap_middle(blocks: tf.Tensor) -> tf.Tensor:
    """Transposes `[…, a, b, c, d, e]` to `[…, a, c, b, d, e]`."""
    before = blocks.shape.rank - 5
    order = [*range(before), *(before + i for i in (0, 2, 1, 3, 4))]
    return tf.transpose(blocks, order)


class FactorOut(Reshaping):
    """Factors out half of the channels as latents (Dinh et al. 2016, section 3.6).

    Its inverse maps the first half of the channels of `[H, W, C]` to latents by an inner bijector,
    flattens the second half, and concatenates both.

    Args:
        inner: maps vectors of latents to `[H, W, C / 2]`.
        image_shape: shape of y: height, width, and an even number of channels.
    """

    def __init__(self, inner: Bijector, image_shape: Sequence[int]):
        *sides, channels = image_shape
        self.inner, self._half_shape = inner, (*sides, channels // 2)
        super().__init__([math.prod(image_shape)], image_shape)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        latents, factored = tf.split(x, 2, axis=-1)
        inner, log_det = self.inner.forward_and_log_det(latents, 1)
        factored = with_batch_of(factored, self._half_shape, 1)
        return tf.concat([inner, factored], axis=-1), log_det

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inner, factored = tf.split(y, 2, axis=-1)
        latents, log_det = self.inner.inverse_and_log_det(inner, len(self._half_shape))
        factored = with_batch_of(factored, [math.prod(self._half_shape)], len(self._half_shape))
        return tf.concat([latents, factored], axis=-1), log_det
