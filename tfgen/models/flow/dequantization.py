"""Variational dequantization: learned noise that turns bytes into real numbers."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfgen.bijectors import Bijector, Chain, Half, InverseLogit, Invert, Squeeze
from tfgen.models.flow.config import FlowConfig
from tfgen.models.flow.steps import gated_network, make_coupling
from tfgen.models.preprocessing import DEQUANTIZATION
from tfgen.nn.blocks import append_labels


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
        config: the flow's configuration. Sides must be even. The couplings change the two halves in
            turn; each conditioner has one gated block.
        seed: seed of the initial weights.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(self, config: FlowConfig, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.config = config
        height, width, depth = config.image_shape
        inputs = (height // 2, width // 2, 6 * depth + config.num_classes)
        outputs = 2 * depth * (2 + 3 * config.dequantization_components)
        self.conditioners: list[keras.Sequential] = []
        for index in range(config.dequantization_couplings):
            layer_seed = config.dequantization_couplings * seed + index
            options: dict[str, Any] = {"seed": layer_seed, "dtype": self.dtype_policy}
            options["name"] = f"dequantization_{index}"
            network = gated_network(inputs, config.dequantization_channels, 1, outputs, **options)
            self.conditioners.append(network)
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
        components = self.config.dequantization_components
        squeeze = Squeeze(self.config.image_shape)
        squeezed = squeeze.inverse(tf.cast(images, dtype) / 127.5 - 1)
        context = squeezed if labels is None else append_labels(squeezed, labels)

        def with_image(network: keras.Sequential) -> Any:
            return lambda half: network(
                tf.concat([half, tf.cast(context, half.dtype)], axis=-1), training=training
            )

        couplings: list[Bijector] = []
        for index, network in enumerate(self.conditioners):
            mask = Half(3, bool(index % 2))
            coupling = make_coupling(mask, with_image(network), components)
            couplings.append(Invert(coupling) if components else coupling)
        epsilon = noise.normal(tf.shape(images)[0], squeeze.inputs, DEQUANTIZATION, dtype)
        q = Chain([InverseLogit(0.0), squeeze, *couplings])
        u, log_det = q.forward_and_log_det(epsilon, 3)
        squares = tf.reduce_sum(tf.square(epsilon), axis=[1, 2, 3])
        constant = math.prod(self.config.image_shape) * math.log(2 * math.pi)
        return u, -0.5 * (squares + constant) - log_det

    @property
    def layers(self) -> list[keras.Layer]:
        """The conditioners, which `summary` shows below the dequantization."""
        return self.conditioners
