"""Variational dequantization: learned noise that turns bytes into real numbers."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfgen.bijectors import (
    AffineCoupling,
    Bijector,
    Chain,
    Conditioner,
    Half,
    InverseLogit,
    Invert,
    MixtureCoupling,
    Squeeze,
)
from tfgen.models.flow.steps import gated_network
from tfgen.models.preprocessing import DEQUANTIZATION
from tfgen.nn.blocks import append_labels


@keras.saving.register_keras_serializable(package="tfgen")
class VariationalDequantization(keras.layers.Layer):
    """Noise u ~ q(u|x) in (0, 1), where q is itself a flow.

    Ho et al. 2019, "Flow++", section 3.1.

    log P(x) ≥ E[log p(x + u) − log q(u|x)] holds for every q. A uniform q gives a loose bound,
    because a smooth density is not constant over each byte. Here u = σ(g(ε; x)), where ε is
    standard normal and g consists of couplings on halves of the squeezed image's channels, affine
    ones or, as in Flow++, mixtures of logistics. A mixture maps ε to u in closed form, as an
    inverted `MixtureCoupling`, so no draw has to solve an equation. The conditioners get the image
    as well, and in a conditional model its label.

    Args:
        image_shape: height and width, both even, and channels.
        channels: channels of the conditioners, which have one gated block each.
        seed: seed of the initial weights.
        num_classes: number of classes of a class-conditional model, else 0.
        couplings: number of couplings, which change the two halves in turn.
        components: logistics in each coupling's mixture; 0 gives affine couplings.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        image_shape: Any,
        channels: int = 16,
        seed: int = 0,
        num_classes: int = 0,
        *,
        couplings: int = 2,
        components: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.image_shape, self.channels, self.seed = tuple(image_shape), channels, seed
        self.num_classes, self.couplings, self.components = num_classes, couplings, components
        height, width, depth = self.image_shape
        self.conditioners = [
            gated_network(
                (height // 2, width // 2, 6 * depth + num_classes),
                channels,
                blocks=1,
                outputs=2 * depth * (2 + 3 * components),
                seed=couplings * seed + index,
                dtype=self.dtype_policy,
                name=f"dequantization_{index}",
            )
            for index in range(couplings)
        ]
        self.built = True

    def draw(
        self,
        images: tf.Tensor,
        noise: Any,
        dtype: str,
        training: bool = False,
        labels: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """u and its density.

        Args:
            images: `uint8[B, H, W, C]`.
            noise: the source of ε.
            dtype: dtype of the results.
            training: whether dropout of the conditioners is on and their batch normalization uses
                the batch's moments.
            labels: one-hot, `[B, K]`, for a conditional model.

        Returns:
            u, `[B, H, W, C]`, and log q(u|x) in nats, `[B]`.
        """
        squeeze = Squeeze(self.image_shape)
        squeezed = squeeze.inverse(tf.cast(images, dtype) / 127.5 - 1)
        context = squeezed if labels is None else append_labels(squeezed, labels)

        def with_image(network: keras.Sequential) -> Any:
            return lambda half: network(
                tf.concat([half, tf.cast(context, half.dtype)], axis=-1), training=training
            )

        couplings = [
            self._coupling(Half(3, bool(index % 2)), with_image(network))
            for index, network in enumerate(self.conditioners)
        ]
        epsilon = noise.normal(tf.shape(images)[0], squeeze.inputs, DEQUANTIZATION, dtype)
        q = Chain([InverseLogit(0.0), squeeze, *couplings])
        u, log_det = q.forward_and_log_det(epsilon, 3)
        squares = tf.reduce_sum(tf.square(epsilon), axis=[1, 2, 3])
        constant = math.prod(self.image_shape) * math.log(2 * math.pi)
        return u, -0.5 * (squares + constant) - log_det

    def _coupling(self, mask: Half, conditioner: Conditioner) -> Bijector:
        if self.components:
            return Invert(MixtureCoupling(mask, conditioner, self.components))
        return AffineCoupling(mask, conditioner)

    def call(
        self,
        images: tf.Tensor,
        *,
        noise: Any,
        training: bool = False,
        labels: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """u without its density, `[B, H, W, C]`."""
        return self.draw(images, noise, self.variable_dtype, training, labels)[0]

    @property
    def layers(self) -> list[keras.Layer]:
        """The conditioners, which `summary` shows below the dequantization."""
        return self.conditioners

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("channels", "seed", "num_classes", "couplings", "components")
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), "image_shape": list(self.image_shape), **own}
