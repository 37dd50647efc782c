"""Bijectors that rearrange the elements of an event."""

import math
from collections.abc import Sequence

import tensorflow as tf

from tfgen.bijectors.base import Bijector, Reshaping, with_batch_of, zeros_for


class Unflatten(Reshaping):
    """Reshapes vectors of latents to events; its inverse flattens.

    Args:
        event_shape: shape of an event of y.
        name: name of the bijector.
    """

    def __init__(self, event_shape: Sequence[int], name: str = "unflatten"):
        super().__init__([math.prod(event_shape)], event_shape, name)

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
        name: name of the bijector.

    Raises:
        ValueError: a side is odd.
    """

    def __init__(self, image_shape: Sequence[int], name: str = "squeeze"):
        height, width, channels = image_shape
        if height % 2 or width % 2:
            raise ValueError(
                f"images of {height} × {width} cannot be squeezed; both sides must be even"
            )
        super().__init__([height // 2, width // 2, 4 * channels], image_shape, name)

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
        name: name of the bijector.

    Raises:
        ValueError: the number of channels is odd.
    """

    def __init__(self, inner: Bijector, image_shape: Sequence[int], name: str = "factor_out"):
        *sides, channels = image_shape
        if channels % 2:
            raise ValueError(
                f"of {channels} channels no half can be factored out; the number must be even"
            )
        self.inner = inner
        self._half_shape = (*sides, channels // 2)
        super().__init__([math.prod(image_shape)], image_shape, name)

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
