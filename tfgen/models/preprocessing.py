"""Preprocessing: from bytes to the event space of a model, and back."""

import math
from collections.abc import Callable
from typing import Any, Literal, Self, TypeAlias

import keras
import tensorflow as tf

from tfgen.bijectors import InverseLogit
from tfgen.random import BatchNoise, SeedNoise
from tfgen.sampling import check_image_bytes

# Streams of noise; see `tfgen.random`.
BINARIZATION = 0x6269
DEQUANTIZATION = 0x6471

Noise = BatchNoise | SeedNoise
# Labels of images with the batch first; None without classes.
Labels: TypeAlias = tf.Tensor | None
# Images, noise and a dtype → u in [0, 1], [B, H, W, C], and log q(u|x), [B].
Draw: TypeAlias = Callable[[tf.Tensor, Noise, str], tuple[tf.Tensor, tf.Tensor]]

# In float32, 255 plus this is less than 256; a larger u would round into the next byte.
_LARGEST_NOISE = 1 - 2.0**-16


def check_images(images: tf.Tensor) -> None:
    """Refuses images that are not bytes, by the rule of `sampling.check_image_bytes`.

    Raises:
        UsageError: the dtype is not `uint8`, or the rank is not 4 (a `ValueError`).
    """
    check_image_bytes(images.dtype.name, images.shape)


class _EventTransform:
    """Base of the transforms: events are the likely ones, and Keras can save the object."""

    def events(self, images: tf.Tensor, noise: Noise, dtype: str = "float32") -> tf.Tensor:
        """Events of `images`, of `dtype`; see `likely_events`. Needs no `noise`."""
        return self.likely_events(images, dtype)

    def likely_events(self, images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
        """The most probable events of `images`, of `dtype`."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The object whose `get_config` returned `config`."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="tfgen")
class Pixels(_EventTransform):
    """Bytes as events in [0, 1], binarized or not.

    Images are `uint8[B, H, W, C]`, events `[B, H, W, C]` of the dtype that is passed.

    Args:
        binarization: `dynamic` samples each pixel from Bernoulli(x / 255) at each call (stochastic
            binarization, Burda et al. 2015), `threshold` gives 1 for x ≥ 128 and 0 otherwise,
            `none` gives x / 255.
    """

    def __init__(self, binarization: Literal["dynamic", "threshold", "none"] = "dynamic"):
        self.binarization = binarization

    def events(self, images: tf.Tensor, noise: Noise, dtype: str = "float32") -> tf.Tensor:
        """Events `[B, H, W, C]` in [0, 1], of `dtype`, of bytes `images`; `noise` binarizes."""
        check_images(images)
        if self.binarization != "dynamic":
            return self.likely_events(images, dtype)
        grey = tf.cast(images, dtype) / 255
        draws = noise.uniform(tf.shape(images)[0], tuple(images.shape[1:]), BINARIZATION, dtype)
        return tf.cast(draws < grey, dtype)

    def likely_events(self, images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
        """The most probable events `[B, H, W, C]` of `images`, of `dtype`, without noise.

        `dynamic` uses a threshold of 1/2.
        """
        check_images(images)
        if self.binarization == "none":
            return tf.cast(images, dtype) / 255
        return tf.cast(images >= 128, dtype)

    def images(self, means: tf.Tensor) -> tf.Tensor:
        """Images `float32[B, H, W, C]` in 0…1 of the likelihood's means."""
        return tf.clip_by_value(tf.cast(means, tf.float32), 0.0, 1.0)


@keras.saving.register_keras_serializable(package="tfgen")
class SymmetricPixels(_EventTransform):
    """Bytes as events in [−1, 1], the range of a hyperbolic tangent, without noise."""

    def likely_events(self, images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
        """Events `[B, H, W, C]` in [−1, 1], of `dtype`, of `uint8` images."""
        check_images(images)
        return tf.cast(images, dtype) / 127.5 - 1

    def images(self, means: tf.Tensor) -> tf.Tensor:
        """Images `float32[B, H, W, C]` in 0…1 of the `means` of events."""
        return tf.clip_by_value((tf.cast(means, tf.float32) + 1) / 2, 0.0, 1.0)


@keras.saving.register_keras_serializable(package="tfgen")
class Dequantized(_EventTransform):
    """Bytes as real numbers: scaled logits of (x + u) / 256 with u uniform in [0, 1).

    The preprocessing of Dinh et al. 2016. A density fitted to integers could grow without bound at
    each of them. With u, E[log p(x + u)] is a lower bound on the log-probability of the byte x
    (Theis et al. 2016).

    Args:
        alpha: margin of the logit: a value y in [0, 1] becomes logit(alpha/2 + (1 − alpha) y).
        scale: factor of the logits.
    """

    levels = 256

    def __init__(self, alpha: float = 1e-5, scale: float = 1.0):
        self.alpha, self.scale = alpha, scale

    def events_and_log_det(
        self, images: tf.Tensor, noise: Noise, dtype: str = "float32", draw: Draw | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Events of images, and the correction of their log-density to that of bytes.

        Args:
            images: `uint8[B, H, W, C]`.
            noise: the source of u.
            dtype: dtype of the events.
            draw: draws u in [0, 1] and returns log q(u|x) with it; None draws a uniform u, for
                which log q is 0.

        Returns:
            Events `[B, H, W, C]`, and log|det ∂event/∂(x + u)| − log q(u|x) in nats, `[B]`.
        """
        check_images(images)
        if draw is None:
            shape, log_q = tuple(images.shape[1:]), 0.0
            u = noise.uniform(tf.shape(images)[0], shape, DEQUANTIZATION, dtype)
        else:
            u, log_q = draw(images, noise, dtype)
        events, log_det = self._transformed(tf.cast(images, dtype) + tf.minimum(u, _LARGEST_NOISE))
        return events, log_det - log_q

    def _transformed(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Events `[B, H, W, C]` of values in 0…256, and the log-determinant `[B]`."""
        logits, log_det = InverseLogit(self.alpha).inverse_and_log_det(values / self.levels, 3)
        factor = math.log(self.scale / self.levels)
        return self.scale * logits, log_det + math.prod(values.shape[1:]) * factor

    def events(self, images: tf.Tensor, noise: Noise, dtype: str = "float32") -> tf.Tensor:
        """Events `[B, H, W, C]`, real numbers, of `uint8` images; see `events_and_log_det`."""
        return self.events_and_log_det(images, noise, dtype)[0]

    def likely_events(self, images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
        """The events `[B, H, W, C]` of `images` with u = 1/2, of `dtype`, without noise."""
        check_images(images)
        return self._transformed(tf.cast(images, dtype) + 0.5)[0]

    def images(self, means: tf.Tensor) -> tf.Tensor:
        """Images `float32[B, H, W, C]` in 0…1 of `means`, integer multiples of 1/255."""
        logits = means / self.scale
        values = self.levels * InverseLogit(self.alpha).forward_and_log_det(logits, 0)[0]
        whole = tf.clip_by_value(tf.floor(values), 0, self.levels - 1)
        return tf.cast(whole, tf.float32) / (self.levels - 1)


@keras.saving.register_keras_serializable(package="tfgen")
class DequantizedPixels(Dequantized):
    """Bytes as real numbers in [−1, 1): (x + u) / 128 − 1 with u uniform in [0, 1).

    Otherwise as `Dequantized`: E[log p(x + u)] is a lower bound on the log-probability of the byte.
    """

    def __init__(self) -> None:
        """Has no argument."""

    def _transformed(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_det = tf.cast(-math.prod(values.shape[1:]) * math.log(self.levels / 2), values.dtype)
        return values / (self.levels / 2) - 1, tf.fill(tf.shape(values)[:1], log_det)

    def images(self, means: tf.Tensor) -> tf.Tensor:
        """Images `float32[B, H, W, C]` in 0…1 of `means`; 255 times them, rounded, are bytes."""
        values = (tf.cast(means, tf.float32) + 1) * (self.levels / 2) - 0.5
        return tf.clip_by_value(values / (self.levels - 1), 0.0, 1.0)


@keras.saving.register_keras_serializable(package="tfgen")
class Identity(_EventTransform):
    """Float events of any shape `[B, …]`, unchanged: for data that are not images.

    `noise` and `draw` are not used.
    """

    def events_and_log_det(
        self, images: tf.Tensor, noise: Noise, dtype: str = "float32", draw: Draw | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The input `images`, cast to `dtype`, and zeros `[B]`; see `Dequantized`."""
        events = tf.cast(images, dtype)
        return events, tf.zeros(tf.shape(events)[:1], dtype)

    def likely_events(self, images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
        """The input `images`, `[B, …]`, cast to `dtype`."""
        return tf.cast(images, dtype)

    def images(self, means: tf.Tensor) -> tf.Tensor:
        """The `means`, cast to `float32[B, …]`."""
        return tf.cast(means, tf.float32)


Preprocessing: TypeAlias = Pixels | SymmetricPixels | Dequantized | Identity
"""What turns the bytes of images into the events of a model, and events into images."""
