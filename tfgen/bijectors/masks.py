"""What a coupling leaves as it is, and what it changes."""

import abc

import tensorflow as tf

from tfgen.bijectors.base import with_batch_of


class Mask(abc.ABC):
    """Splits an event into the part that a coupling keeps and the part that it changes.

    Attributes:
        event_ndims: axes of an event and of its parts.
    """

    event_ndims: int

    @abc.abstractmethod
    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The kept and the changed part of `[*batch, *event]`."""

    @abc.abstractmethod
    def merge(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """The event of both parts; undoes `split`."""


class Half(Mask):
    """The last axis in two halves: of vectors, or of an image's channels (Dinh et al. 2014, 2016).

    The first half is kept, which is the smaller one of an odd number; with `swap` the second is.

    Args:
        event_ndims: axes of an event: 1 for vectors, 3 for images.
        swap: whether the second half is kept and the first changed.
    """

    def __init__(self, event_ndims: int = 1, swap: bool = False):
        self.event_ndims, self.swap = event_ndims, swap

    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`[…, C]` to `[…, C // 2]` and the rest.

        Raises:
            ValueError: there is nothing to split.
        """
        size = event.shape[-1]
        if size < 2:
            raise ValueError(
                f"an event of shape {event.shape[-self.event_ndims :]} has no two halves"
            )
        first, second = event[..., : size // 2], event[..., size // 2 :]
        return (second, first) if self.swap else (first, second)

    def merge(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """Side by side again."""
        return tf.concat([changed, kept] if self.swap else [kept, changed], axis=-1)


class Checkerboard(Mask):
    """Every other pixel of an image (Dinh et al. 2016, "Density estimation using Real NVP", figure
    3).

    The parts are images of half the width: each pair of neighbours in a row gives one pixel to
    either.

    Args:
        swap: the pixel at the top left is kept, with `swap` it is changed.
    """

    event_ndims = 3

    def __init__(self, swap: bool = False):
        self.swap = swap

    def _kept_is_first(self, height: int) -> tf.Tensor:
        """Whether the left pixel of a pair is the kept one, row by row."""
        return tf.reshape(tf.range(height) % 2 == int(self.swap), [height, 1, 1])

    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`[…, H, W, C]` to two of `[…, H, W / 2, C]`.

        Raises:
            ValueError: the width is odd.
        """
        height, width, channels = event.shape[-3:]
        if width % 2:
            raise ValueError(
                f"an image of odd width, {width}, has no checkerboard of two equal parts"
            )
        pairs = with_batch_of(event, [height, width // 2, 2, channels], 3)
        # Not slices: their gradient is slow.
        left, right = tf.unstack(pairs, axis=-2)
        first = self._kept_is_first(height)
        return tf.where(first, left, right), tf.where(first, right, left)

    def merge(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """In their places again."""
        height, half, channels = kept.shape[-3:]
        first = self._kept_is_first(height)
        pairs = tf.stack([tf.where(first, kept, changed), tf.where(first, changed, kept)], axis=-2)
        return with_batch_of(pairs, [height, 2 * half, channels], 4)
