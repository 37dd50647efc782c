"""Masks: which part of an event a coupling changes, and which part is fixed."""

import abc

import tensorflow as tf

from tfgen.bijectors.base import with_batch_of


class Mask(abc.ABC):
    """Splits an event into a fixed part and a part that a coupling changes.

    Attributes:
        event_ndims: axes of an event and of its parts.
    """

    event_ndims: int

    @abc.abstractmethod
    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The fixed and the changed part of `[*batch, *event]`."""

    @abc.abstractmethod
    def merge(self, fixed: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """The event `[*batch, *event]` of its parts `fixed` and `changed`; undoes `split`."""


class Half(Mask):
    """Splits the last axis in two halves (Dinh et al. 2014, 2016).

    The last axis holds the elements of a vector or the channels of an image. If its size is odd,
    the first half is the smaller one.

    Args:
        event_ndims: axes of an event: 1 for vectors, 3 for images.
        swap: if False, the first half is fixed; if True, the second half is.
    """

    def __init__(self, event_ndims: int = 1, swap: bool = False):
        self.event_ndims, self.swap = event_ndims, swap

    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Splits `[…, C]` into parts of C // 2 and of C − C // 2.

        Raises:
            ValueError: C is less than 2.
        """
        size = event.shape[-1]
        if size < 2:
            raise ValueError(
                f"an event of shape {event.shape[-self.event_ndims :]} has no two halves; "
                "its last axis must be at least 2"
            )
        first, second = event[..., : size // 2], event[..., size // 2 :]
        return (second, first) if self.swap else (first, second)

    def merge(self, fixed: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """Concatenates the halves on the last axis."""
        return tf.concat([changed, fixed] if self.swap else [fixed, changed], axis=-1)


class Checkerboard(Mask):
    """Splits the pixels of an image like the squares of a checkerboard.

    Both parts are images of half the width: of every two neighbours in a row, one pixel belongs to
    the fixed part and one to the changed part (Dinh et al. 2016, figure 3).

    Args:
        swap: if False, the pixel at the top left is fixed; if True, it is changed.
    """

    event_ndims = 3

    def __init__(self, swap: bool = False):
        self.swap = swap

    def _left_is_fixed(self, height: int) -> tf.Tensor:
        """Whether the left pixel of a pair is the fixed one, for each row."""
        return tf.reshape(tf.range(height) % 2 == int(self.swap), [height, 1, 1])

    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Splits `[…, H, W, C]` into two parts of `[…, H, W / 2, C]`.

        Raises:
            ValueError: the width is odd.
        """
        height, width, channels = event.shape[-3:]
        if width % 2:
            raise ValueError(
                f"an image of odd width, {width}, has no checkerboard of two equal parts; "
                "the width must be even"
            )
        pairs = with_batch_of(event, [height, width // 2, 2, channels], 3)
        # unstack instead of slices, because the gradient of slices is slow.
        left, right = tf.unstack(pairs, axis=-2)
        left_is_fixed = self._left_is_fixed(height)
        return tf.where(left_is_fixed, left, right), tf.where(left_is_fixed, right, left)

    def merge(self, fixed: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """Puts the pixels back in their places."""
        height, half, channels = fixed.shape[-3:]
        left_is_fixed = self._left_is_fixed(height)
        left = tf.where(left_is_fixed, fixed, changed)
        right = tf.where(left_is_fixed, changed, fixed)
        pairs = tf.stack([left, right], axis=-2)
        return with_batch_of(pairs, [height, 2 * half, channels], 4)
