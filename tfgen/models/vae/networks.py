"""The VAE's encoders and decoders: dense, convolutional and hierarchical.

A decoder mirrors its encoder. The convolutional networks have gated residual blocks at each smaller
size, and dense layers between these and the latents. Importance sampling evaluates the decoder
thousands of times per image, so there is no block at full size, where it would cost most.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras

from tfgen.models.vae.config import VAEConfig
from tfgen.models.vae.hierarchy import LEVELS_PER_BLOCK, Level, TopDown, TopLevel
from tfgen.models.vae.likelihoods import outputs_shape
from tfgen.nn import blocks
from tfgen.nn.layers import GatedResidual, Upsampling
from tfgen.settings.model import channels_at, halved


def build_encoder(config: VAEConfig, seed: int, dtype: Any) -> keras.Model:
    """The encoder of a configuration.

    Args:
        config: the model's configuration.
        seed: the model's seed, from which those of the encoder's layers follow.
        dtype: dtype policy of the layers.

    Returns:
        A built network `[B, *image_shape] → [B, 2·latent_dim]`, or `bottom_up`. In a conditional
        model, the last axis of its inputs is longer by `num_classes`, and a dense network takes
        flat inputs.
    """
    if config.architecture == "hierarchical":
        return bottom_up(config, 2 * seed, dtype)
    if config.architecture == "convolutional":
        return convolutional_encoder(config, 2 * seed, dtype)
    flat = (math.prod(config.image_shape) + config.num_classes,)
    inputs, outputs = flat if config.num_classes else config.image_shape, (2 * config.latent_dim,)
    common: dict[str, Any] = {"activation": config.activation, "seed": 2 * seed, "dtype": dtype}
    return blocks.dense_network(inputs, config.hidden, outputs, name="encoder", **common)


def build_decoder(config: VAEConfig, seed: int, dtype: Any) -> keras.Layer:
    """The decoder of a configuration.

    Args:
        config: the model's configuration.
        seed: the model's seed, from which those of the decoder's layers follow.
        dtype: dtype policy of the layers.

    Returns:
        A built network `[B, latents (+ num_classes)] → [B, *outputs_shape(config)]`, the
        likelihood's parameters.
    """
    seed = 2 * seed + 1
    if config.architecture == "hierarchical":
        return top_down(config, seed, dtype)
    if config.architecture == "convolutional":
        return convolutional_decoder(config, seed, dtype)
    inputs, outputs = (config.latent_dim + config.num_classes,), outputs_shape(config)
    common: dict[str, Any] = {"activation": config.activation, "seed": seed, "dtype": dtype}
    return blocks.dense_network(inputs, config.hidden[::-1], outputs, name="decoder", **common)


class _Layers:
    """The layers of one convolutional network, each with the next seed.

    Args:
        config: the model's configuration.
        seed: seed of the network.
        dtype: policy or dtype of all layers.
        scale: factor of the initial weights of a residual block's last convolution.
    """

    def __init__(self, config: VAEConfig, seed: int, dtype: Any, scale: float = 1.0):
        self.config, self.dtype, self.scale = config, dtype, scale
        self.seeds = (blocks.seed_of_layer(seed, index) for index in itertools.count())
        # Channels at half the side, at a quarter, and so on.
        self.widths = channels_at(config.image_shape, config.channels, config.halvings)
        *sides, depth = config.image_shape
        self.encoded_shape = (*sides, depth + config.num_classes)
        self.smallest = (*halved(sides, len(self.widths)), self.widths[-1])

    def make(self, kind: type[keras.Layer], units: int, **kwargs: Any) -> keras.Layer:
        """A layer of that class."""
        common = {"seed": next(self.seeds), "dtype": self.dtype}
        return blocks.make_layer(kind, units, **common | kwargs)

    def dense(self, widths: Sequence[int]) -> list[keras.Layer]:
        """Dense hidden layers."""
        layers: list[keras.Layer] = []
        for n in widths:
            layers.append(self.make(keras.layers.Dense, n))
            layers.append(blocks.make_activation(self.config.activation, self.dtype))
        return layers

    def residual(self, count: int) -> list[keras.Layer]:
        """Gated residual blocks, and the ReLU that the last block does not end with."""
        return [*(self.block() for _ in range(count)), blocks.make_activation("relu", self.dtype)]

    def block(self) -> keras.Layer:
        """A gated residual block."""
        return GatedResidual(next(self.seeds), self.scale, dtype=self.dtype)

    def halving(self, filters: int) -> keras.Layer:
        """A convolution to half the sides."""
        return self.make(keras.layers.Conv2D, filters, kernel_size=4, strides=2, padding="same")

    def larger(self, times: int) -> list[keras.Layer]:
        """Twice the sides, and their surplus cut off: the sides after `times` halvings.

        At full size, it is the last layer.
        """
        shape = outputs_shape(self.config)
        dtype = self.dtype if times else blocks.precise(self.dtype)
        filters = self.widths[times - 1] if times else shape[-1]
        return [self.make(Upsampling, filters, dtype=dtype), *blocks.cropping(shape, times, dtype)]


def convolutional_encoder(config: VAEConfig, seed: int, dtype: Any) -> keras.Sequential:
    """A convolutional network from images to a vector; odd sides are rounded up.

    Convolutions have ReLU, the dense hidden layers after them the configuration's activation.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of the layers; the outputs have at least float32.

    Returns:
        A built network `[B, H, W, C (+ num_classes)] → [B, 2·latent_dim]`.
    """
    new = _Layers(config, seed, dtype)
    layers = [blocks.make_input(new.encoded_shape, dtype)]
    for filters in new.widths:
        layers += [new.halving(filters), *new.residual(config.blocks)]
    layers += [keras.layers.Flatten(dtype=dtype), *new.dense(config.hidden)]
    layers.append(new.make(keras.layers.Dense, 2 * config.latent_dim, dtype=blocks.precise(dtype)))
    return keras.Sequential(layers, name="encoder")


def convolutional_decoder(config: VAEConfig, seed: int, dtype: Any) -> keras.Sequential:
    """A convolutional network from a vector to images, the mirror image of the encoder.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of the layers; the outputs have at least float32.

    Returns:
        A built network `[B, latent_dim (+ num_classes)] → [B, *outputs_shape(config)]`.
    """
    new = _Layers(config, seed, dtype)
    layers = [blocks.make_input((config.latent_dim + config.num_classes,), dtype)]
    layers += new.dense(config.hidden[::-1])
    layers.append(new.make(keras.layers.Dense, math.prod(new.smallest)))
    layers.append(keras.layers.Reshape(new.smallest, dtype=dtype))
    for times in reversed(range(len(new.widths))):
        layers += [*new.residual(config.blocks), *new.larger(times)]
    return keras.Sequential(layers, name="decoder")


def bottom_up(config: VAEConfig, seed: int, dtype: Any) -> keras.Model:
    """The encoder of a hierarchical VAE: features at the smallest size, after each of its blocks.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of the layers; the outputs have at least float32.

    Returns:
        A built network `[B, H, W, C] → [B, h, w, width]` for each block; two levels of latents
        share a block.
    """
    new = _Layers(config, seed, dtype, 1 / math.sqrt(config.levels))
    *larger, smallest = new.widths
    inputs = maps = blocks.make_input(new.encoded_shape, dtype)
    for filters in larger:
        for layer in (new.halving(filters), *new.residual(config.blocks)):
            maps = layer(maps)
    features = [new.halving(smallest)(maps)]
    for _ in range(-(-config.levels // LEVELS_PER_BLOCK)):
        features.append(new.block()(features[-1]))
    return keras.Model(inputs, features[1:], name="encoder")


def top_down(config: VAEConfig, seed: int, dtype: Any) -> TopDown:
    """The decoder of a hierarchical VAE: its levels, and blocks at the sizes above the smallest.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers but the last one, which has at least float32.
    """
    new = _Layers(config, seed, dtype, 1 / math.sqrt(config.levels))
    top = TopLevel(config.latent_dim, new.smallest, next(new.seeds), dtype=dtype)
    below = (
        Level(config.level_channels, next(new.seeds), new.scale, dtype=dtype)
        for _ in range(config.levels)
    )
    levels = [top, *below]
    tail: list[keras.Layer] = []
    for times in reversed(range(len(new.widths))):
        tail += new.residual(config.blocks if tail else 0)
        tail += new.larger(times)
    return TopDown(levels, tail, config.num_classes, dtype=dtype, name="decoder")
