"""Features of images, which the metrics of samples are computed from, and a network for them.

The network is a fixed random one, for images without a classifier. Naeem, Oh, Uh, Choi & Yoo 2020
("Reliable fidelity and diversity metrics for generative models") take features from a randomly
initialized network where those of ImageNet do not fit. This one is small. Its weights are drawn
from a seed that never changes.
"""

import abc
import hashlib
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfgen.data.pictures import resize
from tfgen.errors import UsageError, size_text
from tfgen.evaluation.coverage import NEIGHBOURS
from tfgen.evaluation.job import LEAST_RANKED, Advance, silent
from tfgen.sampling import batches

# Channels of the layers. Width, depth, pooling and the number of features were chosen by how well
# the metrics order degraded images; docs/judge.md has the table.
WIDTHS = (16, 32, 64, 128)
FEATURES = 64
# Images per feature: with fewer, a covariance is mostly noise.
PER_FEATURE = 4
# A larger image is reduced to this length of its longer side.
MAX_SIDE = 64
_KERNEL, _CHANNELS, _SEED = 3, 3, 0
# A part of the hash; it changes when the computation changes.
_COMPUTATION = b"random network 1"
# Keeps an image of one colour from a division by zero.
_EPSILON = 1e-3


class ImageFeatures(NamedTuple):
    """What an extractor computes from N images.

    Attributes:
        features: `float32[N, D]`.
        classes: the most likely class of each image, `int64[N]`; None of an extractor that is no
            classifier.
    """

    features: np.ndarray
    classes: np.ndarray | None


class Extractor(abc.ABC):
    """A network that extracts features.

    Attributes:
        name: for tables.
        key: under which an evaluation holds the description, `classifier` or `features`.
        batch_size: number of images that `compute` gets at once.
        needs_covariance: whether images that are too few for the FID are refused.
    """

    name: str
    key = "features"
    batch_size = 250
    needs_covariance = True

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """Name, and a hash of all that decides the features; metrics compare only if it is equal.

        For JSON; the hash is under `sha256`.
        """

    @abc.abstractmethod
    def dimensions(self, shape: tuple[int, ...]) -> int:
        """Length of the feature vector of images of `shape`, `(height, width, channels)`."""

    @abc.abstractmethod
    def compute(self, images: np.ndarray) -> ImageFeatures:
        """Features of a batch, and their classes if there are some.

        Args:
            images: `uint8[B, H, W, C]`, at most `batch_size` of them.
        """

    def num_modes(self, shape: tuple[int, ...]) -> int:
        """Number of classes of images of `shape`, `(height, width, channels)`; 0: no classes."""
        return 0

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Refuse images that the network cannot take; by default, those neither grey nor RGB.

        Args:
            shape: height, width, channels.

        Raises:
            UsageError: it takes other ones.
        """
        if shape[2] not in (1, 3):
            raise UsageError(f"{self.name} takes grey or RGB images, not {size_text(shape)}")

    def check_count(self, n: int, shape: tuple[int, ...]) -> None:
        """Refuse too few images for the metrics, before any sample is drawn.

        Args:
            n: number of images.
            shape: height, width, channels.

        Raises:
            UsageError: the covariance of the features would be singular, or there are fewer
                neighbours than the metrics need.
        """
        least = max(self.dimensions(shape) if self.needs_covariance else 0, NEIGHBOURS) + 1
        if n < least:
            ranked = f"{LEAST_RANKED} for metrics that can be ranked"
            raise UsageError(f"too few images, {n}; pass at least {least} images, or {ranked}")

    def extract(self, images: np.ndarray, advance: Advance = silent) -> ImageFeatures:
        """Features of images, and their classes if there are some.

        Args:
            images: that `check_images` accepts, `uint8[N, H, W, C]`.
            advance: called with the number of images that were just done.
        """
        parts = []
        for part in batches(len(images), self.batch_size):
            parts.append(self.compute(images[part]))
            advance(part.stop - part.start)
        features, classes = zip(*parts, strict=True)
        joined = None if classes[0] is None else np.concatenate(classes)
        return ImageFeatures(np.concatenate(features), joined)


class RandomNetwork(Extractor):
    """A convolutional network with fixed random weights.

    Each layer is a 3 × 3 convolution, divided by its root mean square over the image, and a ReLU;
    it halves the sides of the layer before by average pooling. The features are the channels of all
    layers, averaged over the image, and projected at random to fewer ones. The filters have the
    mean 0: they see edges, not brightness. Grey images are seen as RGB with three equal channels.

    Args:
        n: number of images; with fewer than 256 there are n / 4 features.
    """

    def __init__(self, n: int):
        self.name = "random network"
        self._kernels, self._projection = draw_weights(min(FEATURES, max(1, n // PER_FEATURE)))
        self._function = tf.function(self._compute, reduce_retracing=True)

    def identity(self) -> dict[str, Any]:
        """Name, number of features, and the hash of the weights and of what is computed of them."""
        digest = hashlib.sha256(_COMPUTATION)
        for weights in (*self._kernels, self._projection):
            # Little-endian, so that the hash does not depend on the machine's byte order.
            digest.update(np.ascontiguousarray(weights, "<f4").data)
        return {"name": self.name, "sha256": digest.hexdigest(), "features": self.dimensions(())}

    def dimensions(self, shape: tuple[int, ...]) -> int:
        """Number of features."""
        return int(self._projection.shape[1])

    def compute(self, images: np.ndarray) -> ImageFeatures:
        """Features of `uint8[B, H, W, C]`."""
        images = _reduce(images)
        rgb = images.repeat(_CHANNELS // images.shape[3], axis=3)
        return ImageFeatures(self._function(tf.constant(rgb)).numpy(), None)

    def _compute(self, images: tf.Tensor) -> tf.Tensor:
        """Features `float32[B, D]` of `uint8[B, H, W, 3]`."""
        maps = tf.cast(images, tf.float32) / 127.5 - 1
        means = []
        for index, kernel in enumerate(self._kernels):
            if index:
                maps = tf.nn.avg_pool2d(maps, 2, 2, "SAME")
            # A border copied from the edge: zeros would be an edge of their own.
            maps = tf.pad(maps, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
            maps = tf.nn.conv2d(maps, kernel, 1, "VALID")
            power = tf.reduce_mean(maps**2, [1, 2, 3], keepdims=True)
            maps = tf.nn.relu(maps * tf.math.rsqrt(power + _EPSILON))
            means.append(tf.reduce_mean(maps, [1, 2]))
        return tf.concat(means, 1) @ self._projection


def draw_weights(features: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The kernels `float32[3, 3, C, D]`, and the projection `float32[channels, features]`.

    Uniform (He et al. 2015), from the raw words of PCG64, whose stream numpy keeps. All arithmetic
    before the last rounding is in integers, so that the weights are bit-equal on every machine.

    Args:
        features: number of features; fewer are the first ones of more.
    """
    bits = np.random.PCG64(_SEED)
    kernels, channels = [], _CHANNELS
    for width in WIDTHS:
        words = _signed_words(bits, (_KERNEL, _KERNEL, channels, width))
        words = words * _KERNEL**2 - words.sum((0, 1))
        kernels.append(_scaled(words, _KERNEL**2, channels * _KERNEL**2))
        channels = width
    words = _signed_words(bits, (FEATURES, sum(WIDTHS)))[:features].T
    return kernels, _scaled(words, 1, sum(WIDTHS))


def _signed_words(bits: np.random.PCG64, shape: tuple[int, ...]) -> np.ndarray:
    """Random integers, odd and uniform in −2²⁴…2²⁴: `int64[shape]`."""
    words = bits.random_raw(math.prod(shape)) >> np.uint64(40)
    return (2 * words.astype(np.int64) + 1 - 2**24).reshape(shape)


def _scaled(words: np.ndarray, factor: int, fan_in: int) -> np.ndarray:
    """Uniform integers times `factor` as weights of the variance 2 / fan_in, in float32."""
    return (words * (math.sqrt(6 / fan_in) / (factor * 2**24))).astype(np.float32)


def _reduce(images: np.ndarray) -> np.ndarray:
    """Images with sides of at most `MAX_SIDE` pixels; the aspect ratio stays."""
    height, width = images.shape[1:3]
    longest = max(height, width)
    if longest <= MAX_SIDE:
        return images
    height, width = (max(1, round(side * MAX_SIDE / longest)) for side in (height, width))
    return np.stack([resize(image, (height, width), "stretch") for image in images])
