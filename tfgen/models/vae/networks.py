"""The VAE's encoders and decoders: dense, convolutional and hierarchical.

A decoder mirrors its encoder. The convolutional networks have gated residual blocks at each smaller
size, and dense layers between these and the latents. Importance sampling evaluates the decoder
thousands of times per image, so there is no block at full size, where it would cost most.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfgen.models.vae.config import VAEConfig
from tfgen.models.vae.hierarchy import LEVELS_PER_BLOCK, Level, TopDown, TopLevel
from tfgen.models.vae.likelihoods import outputs_shape
from tfgen.nn.blocks import (
    cropping,
    dense_network,
    make_activation,
    make_input,
    make_layer,
    seed_of_layer,
)
from tfgen.nn.cpu import Dense
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
    return dense_network(
        flat if config.num_classes else config.image_shape,
        config.hidden,
        (2 * config.latent_dim,),
        layer=Dense,
        activation=config.activation,
        seed=2 * seed,
        dtype=dtype,
        name="encoder",
    )


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
    if config.architecture == "hierarchical":
        return top_down(config, 2 * seed + 1, dtype)
    if config.architecture == "convolutional":
        return convolutional_decoder(config, 2 * seed + 1, dtype)
    return dense_network(
        (config.latent_dim + config.num_classes,),
        config.hidden[::-1],
        outputs_shape(config),
        layer=Dense,
        activation=config.activation,
        seed=2 * seed + 1,
        dtype=dtype,
        name="decoder",
    )


def _widths(config: VAEConfig) -> list[int]:
    """Channels at half the side, at a quarter, and so on."""
    return channels_at(config.image_shape, config.channels, config.halvings)


def _encoded_shape(config: VAEConfig) -> tuple[int, ...]:
    """Height, width and channels of an encoder's inputs, with the labels."""
    *sides, depth = config.image_shape
    return (*sides, depth + config.num_classes)


def convolutional_encoder(config: VAEConfig, seed: int, dtype: Any) -> keras.Sequential:
    """A convolutional network from images to a vector; odd sides are rounded up.

    Convolutions have ReLU, the dense hidden layers after them the configuration's activation.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.

    Returns:
        A built network `[B, H, W, C (+ num_classes)] → [B, 2·latent_dim]`.
    """
    seeds = _seeds(seed)
    layers = [
        make_input(_encoded_shape(config), dtype),
        *itertools.chain(
            *(_smaller(filters, config.blocks, seeds, dtype) for filters in _widths(config))
        ),
        keras.layers.Flatten(dtype=dtype),
        *_dense(config.hidden, config.activation, seeds, dtype),
        make_layer(Dense, 2 * config.latent_dim, seed=next(seeds), dtype=dtype),
    ]
    return keras.Sequential(layers, name="encoder")


def convolutional_decoder(config: VAEConfig, seed: int, dtype: Any) -> keras.Sequential:
    """A convolutional network from a vector to images, the mirror image of the encoder.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.

    Returns:
        A built network `[B, latent_dim (+ num_classes)] → [B, *outputs_shape(config)]`.
    """
    seeds, channels, output_shape = _seeds(seed), _widths(config), outputs_shape(config)
    smallest = (*halved(output_shape, len(channels)), channels[-1])
    filters = [output_shape[-1], *channels[:-1]]
    layers = [
        make_input((config.latent_dim + config.num_classes,), dtype),
        *_dense(config.hidden[::-1], config.activation, seeds, dtype),
        make_layer(Dense, math.prod(smallest), seed=next(seeds), dtype=dtype),
        keras.layers.Reshape(smallest, dtype=dtype),
    ]
    for times in reversed(range(len(channels))):
        layers += _residual(config.blocks, seeds, dtype)
        layers += _larger(output_shape, times, filters[times], seeds, dtype)
    return keras.Sequential(layers, name="decoder")


def bottom_up(config: VAEConfig, seed: int, dtype: Any) -> keras.Model:
    """The encoder of a hierarchical VAE: features at the smallest size, after each of its blocks.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.

    Returns:
        A built network `[B, H, W, C] → [B, h, w, width]` for each block; two levels of latents
        share a block.
    """
    seeds, scale = _seeds(seed), 1 / math.sqrt(config.levels)
    *larger, smallest = _widths(config)
    inputs = maps = make_input(_encoded_shape(config), dtype)
    layers = [_smaller(filters, config.blocks, seeds, dtype, scale) for filters in larger]
    for layer in (*itertools.chain(*layers), _halving(smallest, seeds, dtype)):
        maps = layer(maps)
    features = []
    for _ in range(-(-config.levels // LEVELS_PER_BLOCK)):
        maps = GatedResidual(next(seeds), scale, dtype=dtype)(maps)
        features.append(maps)
    return keras.Model(inputs, features, name="encoder")


def top_down(config: VAEConfig, seed: int, dtype: Any) -> TopDown:
    """The decoder of a hierarchical VAE: its levels, and blocks at the sizes above the smallest.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers but the last one, which has at least float32.
    """
    seeds, scale = _seeds(seed), 1 / math.sqrt(config.levels)
    output_shape, widths = outputs_shape(config), _widths(config)
    smallest = (*halved(output_shape, len(widths)), widths[-1])
    top = TopLevel(config.latent_dim, smallest, next(seeds), dtype=dtype)
    levels = [
        Level(config.level_channels, next(seeds), scale, dtype=dtype) for _ in range(config.levels)
    ]
    tail: list[keras.Layer] = []
    for times in reversed(range(len(widths))):
        tail += _residual(config.blocks if tail else 0, seeds, dtype, scale)
        filters = widths[times - 1] if times else output_shape[-1]
        precise = dtype if times else keras.dtype_policies.get(dtype).variable_dtype
        tail += _larger(output_shape, times, filters, seeds, precise)
    return TopDown(top, levels, tail, config.num_classes, dtype=dtype, name="decoder")


def _seeds(seed: int) -> Iterator[int]:
    """The seeds of a network's layers, in their order."""
    return (seed_of_layer(seed, index) for index in itertools.count())


def _residual(
    blocks: int, seeds: Iterator[int], dtype: Any, scale: float = 1.0
) -> list[keras.Layer]:
    """Gated residual blocks, and the ReLU that the last block does not end with."""
    residual = [GatedResidual(next(seeds), scale, dtype=dtype) for _ in range(blocks)]
    return [*residual, make_activation("relu", dtype)]


def _halving(filters: int, seeds: Iterator[int], dtype: Any) -> keras.Layer:
    """A convolution to half the sides."""
    strided: dict[str, Any] = {"kernel_size": 4, "strides": 2, "padding": "same"}
    return make_layer(keras.layers.Conv2D, filters, seed=next(seeds), dtype=dtype, **strided)


def _smaller(
    filters: int, blocks: int, seeds: Iterator[int], dtype: Any, scale: float = 1.0
) -> list[keras.Layer]:
    """Half the sides, and residual blocks."""
    return [_halving(filters, seeds, dtype), *_residual(blocks, seeds, dtype, scale)]


def _larger(
    output_shape: Sequence[int], times: int, filters: int, seeds: Iterator[int], dtype: Any
) -> list[keras.Layer]:
    """Twice the sides, and their surplus cut off: the sides after `times` halvings."""
    larger = make_layer(Upsampling, filters, seed=next(seeds), dtype=dtype)
    return [larger, *cropping(output_shape, times, dtype)]


def _dense(
    widths: Sequence[int], activation: str, seeds: Iterator[int], dtype: Any
) -> list[keras.Layer]:
    layers: list[keras.Layer] = []
    for units in widths:
        layers.append(make_layer(Dense, units, seed=next(seeds), dtype=dtype))
        layers.append(make_activation(activation, dtype))
    return layers
