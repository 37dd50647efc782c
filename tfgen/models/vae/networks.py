"""The VAE's convolutional encoder and decoder, mirror images of each other, of the parts of `networks.py`.

Images at half and at a quarter of the side, gated residual blocks at each, and dense layers between them and
the latents. Importance sampling evaluates the decoder thousands of times an image: there is no block at full
size, where it would cost most.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfgen.layers import Dense, GatedResidual, Upsampling
from tfgen.networks import make_activation, make_input, make_layer, seed_of_layer


def convolutional_encoder(
    input_shape: Sequence[int],
    channels: int,
    blocks: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    activation: str,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Sequential:
    """Images to a vector.

    Args:
        input_shape: height and width, divisible by four, and channels.
        channels: at half of the side; twice as many at a quarter.
        blocks: gated residual ones at each size.
        hidden: widths of the dense hidden layers after the images.
        outputs: length of the vector.
        activation: after each dense hidden layer; convolutions have ReLU.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.

    Returns:
        A built network `[B, H, W, C] → [B, outputs]`.
    """
    seeds = _seeds(seed)

    def smaller(width: int) -> list[keras.Layer]:
        strided: dict[str, Any] = {"kernel_size": 4, "strides": 2, "padding": "same"}
        return [
            make_layer(keras.layers.Conv2D, width, seed=next(seeds), dtype=dtype, **strided),
            *_residual(blocks, seeds, dtype),
        ]

    layers = [
        make_input(input_shape, dtype),
        *smaller(channels),
        *smaller(2 * channels),
        keras.layers.Flatten(dtype=dtype),
        *_dense(hidden, activation, seeds, dtype),
        make_layer(Dense, outputs, seed=next(seeds), dtype=dtype),
    ]
    return keras.Sequential(layers, name=name)


def convolutional_decoder(
    inputs: int,
    channels: int,
    blocks: int,
    hidden: Sequence[int],
    image_shape: Sequence[int],
    *,
    activation: str,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Sequential:
    """A vector to images.

    Args:
        inputs: length of the vector.
        channels: at half of the side; twice as many at a quarter.
        blocks: gated residual ones at each size.
        hidden: widths of the dense hidden layers before the images.
        image_shape: height and width, divisible by four, and channels.
        activation: after each dense hidden layer; convolutions have ReLU.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.

    Returns:
        A built network `[B, inputs] → [B, H, W, C]`, its range all real numbers.
    """
    seeds = _seeds(seed)
    height, width, depth = image_shape
    quarter = (height // 4, width // 4, 2 * channels)

    def larger(filters: int) -> list[keras.Layer]:
        blocks_before = _residual(blocks, seeds, dtype)
        return [*blocks_before, make_layer(Upsampling, filters, seed=next(seeds), dtype=dtype)]

    layers = [
        make_input((inputs,), dtype),
        *_dense(hidden, activation, seeds, dtype),
        make_layer(Dense, math.prod(quarter), seed=next(seeds), dtype=dtype),
        keras.layers.Reshape(quarter, dtype=dtype),
        *larger(channels),
        *larger(depth),
    ]
    return keras.Sequential(layers, name=name)


def _seeds(seed: int) -> Iterator[int]:
    """Those of a network's layers, one after another."""
    return (seed_of_layer(seed, index) for index in itertools.count())


def _residual(blocks: int, seeds: Iterator[int], dtype: Any) -> list[keras.Layer]:
    """Gated residual blocks, and ReLU, which a block lacks at its end."""
    made = [GatedResidual(next(seeds), dtype=dtype) for _ in range(blocks)]
    return [*made, make_activation("relu", dtype)]


def _dense(widths: Sequence[int], activation: str, seeds: Iterator[int], dtype: Any) -> list[keras.Layer]:
    made: list[keras.Layer] = []
    for units in widths:
        made.append(make_layer(Dense, units, seed=next(seeds), dtype=dtype))
        made.append(make_activation(activation, dtype))
    return made
