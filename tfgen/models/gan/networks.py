"""The GAN's generators and discriminators, dense and convolutional; see also `residual.py`."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras

from tfgen.models.gan.config import GANConfig
from tfgen.models.gan.residual import (
    cropping,
    residual_discriminator,
    residual_generator,
    widths,
)
from tfgen.nn.blocks import (
    dense_network,
    make_activation,
    make_batch_norm,
    make_input,
    make_layer,
    seed_of_layer,
)
from tfgen.nn.cpu import Dense
from tfgen.nn.layers import Dropout, Upsampling, leaky_relu
from tfgen.settings.model import halved, halvings


def build_generator(config: GANConfig, seed: int, dtype: Any) -> keras.Model:
    """The generator of a configuration.

    Args:
        config: the model's configuration.
        seed: the model's seed, from which those of the generator's layers follow.
        dtype: dtype policy of the layers.

    Returns:
        A built network `[B, latent_dim (+ num_classes)] → [B, *image_shape]` in −1…1.
    """
    inputs = config.latent_dim + config.num_classes
    common = {"seed": 2 * seed, "dtype": dtype, "name": "generator"}
    if config.architecture == "residual":
        return residual_generator(inputs, _widths(config), config.image_shape, **common)
    if config.architecture == "convolutional":
        return convolutional_generator(
            inputs, _widths(config)[1:], config.units, config.image_shape, **common
        )
    return dense_network(
        (inputs,),
        config.generator_hidden,
        config.image_shape,
        activation="leaky_relu",
        output_activation="tanh",
        batch_norm=True,
        layer=Dense,
        **common,
    )


def build_discriminator(
    config: GANConfig, seed: int, dtype: Any, output_bias: bool = True
) -> keras.Model:
    """The discriminator of a configuration.

    Args:
        config: the model's configuration.
        seed: the model's seed, from which those of the discriminator's layers follow.
        dtype: dtype policy of the layers.
        output_bias: whether the last layer has a bias.

    Returns:
        A built network `[B, *pack_shape] → [B, 1]`, logits. In a conditional model, the last axis
        of its inputs is longer by `appended_classes`, and a dense network takes flat inputs; or,
        with a projection, the last axis of its outputs, by `projected_classes`.
    """
    common = {
        "seed": 2 * seed + 1,
        "dtype": dtype,
        "name": "discriminator",
        "spectral_norm": config.spectral_norm,
        "dropout": config.dropout,
        "output_bias": output_bias,
    }
    *sides, depth = config.pack_shape
    shape, outputs = (*sides, depth + config.appended_classes), 1 + config.projected_classes
    if config.architecture == "residual":
        return residual_discriminator(shape, _widths(config), outputs, **common)
    common["batch_norm"] = config.discriminator_batch_norm
    if config.architecture == "convolutional":
        channels = _widths(config)[1:]
        return convolutional_discriminator(shape, channels, config.units, outputs, **common)
    flat = (math.prod(config.pack_shape) + config.appended_classes,)
    inputs = flat if config.appended_classes else config.pack_shape
    hidden = config.discriminator_hidden
    return dense_network(inputs, hidden, (outputs,), activation="leaky_relu", layer=Dense, **common)


def _widths(config: GANConfig) -> list[int]:
    """Channels at full size, which only the residual networks have, at half the side, and so on."""
    return widths(config.channels, config.halvings or halvings(config.image_shape))


def convolutional_generator(
    latent_dim: int,
    channels: Sequence[int],
    units: int,
    image_shape: Sequence[int],
    *,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Sequential:
    """InfoGAN's generator for small images (Chen et al. 2016, appendix C.1).

    Dense layers, then images of twice the sides, again and again, with batch normalization and ReLU
    between them. MNIST's have a quarter, half and all of the side.

    Args:
        latent_dim: length of a latent vector.
        channels: channels at half the side, at a quarter, and so on; odd sides are rounded up.
        units: width of the first dense layer.
        image_shape: height, width and channels of an image.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.

    Returns:
        A built network `[B, latent_dim] → [B, H, W, C]` in −1…1.
    """
    smallest = (*halved(image_shape, len(channels)), channels[-1])
    filters = [image_shape[-1], *channels[:-1]]

    def normalized_relu() -> list[keras.Layer]:
        return [make_batch_norm(dtype), make_activation("relu", dtype)]

    layers = [
        make_input((latent_dim,), dtype),
        make_layer(Dense, units, seed=seed_of_layer(seed, 0), dtype=dtype),
        *normalized_relu(),
        make_layer(Dense, math.prod(smallest), seed=seed_of_layer(seed, 1), dtype=dtype),
        keras.layers.Reshape(smallest, dtype=dtype),
    ]
    for index, times in enumerate(reversed(range(len(channels))), start=2):
        layer_seed, activation = seed_of_layer(seed, index), None if times else "tanh"
        common = {"seed": layer_seed, "activation": activation, "dtype": dtype}
        layers += normalized_relu()
        layers.append(make_layer(Upsampling, filters[times], **common))
        layers += cropping(image_shape, times, dtype)
    return keras.Sequential(layers, name=name)


def convolutional_discriminator(
    input_shape: Sequence[int],
    channels: Sequence[int],
    units: int,
    outputs: int = 1,
    *,
    seed: int,
    dtype: Any,
    name: str,
    output_bias: bool = True,
    batch_norm: bool = False,
    spectral_norm: bool = False,
    dropout: float = 0.0,
) -> keras.Sequential:
    """InfoGAN's discriminator for small images (Chen et al. 2016, appendix C.1).

    Images of half the side, a quarter, and so on, a dense layer and logits, with leaky ReLU
    between.

    Args:
        input_shape: height, width, channels.
        channels: channels at half the side, at a quarter, and so on; odd sides are rounded up.
        units: width of the dense layer.
        outputs: number of outputs.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.
        output_bias: whether the last layer has a bias.
        batch_norm: batch normalization before the activation, from the second layer on.
        spectral_norm: whether all kernels are divided by their largest singular value.
        dropout: dropout rate after each activation.

    Returns:
        A built network `[B, H, W, C] → [B, outputs]`.
    """
    strided = {"kernel_size": 4, "strides": 2, "padding": "same"}

    def layer(index: int, kind: type[keras.Layer], units: int, **kwargs: Any) -> keras.Layer:
        common = {"spectral_norm": spectral_norm, "dtype": dtype}
        return make_layer(kind, units, seed=seed_of_layer(seed, index), **common, **kwargs)

    def block(index: int, kind: type[keras.Layer], units: int, **kwargs: Any) -> list[keras.Layer]:
        return [
            layer(index, kind, units, **kwargs),
            *([make_batch_norm(dtype)] if batch_norm and index else []),
            keras.layers.Activation(leaky_relu, dtype=dtype),
            *([Dropout(dropout, seed_of_layer(seed, index), dtype=dtype)] if dropout else []),
        ]

    layers = [
        make_input(input_shape, dtype),
        *itertools.chain.from_iterable(
            block(index, keras.layers.Conv2D, filters, **strided)
            for index, filters in enumerate(channels)
        ),
        keras.layers.Flatten(dtype=dtype),
        *block(len(channels), Dense, units),
        layer(len(channels) + 1, Dense, outputs, use_bias=output_bias),
    ]
    return keras.Sequential(layers, name=name)
