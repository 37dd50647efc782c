"""From bytes to the event space of a model, and back: an object that the model owns."""

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import keras
import tensorflow as tf

from tfgen.bijectors import InverseLogit
from tfgen.random import BatchNoise, SeedNoise

# Streams of noise; see `tfgen.random`.
BINARIZATION = 0x6269
DEQUANTIZATION = 0x6471

Noise = BatchNoise | SeedNoise
# Of images, noise and a dtype: u in [0, 1], [B, H, W, C], and log q(u|x), [B].
Draw: TypeAlias = Callable[[tf.Tensor, Noise, str], tuple[tf.Tensor, tf.Tensor]]

# float32 tells 255 and this from 256; more would be rounded into the next byte.
_LARGEST_NOISE = 1 - 2.0**-16


def check_images(images: tf.Tensor) -> None:
    """Refuses what is not an image of bytes.

    A model of 0…255 that is fed 0…1 gives void likelihoods silently, so a float image is an error.

    Raises:
        ValueError: the dtype is not `uint8`, or the rank not 4.
    """
    if images.dtype != tf.uint8:
        raise ValueError(
            f"images are {images.dtype.name}; pass uint8 images of 0…255, shape [B, H, W, C] "
            "(for floats in 0…1: (images * 255).round().astype('uint8'))"
        )
    if images.shape.rank != 4:
        raise ValueError(
            f"images have shape {images.shape}; pass [B, H, W, C], for grey ones images[..., None]"
        )


@keras.saving.register_keras_serializable(package="tfgen")
class Pixels:
    """Grey or colour bytes as events in [0, 1], binarized or not.

    Args:
        binarization: `dynamic` draws each pixel as Bernoulli(x / 255) anew at each call (Burda et
            al. 2015 call it stochastic binarization), `threshold` sets pixels of 128 and more,
            `none` keeps grey.
    """

    def __init__(self, binarization: Literal["dynamic", "threshold", "none"] = "dynamic"):
        self.binarization = binarization

    def events(self, images: tf.Tensor, noise: Noise, dtype: str = "float32") -> tf.Tensor:
        """Events `[B, H, W, C]` in [0, 1] of `uint8` images; what is random comes from `noise`."""
        check_images(images)
        if self.binarization != "dynamic":
            return self.likely_events(images, dtype)
        grey = tf.cast(images, dtype) / 255
        draws = noise.uniform(tf.shape(images)[0], tuple(images.shape[1:]), BINARIZATION, dtype)
        return tf.cast(draws < grey, dtype)

    def likely_events(self, images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
        """The most probable events, with no noise: the grey values, or those binarized at 1/2."""
        check_images(images)
        if self.binarization == "none":
            return tf.cast(images, dtype) / 255
        return tf.cast(images >= 128, dtype)

    def images(self, means: tf.Tensor) -> tf.Tensor:
        """Images `float32` in 0…1 of the likelihood's means."""
        return tf.clip_by_value(tf.cast(means, tf.float32), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {"binarization": self.binarization}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Pixels":
        """The object that `get_config` describes."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="tfgen")
class SymmetricPixels:
    """Bytes as events in [−1, 1], the range of a hyperbolic tangent; nothing is random."""

    def events(self, images: tf.Tensor, noise: Noise, dtype: str = "float32") -> tf.Tensor:
        """Events `[B, H, W, C]` in [−1, 1] of `uint8` images."""
        return self.likely_events(images, dtype)

    def likely_events(self, images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
        """The same: there is no noise."""
        check_images(images)
        return tf.cast(images, dtype) / 127.5 - 1

    def images(self, means: tf.Tensor) -> tf.Tensor:
        """Images `float32` in 0…1 of events."""
        return tf.clip_by_value((tf.cast(means, tf.float32) + 1) / 2, 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Nothing: there are no settings."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SymmetricPixels":
        """The object that `get_config` describes."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="tfgen")
class Dequantized:
    """Bytes as real numbers: logits of (x + u) / 256 with u uniform in [0, 1) (Dinh et al. 2016).

    A density of whole numbers could grow without end at each of them. With u, E[log p(x + u)] is a
    lower bound on the log-probability of the byte x (Theis et al. 2016).

    Args:
        alpha: how far the logit keeps off 0 and 1.
    """

    levels = 256

    def __init__(self, alpha: float = 1e-5):
        self.alpha = alpha

    def events_and_log_det(
        self, images: tf.Tensor, noise: Noise, dtype: str = "float32", draw: Draw | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Events `[B, H, W, C]` of `uint8` images and log|det ∂event/∂(x + u)| − log q(u|x), `[B]`,
        in nats.

        Args:
            images: `uint8[B, H, W, C]`.
            noise: where u comes from.
            dtype: of the events.
            draw: gives u in [0, 1] and log q(u|x); None: uniform, log q = 0.
        """
        check_images(images)
        if draw is None:
            u, log_q = (
                noise.uniform(tf.shape(images)[0], tuple(images.shape[1:]), DEQUANTIZATION, dtype),
                0.0,
            )
        else:
            u, log_q = draw(images, noise, dtype)
        events, log_det = self._logits(tf.cast(images, dtype) + tf.minimum(u, _LARGEST_NOISE))
        return events, log_det - log_q

    def _logits(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        events, log_det = InverseLogit(self.alpha).inverse_and_log_det(values / self.levels, 3)
        return events, log_det - math.prod(values.shape[1:]) * math.log(self.levels)

    def events(
        self, images: tf.Tensor, noise: Noise, dtype: str = "float32", draw: Draw | None = None
    ) -> tf.Tensor:
        """Events `[B, H, W, C]`, any real numbers, of `uint8` images."""
        return self.events_and_log_det(images, noise, dtype, draw)[0]

    def likely_events(self, images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
        """Those with u = 1/2; there is no noise."""
        check_images(images)
        return self._logits(tf.cast(images, dtype) + 0.5)[0]

    def images(self, means: tf.Tensor) -> tf.Tensor:
        """Images `float32` in 0…1 of events, whole numbers of 1/255."""
        values = self.levels * InverseLogit(self.alpha).forward_and_log_det(means, 0)[0]
        whole = tf.clip_by_value(tf.floor(values), 0, self.levels - 1)
        return tf.cast(whole, tf.float32) / (self.levels - 1)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {"alpha": self.alpha}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Dequantized":
        """The object that `get_config` describes."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="tfgen")
class Identity:
    """Float events of any shape as they are: for densities on a line or a plane, where there are no
    bytes."""

    def events(
        self, images: tf.Tensor, noise: Noise, dtype: str = "float32", draw: Draw | None = None
    ) -> tf.Tensor:
        """The input, cast."""
        return tf.cast(images, dtype)

    def events_and_log_det(
        self, images: tf.Tensor, noise: Noise, dtype: str = "float32", draw: Draw | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The input, cast, and zeros `[B]`; nothing is drawn."""
        events = tf.cast(images, dtype)
        return events, tf.zeros(tf.shape(events)[:1], dtype)

    def likely_events(self, images: tf.Tensor, dtype: str = "float32") -> tf.Tensor:
        """The input, cast."""
        return tf.cast(images, dtype)

    def images(self, means: tf.Tensor) -> tf.Tensor:
        """The means as `float32`."""
        return tf.cast(means, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Nothing: there are no settings."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Identity":
        """The object that `get_config` describes."""
        return cls(**config)


Preprocessing: TypeAlias = Pixels | SymmetricPixels | Dequantized | Identity
