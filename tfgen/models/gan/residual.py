"""The GAN's residual generator and discriminator, for images of any size.

Blocks are pre-activated (He et al. 2016, "Identity mappings in deep residual networks"), as in
SNGAN (Miyato et al. 2018). Most of the convolutions are at half the size and below, where they cost
least.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfgen.models.gan.layers import DoublingConv2D, HalvingConv2D, quick_leaky_relu
from tfgen.nn.blocks import make_batch_norm, make_input, make_layer, seed_of_layer
from tfgen.nn.cpu import Dense
from tfgen.nn.layers import Dropout
from tfgen.settings.model import halved

# Channels double with each halving, up to this multiple of those at half the side.
MOST_CHANNELS = 8


def widths(channels: int, halvings: int) -> list[int]:
    """Channels at full size, at half the side, at a quarter, and so on.

    Args:
        channels: channels at half the side.
        halvings: number of halvings.
    """
    multiples = [min(2**index, MOST_CHANNELS) for index in range(halvings)]
    return [max(1, channels // 2), *(channels * multiple for multiple in multiples)]


def residual_generator(
    latent_dim: int,
    channels: Sequence[int],
    image_shape: Sequence[int],
    *,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Model:
    """A generator of residual blocks, each of which doubles the sides.

    A dense layer gives the smallest images. A block is batch normalization, ReLU, upsampling with a
    3 × 3 convolution, batch normalization, ReLU and a 3 × 3 convolution; a 1 × 1 convolution and
    upsampling bypass them. The last block has no bypass, and its second convolution gives the
    image.

    Args:
        latent_dim: length of a latent vector.
        channels: channels at full size, at half the side, and so on.
        image_shape: height, width and channels of an image.
        seed: seed of the initial weights.
        dtype: policy or dtype of the layers; the outputs have at least float32.
        name: name of the network.

    Returns:
        A built network `[B, latent_dim] → [B, H, W, C]` in −1…1.
    """
    make = _maker(seed, dtype)
    smallest = (*halved(image_shape, len(channels) - 1), channels[-1])

    def normalized_relu(inputs: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Activation("relu", dtype=dtype)(make_batch_norm(dtype)(inputs))

    latents = make_input((latent_dim,), dtype)
    maps = make(Dense, smallest[0] * smallest[1] * smallest[2])(latents)
    maps = keras.layers.Reshape(smallest, dtype=dtype)(maps)
    for times in reversed(range(len(channels) - 1)):
        larger = make(DoublingConv2D, channels[times])(normalized_relu(maps))
        for cut in cropping(image_shape, times, dtype):
            larger = cut(larger)
        larger = normalized_relu(larger)
        if not times:
            break
        larger = make(keras.layers.Conv2D, channels[times], kernel_size=3)(larger)
        if maps.shape[-1] != channels[times]:
            maps = make(keras.layers.Conv2D, channels[times], kernel_size=1, use_bias=False)(maps)
        maps = keras.layers.UpSampling2D(2, dtype=dtype)(maps)
        for cut in cropping(image_shape, times, dtype):
            maps = cut(maps)
        maps = keras.layers.Add(dtype=dtype)([maps, larger])
    outputs = make(keras.layers.Conv2D, image_shape[-1], kernel_size=3)(larger)
    # Rounded to 16 bits, tanh would be coarser than bytes.
    precise = keras.dtype_policies.get(dtype).variable_dtype
    return keras.Model(latents, keras.layers.Activation("tanh", dtype=precise)(outputs), name=name)


def residual_discriminator(
    input_shape: Sequence[int],
    channels: Sequence[int],
    outputs: int = 1,
    *,
    seed: int,
    dtype: Any,
    name: str,
    output_bias: bool = True,
    spectral_norm: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """A discriminator of residual blocks without normalization, each of which halves the sides.

    A 3 × 3 convolution at full size and one with average pooling come first. A block is leaky ReLU,
    a 3 × 3 convolution with average pooling, leaky ReLU and a 3 × 3 convolution; average pooling
    and a 1 × 1 convolution bypass them. A dense layer gives the outputs.

    Args:
        input_shape: height, width and channels of the inputs.
        channels: channels at full size, at half the side, and so on.
        outputs: number of outputs.
        seed: seed of the initial weights.
        dtype: policy or dtype of the layers; the outputs have at least float32.
        name: name of the network.
        output_bias: whether the last layer has a bias.
        spectral_norm: whether all kernels are divided by their largest singular value.
        dropout: dropout rate before the last layer.

    Returns:
        A built network `[B, H, W, C] → [B, outputs]`.
    """
    make = _maker(seed, dtype, spectral_norm)

    def activated(inputs: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Activation(quick_leaky_relu, dtype=dtype)(inputs)

    images = make_input(input_shape, dtype)
    maps = make(keras.layers.Conv2D, channels[0], kernel_size=3)(images)
    maps = make(HalvingConv2D, channels[1])(activated(maps))
    for width in channels[2:]:
        smaller = make(HalvingConv2D, width)(activated(maps))
        smaller = make(keras.layers.Conv2D, width, kernel_size=3)(activated(smaller))
        maps = keras.layers.AveragePooling2D(2, padding="same", dtype=dtype)(maps)
        if maps.shape[-1] != width:
            maps = make(keras.layers.Conv2D, width, kernel_size=1, use_bias=False)(maps)
        maps = keras.layers.Add(dtype=dtype)([maps, smaller])
    features = keras.layers.Flatten(dtype=dtype)(activated(maps))
    if dropout:
        features = Dropout(dropout, seed_of_layer(seed, 0), dtype=dtype)(features)
    precise = keras.dtype_policies.get(dtype).variable_dtype
    logits = make(Dense, outputs, dtype=precise, use_bias=output_bias)(features)
    return keras.Model(images, logits, name=name)


def _maker(seed: int, dtype: Any, spectral_norm: bool = False) -> Any:
    """A function that makes the layers of a network, each with a seed of its own."""
    indices: Iterator[int] = itertools.count()

    def make(kind: type[keras.Layer], units: int, **kwargs: Any) -> keras.Layer:
        if kind is keras.layers.Conv2D:
            kwargs["padding"] = "same"
        common = {"dtype": dtype, "spectral_norm": spectral_norm}
        return make_layer(kind, units, seed=seed_of_layer(seed, next(indices)), **common | kwargs)

    return make


def cropping(image_shape: Sequence[int], times: int, dtype: Any) -> list[keras.Layer]:
    """The layer that cuts doubled images to the size after that many halvings, where needed.

    Args:
        image_shape: height and width of the images.
        times: number of halvings.
        dtype: policy or dtype of the layer.

    Returns:
        No layer, or one.
    """
    sides, before = (halved(image_shape, count) for count in (times, times + 1))
    surplus = [(0, 2 * half - side) for side, half in zip(sides, before, strict=True)]
    return [keras.layers.Cropping2D(surplus, dtype=dtype)] if any(map(sum, surplus)) else []
