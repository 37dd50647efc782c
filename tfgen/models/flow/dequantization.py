"""Variational dequantization: noise that is learned, to suit the flow's density."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfgen.bijectors import AffineCoupling, Chain, Half, InverseLogit, Squeeze
from tfgen.models.flow.networks import gated_network
from tfgen.models.preprocessing import DEQUANTIZATION

COUPLINGS = 2


@keras.saving.register_keras_serializable(package="tfgen")
class VariationalDequantization(keras.layers.Layer):
    """Noise u ~ q(u|x) in (0, 1), itself a flow (Ho et al. 2019, "Flow++", section 3.1).

    log P(x) ≥ E[log p(x + u) − log q(u|x)] for every q, and uniform noise is the worst that is in
    use: a smooth density is not flat over each byte. Here u = σ(g(ε; x)) with ε standard normal and
    g affine couplings, on halves of the squeezed image's channels, whose conditioners see the image
    too.

    Args:
        image_shape: height and width, both even, and channels.
        channels: of the conditioners, of one gated block each.
        seed: of the initial weights.
        **kwargs: for `keras.layers.Layer`.
    """

    def __init__(self, image_shape: Any, channels: int = 16, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.image_shape, self.channels, self.seed = tuple(image_shape), channels, seed
        height, width, depth = self.image_shape
        self.conditioners = [
            gated_network(
                (height // 2, width // 2, 6 * depth),
                channels,
                1,
                4 * depth,
                seed=COUPLINGS * seed + index,
                dtype=self.dtype_policy,
                name=f"dequantization_{index}",
            )
            for index in range(COUPLINGS)
        ]
        self.built = True

    def draw(self, images: tf.Tensor, noise: Any, dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
        """u `[B, H, W, C]` of `uint8` images, and log q(u|x) in nats, `[B]`."""
        squeeze = Squeeze(self.image_shape)
        seen = squeeze.inverse(tf.cast(images, dtype) / 127.5 - 1)

        def beside(network: keras.Sequential) -> Any:
            return lambda kept: network(tf.concat([kept, tf.cast(seen, kept.dtype)], axis=-1))

        couplings = [
            AffineCoupling(Half(3, bool(index % 2)), beside(network))
            for index, network in enumerate(self.conditioners)
        ]
        epsilon = noise.normal(tf.shape(images)[0], squeeze.inputs, DEQUANTIZATION, dtype)
        q = Chain([InverseLogit(0.0), squeeze, *couplings])
        u, log_det = q.forward_and_log_det(epsilon, 3)
        squares = tf.reduce_sum(tf.square(epsilon), axis=[1, 2, 3])
        constant = math.prod(self.image_shape) * math.log(2 * math.pi)
        return u, -0.5 * (squares + constant) - log_det

    def call(self, images: tf.Tensor, *, noise: Any) -> tf.Tensor:
        """u alone, `[B, H, W, C]`."""
        return self.draw(images, noise, self.variable_dtype)[0]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"image_shape": list(self.image_shape), "channels": self.channels, "seed": self.seed}
        return {**super().get_config(), **own}
