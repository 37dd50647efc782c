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

from tfgen.errors import UsageError
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


def check_own_networks(
    config: VAEConfig, encoder: keras.Layer | None, decoder: keras.Layer | None
) -> None:
    """Refuses networks of the caller's own for a hierarchical model.

    Raises:
        UsageError: there is one.
    """
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if network is not None and config.architecture == "hierarchical":
            raise UsageError(
                f"a hierarchical VAE builds its networks itself; leave out {name}=, or use "
                "architecture='dense'"
            )


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
    common = {"activation": config.activation, "dtype": dtype, "seed": 2 * seed, "name": "encoder"}
    outputs = 2 * config.latent_dim
    *sides, depth = config.image_shape
    shape = (*sides, depth + config.num_classes)
    if config.architecture == "hierarchical":
        return bottom_up(config, shape, seed=2 * seed, dtype=dtype, name="encoder")
    if config.architecture == "convolutional":
        return convolutional_encoder(
            shape, _widths(config), config.blocks, config.hidden, outputs, **common
        )
    flat = (math.prod(config.image_shape) + config.num_classes,)
    inputs = flat if config.num_classes else config.image_shape
    return dense_network(inputs, config.hidden, (outputs,), layer=Dense, **common)


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
        return top_down(config, seed=2 * seed + 1, dtype=dtype, name="decoder")
    common = {
        "activation": config.activation,
        "dtype": dtype,
        "seed": 2 * seed + 1,
        "name": "decoder",
    }
    inputs, hidden = config.latent_dim + config.num_classes, config.hidden[::-1]
    shape = outputs_shape(config)
    if config.architecture == "convolutional":
        return convolutional_decoder(
            inputs, _widths(config), config.blocks, hidden, shape, **common
        )
    return dense_network((inputs,), hidden, shape, layer=Dense, **common)


def _widths(config: VAEConfig) -> list[int]:
    """Channels at half the side, at a quarter, and so on."""
    return channels_at(config.image_shape, config.channels, config.halvings)


def convolutional_encoder(
    input_shape: Sequence[int],
    channels: Sequence[int],
    blocks: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    activation: str,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Sequential:
    """A convolutional network from images to a vector.

    Args:
        input_shape: height, width and channels.
        channels: channels at half the side, at a quarter, and so on; odd sides are rounded up.
        blocks: gated residual blocks at each size.
        hidden: widths of the dense hidden layers after the convolutions.
        outputs: length of the vector.
        activation: activation of the dense hidden layers; convolutions have ReLU.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.

    Returns:
        A built network `[B, H, W, C] → [B, outputs]`.
    """
    seeds = _seeds(seed)
    layers = [
        make_input(input_shape, dtype),
        *itertools.chain(*(_smaller(filters, blocks, seeds, dtype) for filters in channels)),
        keras.layers.Flatten(dtype=dtype),
        *_dense(hidden, activation, seeds, dtype),
        make_layer(Dense, outputs, seed=next(seeds), dtype=dtype),
    ]
    return keras.Sequential(layers, name=name)


def convolutional_decoder(
    inputs: int,
    channels: Sequence[int],
    blocks: int,
    hidden: Sequence[int],
    output_shape: Sequence[int],
    *,
    activation: str,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Sequential:
    """A convolutional network from a vector to images.

    Args:
        inputs: length of the vector.
        channels: channels at half the side, at a quarter, and so on; odd sides are rounded up.
        blocks: gated residual blocks at each size.
        hidden: widths of the dense hidden layers before the convolutions.
        output_shape: height, width and channels of the outputs.
        activation: activation of the dense hidden layers; convolutions have ReLU.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.

    Returns:
        A built network `[B, inputs] → [B, *output_shape]`, with real outputs.
    """
    seeds = _seeds(seed)
    smallest = (*halved(output_shape, len(channels)), channels[-1])
    filters = [output_shape[-1], *channels[:-1]]
    layers = [
        make_input((inputs,), dtype),
        *_dense(hidden, activation, seeds, dtype),
        make_layer(Dense, math.prod(smallest), seed=next(seeds), dtype=dtype),
        keras.layers.Reshape(smallest, dtype=dtype),
    ]
    for times in reversed(range(len(channels))):
        layers += _residual(blocks, seeds, dtype)
        layers += _larger(output_shape, times, filters[times], seeds, dtype)
    return keras.Sequential(layers, name=name)


def bottom_up(
    config: VAEConfig, input_shape: Sequence[int], *, seed: int, dtype: Any, name: str
) -> keras.Model:
    """The encoder of a hierarchical VAE: features at the smallest size, after each of its blocks.

    Args:
        config: the model's configuration.
        input_shape: height, width and channels.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.

    Returns:
        A built network `[B, H, W, C] → [B, h, w, width]` for each block; two levels of latents
        share a block.
    """
    seeds, scale = _seeds(seed), 1 / math.sqrt(config.levels)
    *larger, smallest = _widths(config)
    inputs = maps = make_input(input_shape, dtype)
    layers = [_smaller(filters, config.blocks, seeds, dtype, scale) for filters in larger]
    for layer in (*itertools.chain(*layers), _halving(smallest, seeds, dtype)):
        maps = layer(maps)
    features = []
    for _ in range(-(-config.levels // LEVELS_PER_BLOCK)):
        maps = GatedResidual(next(seeds), scale, dtype=dtype)(maps)
        features.append(maps)
    return keras.Model(inputs, features, name=name)


def top_down(config: VAEConfig, *, seed: int, dtype: Any, name: str) -> TopDown:
    """The decoder of a hierarchical VAE: its levels, and blocks at the sizes above the smallest.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers but the last one, which has at least float32.
        name: name of the network.
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
    return TopDown(top, levels, tail, config.num_classes, dtype=dtype, name=name)


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
