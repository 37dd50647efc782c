"""Differentiable augmentation of the discriminator's inputs, for small data sets.

Zhao, Liu, Lin, Zhu & Han 2020, "Differentiable augmentation for data-efficient GAN training". Real
and generated events are augmented alike, whenever the discriminator sees them in training, so that
it cannot learn few real images by heart. The generator's gradient passes through the augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfgen.random import BatchNoise
from tfgen.system.quiet import LazyModule

# `--help` lists the augmentations without importing TensorFlow.
tf: Any = LazyModule("tensorflow")

# Streams of noise; see `tfgen.random`. "co", "tr" and "cu" in ASCII.
_COLOR, _TRANSLATION, _CUTOUT = 0x636F, 0x7472, 0x6375
# Largest translation, and side of the square that is cut out, relative to the image's side.
_LARGEST_SHIFT, _CUT_SIDE = 1 / 8, 1 / 2


def augment(events: tf.Tensor, names: Sequence[str], noise: BatchNoise) -> tf.Tensor:
    """Augmented events, `[B, H, W, C]`.

    Args:
        events: `[B, H, W, C]` in −1…1.
        names: names of `AUGMENTATIONS`, which are applied in this order.
        noise: the source of all random numbers.
    """
    for name in names:
        events = AUGMENTATIONS[name](events, noise)
    return events


def color(events: tf.Tensor, noise: BatchNoise) -> tf.Tensor:
    """Events with another brightness, saturation and contrast.

    Adds a value in −½…½; multiplies the differences from the grey image by 0…2; and those from the
    mean of the whole image by ½…1½. Images of one channel have no saturation.
    """
    brightness, saturation, contrast = _uniforms(events, noise, _COLOR, 3)
    events += brightness - 0.5
    if events.shape[-1] > 1:
        events = _stretched(events, 2 * saturation, [3])
    return _stretched(events, 0.5 + contrast, [1, 2, 3])


def translation(events: tf.Tensor, noise: BatchNoise) -> tf.Tensor:
    """Events shifted by up to an eighth of each side; pixels of the edge are repeated.

    Therefore a flat background stays flat, whatever its colour; the zeros of the paper are grey in
    events of −1…1. A shift is a product with a matrix, whose gradient is faster than that of a
    gather.
    """
    down, right = _uniforms(events, noise, _TRANSLATION, 2)
    height, width = events.shape[1:3]
    rows, columns = _shift(down, height, events.dtype), _shift(right, width, events.dtype)
    return tf.einsum("bih,bhwc,bjw->bijc", rows, events, columns)


def cutout(events: tf.Tensor, noise: BatchNoise) -> tf.Tensor:
    """Events with a rectangle of zeros, half as high and wide as the image.

    Its center is anywhere in the image, so that a part of it may be outside.
    """
    down, right = _uniforms(events, noise, _CUTOUT, 2)
    height, width = events.shape[1:3]
    rows, columns = _cut(down, height, events.dtype), _cut(right, width, events.dtype)
    return events * (1 - rows[:, :, None, None] * columns[:, None, :, None])


AUGMENTATIONS = {"color": color, "translation": translation, "cutout": cutout}


def _uniforms(events: tf.Tensor, noise: BatchNoise, stream: int, count: int) -> list[tf.Tensor]:
    """Independent uniform variates in [0, 1), `[B, 1, 1, 1]` each."""
    draws = noise.uniform(tf.shape(events)[0], (count, 1, 1, 1), stream, events.dtype.name)
    return tf.unstack(draws, axis=1)


def _stretched(events: tf.Tensor, factor: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """Events whose differences from their mean over some axes are multiplied."""
    mean = tf.reduce_mean(events, axes, keepdims=True)
    return mean + factor * (events - mean)


def _shift(uniform: tf.Tensor, side: int, dtype: tf.DType) -> tf.Tensor:
    """Matrices that shift a side by whole pixels and repeat its ends, `[B, side, side]`."""
    largest = round(side * _LARGEST_SHIFT)
    shifts = tf.cast(tf.floor(uniform[:, 0, 0] * (2 * largest + 1)), tf.int32) - largest
    sources = tf.clip_by_value(tf.range(side) - shifts, 0, side - 1)
    return tf.one_hot(sources, side, dtype=dtype)


def _cut(uniform: tf.Tensor, side: int, dtype: tf.DType) -> tf.Tensor:
    """1 for each pixel of a side that is cut out, `[B, side]`."""
    length = round(side * _CUT_SIDE)
    center = tf.cast(tf.floor(uniform[:, 0, 0] * (side + 1)), tf.int32)
    first = center - length // 2
    pixels = tf.range(side)
    return tf.cast((pixels >= first) & (pixels < first + length), dtype)
