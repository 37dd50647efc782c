"""Per-image latents: a counter-based generator in integer tensor operations.

A latent must be a function of its image's own seed, bit for bit, whatever the batch, the process or
the compiler. TensorFlow's stateless generators take one seed a call, and XLA draws other numbers
from it than the plain kernels do. So the bits come from Threefry-2x32 (Salmon, Moraes, Dror & Shaw
2011, "Parallel random numbers: as easy as 1, 2, 3"), and the normal variate from the bits by a
table of the inverse normal distribution function, interpolated in fixed point: a compiler may fuse
a float multiplication with an addition, or take another logarithm, and change the last bit; it can
do no such thing to integers.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from tfgen.system.lazy import LazyModule

if TYPE_CHECKING:
    import tensorflow as tf
else:
    # A client of a server needs `image_seeds`, and no TensorFlow.
    tf = LazyModule("tensorflow")

# Threefry-2x32: rotations and the parity constant of the key schedule (Salmon et al. 2011, table 3
# and the Random123 library's SKEIN_KS_PARITY32), 20 rounds.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_ROUNDS_OF_FOUR = 5

# Streams keep draws of different purpose from one seed apart: the second word of the key. A family
# names its own where it draws; two letters in ASCII make a number that no other stream has.
LATENTS = 0x6C61
PARTS = 0x7074
DRAWS = 0x6472

_SEGMENTS = 256  # table segments an octave of the tail probability; error below 1e-6
_FRACTION_BITS = 20  # position inside a segment
_SCALE_BITS = 26  # fixed point of the table: |z| < 6.4 takes 29 bits


def image_seeds(seed: int, n: int) -> np.ndarray:
    """The seeds of the n images of one request, `int32[n]`; needs no TensorFlow.

    They are consecutive from a start that is hashed from `seed`: distinct within a request, the
    first ones the same for every n, and different for another `seed`.
    """
    start = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return ((start + np.arange(n, dtype=np.int64)) % 2**32).astype(np.uint32).view(np.int32)


def threefry2x32(
    key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Threefry-2x32 with 20 rounds.

    Args:
        key: two `uint32` tensors that broadcast against the counter's.
        counter: two `uint32` tensors.

    Returns:
        Two `uint32` tensors of the broadcast shape.
    """
    words = (key[0], key[1], key[0] ^ key[1] ^ tf.constant(_PARITY, tf.uint32))
    x0, x1 = counter[0] + words[0], counter[1] + words[1]
    for group in range(_ROUNDS_OF_FOUR):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = _rotate_left(x1, rotation) ^ x0
        x0 = x0 + words[(group + 1) % 3]
        x1 = x1 + words[(group + 2) % 3] + tf.constant(group + 1, tf.uint32)
    return x0, x1


def _rotate_left(x: tf.Tensor, bits: int) -> tf.Tensor:
    left = tf.bitwise.left_shift(x, tf.constant(bits, tf.uint32))
    return left | tf.bitwise.right_shift(x, tf.constant(32 - bits, tf.uint32))


def random_bits(seeds: tf.Tensor, size: int, stream: int) -> tf.Tensor:
    """Random bits for each seed.

    Args:
        seeds: `int32[B]`; any value, negative ones too.
        size: words a seed.
        stream: what the bits are for; draws of different streams are independent.

    Returns:
        `uint32[B, size]`; row i depends on `seeds[i]` alone.
    """
    pairs = (size + 1) // 2
    key = tf.bitcast(tf.convert_to_tensor(seeds, tf.int32), tf.uint32)[:, None]
    counter = tf.constant(np.arange(pairs, dtype=np.uint32))[None, :]
    zero = tf.constant(0, tf.uint32)
    x0, x1 = threefry2x32((key, tf.constant(stream, tf.uint32)), (counter, zero))
    return tf.concat([x0, x1], axis=1)[:, :size]


def seeds_of_draws(seeds: tf.Tensor, n: int) -> tf.Tensor:
    """Seeds of n draws for each seed: `int32[B, n]` from `int32[B]`."""
    return tf.bitcast(random_bits(seeds, n, DRAWS), tf.int32)


def uniform(seeds: tf.Tensor, size: int, stream: int) -> tf.Tensor:
    """Uniform variates in [0, 1), multiples of 2^-24: `float32[B, size]` from `seeds: int32[B]`."""
    bits = tf.bitwise.right_shift(random_bits(seeds, size, stream), tf.constant(8, tf.uint32))
    return tf.cast(bits, tf.float32) * tf.constant(2.0**-24, tf.float32)


def standard_normal(seeds: tf.Tensor, size: int, stream: int = LATENTS) -> tf.Tensor:
    """Standard normal variates, bit-equal for a seed in every batch, process and compiler.

    One bit of a word is the sign; the other 31 give the tail probability p = (2u + 1) / 2^33 in (0,
    1/2). Its leading bit chooses an octave of the table and the next ones a segment of it.

    Args:
        seeds: `int32[B]`.
        size: variates a seed.
        stream: see `random_bits`.

    Returns:
        `float32[B, size]`, within 1e-6 of the exact quantile, |z| < 6.4.
    """
    bits = random_bits(seeds, size, stream)
    odd = tf.cast(tf.bitwise.left_shift(bits, tf.constant(1, tf.uint32)), tf.int64) + 1
    # float64 holds 32 bits exactly: its exponent is the octave, its mantissa's first bits the
    # segment.
    pattern = tf.bitcast(tf.cast(odd, tf.float64), tf.int64)
    segment_bits = _SEGMENTS.bit_length() - 1
    cell = (
        tf.bitwise.right_shift(pattern, tf.constant(52 - segment_bits, tf.int64)) - 1023 * _SEGMENTS
    )
    fraction = tf.bitwise.right_shift(
        pattern, tf.constant(52 - segment_bits - _FRACTION_BITS, tf.int64)
    )
    fraction = tf.bitwise.bitwise_and(fraction, tf.constant((1 << _FRACTION_BITS) - 1, tf.int64))
    values, slopes = _quantile_table()
    slope = tf.gather(tf.constant(slopes), cell)
    step = tf.bitwise.right_shift(slope * fraction, tf.constant(_FRACTION_BITS, tf.int64))
    magnitude = tf.gather(tf.constant(values), cell) - step
    sign = 1 - 2 * tf.cast(tf.bitwise.right_shift(bits, tf.constant(31, tf.uint32)), tf.int64)
    # The conversion rounds once and the power of two is exact: no compiler has a choice here.
    return tf.cast(sign * magnitude, tf.float32) * tf.constant(2.0**-_SCALE_BITS, tf.float32)


@functools.cache
def _quantile_table() -> tuple[np.ndarray, np.ndarray]:
    """Fixed-point |z| at the start of each segment, and its fall over the segment, both `int64`."""
    octaves, inverse = 32, NormalDist().inv_cdf
    edges = [
        -inverse((1 + s / _SEGMENTS) * 2.0 ** (octave - 33))
        for octave in range(octaves)
        for s in range(_SEGMENTS)
    ]
    fixed = np.round(np.array([*edges, 0.0]) * 2.0**_SCALE_BITS).astype(np.int64)
    return fixed[:-1], fixed[:-1] - fixed[1:]


class BatchNoise:
    """Noise for one training or test batch: a function of (seed, step, replica), drawn fast.

    Args:
        seed: `int32[2]`, what `tf.random.stateless_*` takes.
    """

    def __init__(self, seed: tf.Tensor):
        self.seed = seed

    def uniform(
        self, batch: tf.Tensor, event_shape: tuple[int, ...], stream: int, dtype: str = "float32"
    ) -> tf.Tensor:
        """Uniform variates in [0, 1) of shape `[batch, *event_shape]`."""
        return tf.random.stateless_uniform((batch, *event_shape), self._folded(stream), dtype=dtype)

    def normal(
        self, batch: tf.Tensor, event_shape: tuple[int, ...], stream: int, dtype: str = "float32"
    ) -> tf.Tensor:
        """Standard normal variates of shape `[batch, *event_shape]`."""
        return tf.random.stateless_normal((batch, *event_shape), self._folded(stream), dtype=dtype)

    def part(self, index: int) -> BatchNoise:
        """The noise of one part of the batch, apart from that of the other parts."""
        return BatchNoise(self._folded(PARTS + index))

    def _folded(self, stream: int) -> tf.Tensor:
        return tf.random.experimental.stateless_fold_in(self.seed, stream)


class SeedNoise:
    """Noise for images with a seed each: row i is a function of `seeds[i]` alone, whatever the
    batch.

    Args:
        seeds: `int32[B]`.
    """

    def __init__(self, seeds: tf.Tensor):
        self.seeds = seeds

    def uniform(
        self, batch: tf.Tensor, event_shape: tuple[int, ...], stream: int, dtype: str = "float32"
    ) -> tf.Tensor:
        """Uniform variates in [0, 1) of shape `[B, *event_shape]`; `batch` is the seeds' own."""
        return self._shaped(uniform(self.seeds, math.prod(event_shape), stream), event_shape, dtype)

    def normal(
        self, batch: tf.Tensor, event_shape: tuple[int, ...], stream: int, dtype: str = "float32"
    ) -> tf.Tensor:
        """Standard normal variates of shape `[B, *event_shape]`; `batch` is the seeds' own."""
        return self._shaped(
            standard_normal(self.seeds, math.prod(event_shape), stream), event_shape, dtype
        )

    def _shaped(self, flat: tf.Tensor, event_shape: tuple[int, ...], dtype: str) -> tf.Tensor:
        return tf.cast(tf.reshape(flat, (-1, *event_shape)), dtype)
