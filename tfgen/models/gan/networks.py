"""The GAN's generators and discriminators, dense and convolutional."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from tfgen.models.gan.config import GANConfig
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


def build_generator(config: GANConfig, seed: int, dtype: Any) -> keras.Sequential:
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
    if config.architecture == "convolutional":
        return convolutional_generator(
            inputs, config.channels, config.units, config.image_shape, **common
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
) -> keras.Sequential:
    """The discriminator of a configuration.

    Args:
        config: the model's configuration.
        seed: the model's seed, from which those of the discriminator's layers follow.
        dtype: dtype policy of the layers.
        output_bias: whether the last layer has a bias.

    Returns:
        A built network `[B, *image_shape] → [B, 1]`, logits. In a conditional model, the last axis
        of its inputs is longer by `num_classes`, and a dense network takes flat inputs.
    """
    common = {
        "seed": 2 * seed + 1,
        "dtype": dtype,
        "name": "discriminator",
        "batch_norm": config.discriminator_batch_norm,
        "spectral_norm": config.spectral_norm,
        "dropout": config.dropout,
        "output_bias": output_bias,
    }
    *sides, depth = config.image_shape
    if config.architecture == "convolutional":
        shape = (*sides, depth + config.num_classes)
        return convolutional_discriminator(shape, config.channels, config.units, **common)
    flat = (math.prod(config.image_shape) + config.num_classes,)
    inputs = flat if config.num_classes else config.image_shape
    return dense_network(
        inputs, config.discriminator_hidden, (1,), activation="leaky_relu", layer=Dense, **common
    )


def convolutional_generator(
    latent_dim: int,
    channels: int,
    units: int,
    image_shape: Sequence[int],
    *,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Sequential:
    """InfoGAN's generator for small images (Chen et al. 2016, appendix C.1).

    A dense layer, then images of a quarter, half and all of the side, with batch normalization and
    ReLU between them.

    Args:
        latent_dim: length of a latent vector.
        channels: channels at half the side; twice as many at a quarter.
        units: width of the dense layer.
        image_shape: height and width, divisible by four, and channels.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.

    Returns:
        A built network `[B, latent_dim] → [B, H, W, C]` in −1…1.
    """
    height, width, depth = image_shape
    quarter = (height // 4, width // 4, 2 * channels)

    def normalized_relu() -> list[keras.Layer]:
        return [make_batch_norm(dtype), make_activation("relu", dtype)]

    layers = [
        make_input((latent_dim,), dtype),
        make_layer(Dense, units, seed=seed_of_layer(seed, 0), dtype=dtype),
        *normalized_relu(),
        make_layer(Dense, math.prod(quarter), seed=seed_of_layer(seed, 1), dtype=dtype),
        keras.layers.Reshape(quarter, dtype=dtype),
        *normalized_relu(),
        make_layer(Upsampling, channels, seed=seed_of_layer(seed, 2), dtype=dtype),
        *normalized_relu(),
        make_layer(Upsampling, depth, seed=seed_of_layer(seed, 3), activation="tanh", dtype=dtype),
    ]
    return keras.Sequential(layers, name=name)


def convolutional_discriminator(
    input_shape: Sequence[int],
    channels: int,
    units: int,
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

    Images of half and a quarter of the side, a dense layer and a logit, with leaky ReLU between.

    Args:
        input_shape: height, width, channels.
        channels: channels at half the side; twice as many at a quarter.
        units: width of the dense layer.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.
        output_bias: whether the last layer has a bias.
        batch_norm: batch normalization before the activation, from the second layer on.
        spectral_norm: whether all kernels are divided by their largest singular value.
        dropout: dropout rate after each activation.

    Returns:
        A built network `[B, H, W, C] → [B, 1]`.
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
        *block(0, keras.layers.Conv2D, channels, **strided),
        *block(1, keras.layers.Conv2D, 2 * channels, **strided),
        keras.layers.Flatten(dtype=dtype),
        *block(2, Dense, units),
        layer(3, Dense, 1, use_bias=output_bias),
    ]
    return keras.Sequential(layers, name=name)
