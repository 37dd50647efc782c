"""Random numbers per image seed: a counter-based generator in integers.

The latents of an image must be a function of its own seed, bit for bit, whatever the batch, the
process or the compiler. TensorFlow's stateless generators take one seed per call, and XLA computes
different numbers from it than the plain kernels do. tfgen therefore takes the bits from
Threefry-2x32 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"), and
a normal variate from the bits by a table of the normal quantile function, interpolated in fixed
point. A compiler may fuse a multiplication of floats with an addition, or use a different
logarithm, and so change the last bit; integers leave it no such choice.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Any

import numpy as np

from tfgen.system.quiet import LazyModule

# `image_seeds` needs no TensorFlow, so that a client of a server works without it.
tf: Any = LazyModule("tensorflow")

# Threefry-2x32: rotations and the parity constant of the key schedule (Salmon et al. 2011, table 3
# and the Random123 library's SKEIN_KS_PARITY32), 20 rounds.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_ROUNDS_OF_FOUR = 5

# A stream is the second word of the key: it separates the draws that a seed has for different
# purposes. A family defines its own streams where it draws. A stream is two letters in ASCII.
LATENTS = 0x6C61
PARTS = 0x7074
DRAWS = 0x6472

_SEGMENTS = 256  # table segments per octave of the tail probability; error below 1e-6
_FRACTION_BITS = 20  # of the position within a segment
_SCALE_BITS = 26  # fractional bits of the table's fixed point: |z| < 6.4 takes 29 bits


def image_seeds(seed: int, n: int, first: int = 0) -> np.ndarray:
    """The seeds of n images of a request, `int32[n]`; needs no TensorFlow.

    Consecutive integers from a start that is a hash of `seed`. The seeds of a request are distinct,
    and a larger n only appends to them. Two requests of 10 000 images overlap with
    probability 5e-6; those with the seeds 873 and 1079 share 6 280 images.

    Args:
        seed: seed of the whole request.
        n: number of images.
        first: index of the first of these images in the request.
    """
    start = int(np.random.SeedSequence(seed).generate_state(1)[0])
    indices = np.arange(first, first + n, dtype=np.int64)
    return ((start + indices) % 2**32).astype(np.uint32).view(np.int32)


def threefry2x32(
    key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers").

    Args:
        key: two tensors `uint32[…]` that broadcast against those of `counter`.
        counter: two tensors `uint32[…]`.

    Returns:
        Two tensors `uint32[…]` of the broadcast shape.
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
    return tf.bitwise.left_shift(x, tf.constant(bits, tf.uint32)) | _right(x, 32 - bits)


def _right(x: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(x, tf.constant(bits, x.dtype))


def random_bits(seeds: tf.Tensor, size: int, stream: int) -> tf.Tensor:
    """Random bits for each seed.

    Args:
        seeds: `int32[B]`; negative values are allowed.
        size: words per seed.
        stream: the purpose of the bits; different streams are independent.

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
    """Seeds for n draws per seed: `int32[B, n]` from `seeds`, `int32[B]`."""
    return tf.bitcast(random_bits(seeds, n, DRAWS), tf.int32)


def uniform(seeds: tf.Tensor, size: int, stream: int) -> tf.Tensor:
    """Uniform variates in [0, 1): `float32[B, size]`, multiples of 2^-24.

    Args:
        seeds: `int32[B]`.
        size: variates per seed.
        stream: see `random_bits`.
    """
    bits = tf.cast(_right(random_bits(seeds, size, stream), 8), tf.float32)
    return bits * tf.constant(2.0**-24, tf.float32)


def standard_normal(seeds: tf.Tensor, size: int, stream: int = LATENTS) -> tf.Tensor:
    """Standard normal variates, bit-equal for every batch, process and compiler.

    The first bit of a word is the sign. The remaining 31 bits u give the tail probability
    p = (2u + 1) / 2^33 in (0, 1/2). The leading bit of 2u + 1 selects an octave of the table, and
    the bits after it a segment of that octave.

    Args:
        seeds: `int32[B]`.
        size: variates per seed.
        stream: see `random_bits`.

    Returns:
        `float32[B, size]`, |z| < 6.4, within 1e-6 of the exact quantile.
    """
    bits = random_bits(seeds, size, stream)
    odd = tf.cast(tf.bitwise.left_shift(bits, tf.constant(1, tf.uint32)), tf.int64) + 1
    # float64 represents 32 bits exactly: its exponent is the octave, and the first bits of its
    # mantissa are the segment.
    pattern = tf.bitcast(tf.cast(odd, tf.float64), tf.int64)
    segment_bits = _SEGMENTS.bit_length() - 1
    cell = _right(pattern, 52 - segment_bits) - 1023 * _SEGMENTS
    fraction = _right(pattern, 52 - segment_bits - _FRACTION_BITS)
    fraction = tf.bitwise.bitwise_and(fraction, tf.constant((1 << _FRACTION_BITS) - 1, tf.int64))
    values, slopes = quantile_table()
    slope = tf.gather(tf.constant(slopes), cell)
    magnitude = tf.gather(tf.constant(values), cell) - _right(slope * fraction, _FRACTION_BITS)
    sign = 1 - 2 * tf.cast(_right(bits, 31), tf.int64)
    # The conversion rounds once and the product with a power of two is exact, so that every
    # compiler computes the same float.
    return tf.cast(sign * magnitude, tf.float32) * tf.constant(2.0**-_SCALE_BITS, tf.float32)


@functools.cache
def quantile_table() -> tuple[np.ndarray, np.ndarray]:
    """The table of `standard_normal`: |z| times 2^26 at the start of each segment of p in (0, 1/2).

    Returns:
        These values and their decreases over each segment, `int64[8192]` each; 256 segments for
        each of 32 octaves of p.
    """
    octaves, inverse = 32, NormalDist().inv_cdf
    edges = [
        -inverse((1 + s / _SEGMENTS) * 2.0 ** (octave - 33))
        for octave in range(octaves)
        for s in range(_SEGMENTS)
    ]
    fixed = np.round(np.array([*edges, 0.0]) * 2.0**_SCALE_BITS).astype(np.int64)
    return fixed[:-1], fixed[:-1] - fixed[1:]


class BatchNoise:
    """Noise for a whole batch, drawn by TensorFlow's own fast generators.

    Args:
        seed: `int32[2]`, as `tf.random.stateless_*` takes it. In training it is a function of the
            model's seed, the step and the replica.
    """

    def __init__(self, seed: tf.Tensor):
        self.seed = seed

    def uniform(
        self, batch: tf.Tensor, event_shape: tuple[int, ...], stream: int, dtype: str = "float32"
    ) -> tf.Tensor:
        """Uniform variates in [0, 1), `[batch, *event_shape]`, of `dtype`.

        Draws of different `stream` are independent.
        """
        seed = self._fold_in(stream)
        return tf.random.stateless_uniform((batch, *event_shape), seed, dtype=dtype)

    def normal(
        self, batch: tf.Tensor, event_shape: tuple[int, ...], stream: int, dtype: str = "float32"
    ) -> tf.Tensor:
        """Standard normal variates `[batch, *event_shape]`, of `dtype`; see `uniform`."""
        return tf.random.stateless_normal((batch, *event_shape), self._fold_in(stream), dtype=dtype)

    def part(self, index: int) -> BatchNoise:
        """The noise of part `index` of the batch, independent of that of all other parts."""
        return BatchNoise(self._fold_in(PARTS + index))

    def _fold_in(self, stream: int) -> tf.Tensor:
        return tf.random.experimental.stateless_fold_in(self.seed, stream)


class SeedNoise:
    """Noise of image seeds: row i is a function of `seeds[i]` alone.

    Args:
        seeds: `int32[B]`.
    """

    def __init__(self, seeds: tf.Tensor):
        self.seeds = seeds

    def uniform(
        self, batch: tf.Tensor, event_shape: tuple[int, ...], stream: int, dtype: str = "float32"
    ) -> tf.Tensor:
        """Uniform variates in [0, 1), `[B, *event_shape]`, of `dtype`; `batch` must be B.

        Draws of different `stream` are independent.
        """
        return self._shaped(uniform(self.seeds, math.prod(event_shape), stream), event_shape, dtype)

    def normal(
        self, batch: tf.Tensor, event_shape: tuple[int, ...], stream: int, dtype: str = "float32"
    ) -> tf.Tensor:
        """Standard normal variates `[B, *event_shape]`, of `dtype`; see `uniform`."""
        flat = standard_normal(self.seeds, math.prod(event_shape), stream)
        return self._shaped(flat, event_shape, dtype)

    def _shaped(self, flat: tf.Tensor, event_shape: tuple[int, ...], dtype: str) -> tf.Tensor:
        return tf.cast(tf.reshape(flat, (-1, *event_shape)), dtype)
