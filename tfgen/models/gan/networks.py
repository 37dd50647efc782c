"""The GAN's generators and discriminators: dense, convolutional and residual.

Residual blocks, for images of any size, are pre-activated (He et al. 2016, "Identity mappings in
deep residual networks"), as in SNGAN (Miyato et al. 2018). Most of their convolutions are at half
the size and below, where they cost least.
"""

import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from tfgen.models.gan.config import GANConfig
from tfgen.nn import blocks
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
    if config.architecture == "residual":
        return residual_generator(config, 2 * seed, dtype)
    if config.architecture == "convolutional":
        return convolutional_generator(config, 2 * seed, dtype)
    latents, hidden = (config.latent_dim + config.num_classes,), config.generator_hidden
    options = _dense_options(2 * seed, dtype) | {"output_activation": "tanh", "batch_norm": True}
    return blocks.dense_network(latents, hidden, config.image_shape, name="generator", **options)


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
        A built network `[B, *judged_shape] → [B, 1 + projected_classes]`, logits. In a conditional
        model, a dense network takes flat inputs, to which the labels are appended.
    """
    if config.architecture == "residual":
        return residual_discriminator(config, 2 * seed + 1, dtype, output_bias)
    if config.architecture == "convolutional":
        return convolutional_discriminator(config, 2 * seed + 1, dtype, output_bias)
    flat = (config.pack * math.prod(config.image_shape) + config.appended_classes,)
    inputs = flat if config.appended_classes else config.judged_shape
    outputs, hidden = (1 + config.projected_classes,), config.discriminator_hidden
    options = _dense_options(2 * seed + 1, dtype)
    options |= {"spectral_norm": config.spectral_norm, "dropout": config.dropout}
    options |= {"output_bias": output_bias, "batch_norm": config.discriminator_batch_norm}
    return blocks.dense_network(inputs, hidden, outputs, name="discriminator", **options)


def _dense_options(seed: int, dtype: Any) -> dict[str, Any]:
    return {"activation": "leaky_relu", "seed": seed, "dtype": dtype}


def _widths(config: GANConfig) -> list[int]:
    """Channels at half the side, at a quarter, and so on."""
    return channels_at(config.image_shape, config.channels, config.halvings)


def _maker(seed: int, dtype: Any, spectral_norm: bool = False) -> Any:
    """A function that makes the layers of a network, each with a seed of its own."""
    indices = itertools.count()

    def make(kind: type[keras.layers.Layer], units: int, **kwargs: Any) -> keras.Layer:
        if kind is keras.layers.Conv2D:
            kwargs["padding"] = "same"
        common = {"seed": blocks.seed_of_layer(seed, next(indices)), "dtype": dtype}
        return blocks.make_layer(kind, units, spectral_norm=spectral_norm, **common | kwargs)

    return make


def _normalized_relu(dtype: Any) -> list[keras.Layer]:
    return [blocks.make_batch_norm(dtype), blocks.make_activation("relu", dtype)]


def _apply(layers: Iterable[keras.Layer], maps: keras.KerasTensor) -> keras.KerasTensor:
    return functools.reduce(lambda outputs, layer: layer(outputs), layers, maps)


def convolutional_generator(config: GANConfig, seed: int, dtype: Any) -> keras.Sequential:
    """InfoGAN's generator for small images (Chen et al. 2016, appendix C.1).

    Dense layers, then images of twice the sides, again and again, with batch normalization and ReLU
    between them. MNIST's have a quarter, half and all of the side. Odd sides are rounded up.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of the layers; the outputs have at least float32.

    Returns:
        A built network `[B, latent_dim (+ num_classes)] → [B, H, W, C]` in −1…1.
    """
    make, channels, image_shape = _maker(seed, dtype), _widths(config), config.image_shape
    smallest = (*halved(image_shape, len(channels)), channels[-1])
    filters = [image_shape[-1], *channels[:-1]]
    layers = [
        blocks.make_input((config.latent_dim + config.num_classes,), dtype),
        make(keras.layers.Dense, config.units),
        *_normalized_relu(dtype),
        make(keras.layers.Dense, math.prod(smallest)),
        keras.layers.Reshape(smallest, dtype=dtype),
    ]
    for times in reversed(range(len(channels))):
        last = {} if times else {"activation": "tanh", "dtype": blocks.precise(dtype)}
        layers += [
            *_normalized_relu(dtype),
            make(Upsampling, filters[times], **last),
            *blocks.cropping(image_shape, times, last.get("dtype", dtype)),
        ]
    return keras.Sequential(layers, name="generator")


def convolutional_discriminator(
    config: GANConfig, seed: int, dtype: Any, output_bias: bool
) -> keras.Sequential:
    """InfoGAN's discriminator for small images (Chen et al. 2016, appendix C.1).

    Images of half the side, a quarter, and so on, a dense layer and logits, with leaky ReLU
    between. Odd sides are rounded up.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of the layers; the outputs have at least float32.
        output_bias: whether the last layer has a bias.

    Returns:
        A built network `[B, *judged_shape] → [B, 1 + projected_classes]`.
    """
    make = _maker(seed, dtype, config.spectral_norm)
    convolution = {"kernel_size": 4, "strides": 2}
    hidden = [[make(keras.layers.Conv2D, width, **convolution)] for width in _widths(config)]
    hidden.append([keras.layers.Flatten(dtype=dtype), make(keras.layers.Dense, config.units)])
    layers = [blocks.make_input(config.judged_shape, dtype)]
    for index, parts in enumerate(hidden):
        layers += parts
        if config.discriminator_batch_norm and index:
            layers.append(blocks.make_batch_norm(dtype))
        layers.append(keras.layers.Activation(leaky_relu, dtype=dtype))
        if config.dropout:
            layers.append(Dropout(config.dropout, blocks.seed_of_layer(seed, index), dtype=dtype))
    last = {"use_bias": output_bias, "dtype": blocks.precise(dtype)}
    layers.append(make(keras.layers.Dense, 1 + config.projected_classes, **last))
    return keras.Sequential(layers, name="discriminator")


# --- residual networks --------------------------------------------------------------------


def residual_generator(config: GANConfig, seed: int, dtype: Any) -> keras.Model:
    """A generator of residual blocks, each of which doubles the sides.

    A dense layer gives the smallest images. A block is batch normalization, ReLU, upsampling with a
    3 × 3 convolution, batch normalization, ReLU and a 3 × 3 convolution; a 1 × 1 convolution and
    upsampling bypass them. The last block has no bypass, and its second convolution gives the
    image.

    Args:
        config: the model's configuration; there are half as many channels at full size.
        seed: seed of the initial weights.
        dtype: policy or dtype of the layers; the outputs have at least float32.

    Returns:
        A built network `[B, latent_dim (+ num_classes)] → [B, H, W, C]` in −1…1.
    """
    make, image_shape = _maker(seed, dtype), config.image_shape
    channels = [max(1, config.channels // 2), *_widths(config)]
    smallest = (*halved(image_shape, len(channels) - 1), channels[-1])
    crop = functools.partial(blocks.cropping, image_shape, dtype=dtype)

    latents = blocks.make_input((config.latent_dim + config.num_classes,), dtype)
    maps = make(keras.layers.Dense, smallest[0] * smallest[1] * smallest[2])(latents)
    maps = keras.layers.Reshape(smallest, dtype=dtype)(maps)
    for times in reversed(range(len(channels) - 1)):
        double = [make(DoublingConv2D, channels[times]), *crop(times)]
        larger = _apply([*_normalized_relu(dtype), *double, *_normalized_relu(dtype)], maps)
        if not times:
            break
        larger = make(keras.layers.Conv2D, channels[times], kernel_size=3)(larger)
        if maps.shape[-1] != channels[times]:
            maps = make(keras.layers.Conv2D, channels[times], kernel_size=1, use_bias=False)(maps)
        double = [keras.layers.UpSampling2D(2, dtype=dtype), *crop(times)]
        maps = keras.layers.Add(dtype=dtype)([_apply(double, maps), larger])
    # Rounded to 16 bits, tanh would be coarser than bytes.
    last = {"kernel_size": 3, "activation": "tanh", "dtype": blocks.precise(dtype)}
    outputs = make(keras.layers.Conv2D, image_shape[-1], **last)(larger)
    return keras.Model(latents, outputs, name="generator")


def residual_discriminator(
    config: GANConfig, seed: int, dtype: Any, output_bias: bool
) -> keras.Model:
    """A discriminator of residual blocks without normalization, each of which halves the sides.

    A 3 × 3 convolution at full size and one with average pooling come first. A block is leaky ReLU,
    a 3 × 3 convolution with average pooling, leaky ReLU and a 3 × 3 convolution; average pooling
    and a 1 × 1 convolution bypass them. A dense layer gives the outputs.

    Args:
        config: the model's configuration; there are half as many channels at full size.
        seed: seed of the initial weights.
        dtype: policy or dtype of the layers; the outputs have at least float32.
        output_bias: whether the last layer has a bias.

    Returns:
        A built network `[B, *judged_shape] → [B, 1 + projected_classes]`.
    """
    make = _maker(seed, dtype, config.spectral_norm)
    channels = [max(1, config.channels // 2), *_widths(config)]

    def activated(inputs: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Activation(quick_leaky_relu, dtype=dtype)(inputs)

    images = blocks.make_input(config.judged_shape, dtype)
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
    if config.dropout:
        features = Dropout(config.dropout, blocks.seed_of_layer(seed, 0), dtype=dtype)(features)
    last = {"use_bias": output_bias, "dtype": blocks.precise(dtype)}
    logits = make(keras.layers.Dense, 1 + config.projected_classes, **last)(features)
    return keras.Model(images, logits, name="discriminator")


class _FoldedConv2D(keras.layers.Conv2D):
    """A 3 × 3 convolution joined with a change of the sides by 2, in a single operation."""

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(filters, **{"kernel_size": 3, "padding": "same", **kwargs})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The convolution of the larger image, or the pooled convolution."""
        kernel = _folded(tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype))
        outputs = self._resized(inputs, kernel)
        if self.bias is not None:
            bias = tf.cast(tf.convert_to_tensor(self.bias), outputs.dtype)
            outputs = tf.nn.bias_add(outputs, bias)
        return self.activation(outputs)


@keras.saving.register_keras_serializable(package="tfgen")
class DoublingConv2D(_FoldedConv2D):
    """Nearest-neighbour upsampling and a 3 × 3 convolution, `[B, H, W, C] → [B, 2 H, 2 W, D]`.

    Both are linear, and together they are a transposed 4 × 4 convolution with stride 2, whose
    kernel consists of sums of the entries of the 3 × 3 kernel. It takes 4/9 of the multiplications.
    Unlike with a free 4 × 4 kernel, an image of one colour shows no checkerboard (Odena et al.
    2016, "Deconvolution and checkerboard artifacts").
    """

    def _resized(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        kernel = tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2])
        shape = self.compute_output_shape([tf.shape(inputs)[0], *inputs.shape[1:]])
        return tf.nn.conv2d_transpose(inputs, kernel, shape, 2, "SAME")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Twice the sides."""
        batch, height, width, _ = input_shape
        return (batch, 2 * height, 2 * width, self.filters)


@keras.saving.register_keras_serializable(package="tfgen")
class HalvingConv2D(_FoldedConv2D):
    """A 3 × 3 convolution and 2 × 2 average pooling, `[B, H, W, C] → [B, ⌈H/2⌉, ⌈W/2⌉, D]`.

    Together they are a 4 × 4 convolution with stride 2, which takes 4/9 of the multiplications.
    Beyond an odd side, the pooling averages with zeros.
    """

    def _resized(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(inputs, kernel / 4, 2, "SAME")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Half the sides, rounded up."""
        batch, height, width, _ = input_shape
        return (batch, -(-height // 2), -(-width // 2), self.filters)


def _folded(kernel: tf.Tensor) -> tf.Tensor:
    """The full convolution of a 3 × 3 kernel and a 2 × 2 kernel of ones, `[4, 4, C, D]`."""
    none, last, first = [0, 0], [0, 1], [1, 0]
    kernel = tf.pad(kernel, [last, none, none, none]) + tf.pad(kernel, [first, none, none, none])
    return tf.pad(kernel, [none, last, none, none]) + tf.pad(kernel, [none, first, none, none])


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
