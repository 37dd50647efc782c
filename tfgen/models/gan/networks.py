"""The GAN's generators and discriminators: dense, convolutional and residual.

Residual blocks, for images of any size, are pre-activated (He et al. 2016, "Identity mappings in
deep residual networks"), as in SNGAN (Miyato et al. 2018). Most of their convolutions are at half
the size and below, where they cost least.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.models.gan.config import GANConfig
from tfgen.nn.blocks import (
    cropping,
    dense_network,
    make_activation,
    make_batch_norm,
    make_input,
    make_layer,
    seed_of_layer,
)
from tfgen.nn.cpu import Dense
from tfgen.nn.layers import LEAK, Dropout, Upsampling, leaky_relu
from tfgen.settings.model import channels_at, halved


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
    half = channels_at(config.image_shape, config.channels, config.halvings)
    return [max(1, config.channels // 2), *half]


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


# --- residual networks --------------------------------------------------------------------


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


@keras.saving.register_keras_serializable(package="tfgen")
class DoublingConv2D(keras.layers.Conv2D):
    """Nearest-neighbour upsampling and a 3 × 3 convolution, `[B, H, W, C] → [B, 2 H, 2 W, D]`.

    Both are linear, and together they are a transposed 4 × 4 convolution with stride 2, whose
    kernel consists of sums of the entries of the 3 × 3 kernel. It takes 4/9 of the multiplications.
    Unlike with a free 4 × 4 kernel, an image of one colour shows no checkerboard (Odena et al.
    2016, "Deconvolution and checkerboard artifacts").
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(filters, **{"kernel_size": 3, "padding": "same", **kwargs})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The convolution of the larger image."""
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)
        kernel = _folded(kernel)[::-1, ::-1]
        batch, (height, width) = tf.shape(inputs)[0], inputs.shape[1:3]
        outputs = tf.nn.conv2d_transpose(
            inputs,
            tf.transpose(kernel, [0, 1, 3, 2]),
            [batch, 2 * height, 2 * width, self.filters],
            2,
            "SAME",
        )
        return _with_bias(self, outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Twice the sides."""
        batch, height, width, _ = input_shape
        return (batch, 2 * height, 2 * width, self.filters)


@keras.saving.register_keras_serializable(package="tfgen")
class HalvingConv2D(keras.layers.Conv2D):
    """A 3 × 3 convolution and 2 × 2 average pooling, `[B, H, W, C] → [B, ⌈H/2⌉, ⌈W/2⌉, D]`.

    Together they are a 4 × 4 convolution with stride 2, which takes 4/9 of the multiplications.
    Beyond an odd side, the pooling averages with zeros.
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(filters, **{"kernel_size": 3, "padding": "same", **kwargs})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The pooled convolution."""
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)
        outputs = tf.nn.conv2d(inputs, _folded(kernel) / 4, 2, "SAME")
        return _with_bias(self, outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Half the sides, rounded up."""
        batch, height, width, _ = input_shape
        return (batch, -(-height // 2), -(-width // 2), self.filters)


def _folded(kernel: tf.Tensor) -> tf.Tensor:
    """The full convolution of a 3 × 3 kernel and a 2 × 2 kernel of ones, `[4, 4, C, D]`."""
    none, last, first = [0, 0], [0, 1], [1, 0]
    kernel = tf.pad(kernel, [last, none, none, none]) + tf.pad(kernel, [first, none, none, none])
    return tf.pad(kernel, [none, last, none, none]) + tf.pad(kernel, [none, first, none, none])


def _with_bias(layer: keras.layers.Conv2D, outputs: tf.Tensor) -> tf.Tensor:
    if layer.bias is not None:
        outputs = tf.nn.bias_add(outputs, tf.cast(tf.convert_to_tensor(layer.bias), outputs.dtype))
    return layer.activation(outputs)


@keras.saving.register_keras_serializable(package="tfgen")
@tf.custom_gradient
def quick_leaky_relu(inputs: tf.Tensor) -> Any:
    """max(x, 0.2 x), whose gradient is a single operation.

    The gradient that TensorFlow derives of the maximum takes a fifth of the time of a training step
    on a CPU.
    """
    # TensorFlow's graph optimizer takes a maximum for a leaky ReLU, tries to fuse that with a
    # convolution whose outputs are needed elsewhere, fails, and prints an error.
    outputs = tf.where(inputs > 0, inputs, LEAK * inputs)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        # The outputs have the signs of the inputs.
        return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=outputs, alpha=LEAK)

    return outputs, gradient
