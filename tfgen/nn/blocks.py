"""Networks that the families share; each is a function that returns a built `Sequential`.

The VAE's convolutional ones are in `convolutional.py`, made of the same parts. Each takes the seed of its
initializers: two models with one seed start with the same weights.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.layers import (
    LEAK,
    Dense,
    Dropout,
    GatedResidual,
    SpectralNormalization,
    Upsampling,
    leaky_relu,
)

# As PyTorch's batch normalization has them; Keras's own moving average is ten times as slow.
_NORM_MOMENTUM, _NORM_EPSILON = 0.9, 1e-5


def build_network(network: keras.Layer, input_shape: Sequence[int]) -> None:
    """Makes the weights of a network that came without them, for inputs of that shape without the batch."""
    if not network.built:
        network(tf.zeros([1, *input_shape]))


def append_labels(inputs: tf.Tensor, labels: tf.Tensor, flat: bool = False) -> tf.Tensor:
    """Appends one-hot labels `[B, K]` on the last axis: `[B, …, C] → [B, …, C + K]`, alike at each place.

    With `flat` inputs are made vectors before.
    """
    if flat:
        inputs = tf.reshape(inputs, [-1, math.prod(inputs.shape[1:])])
    rank = inputs.shape.rank
    labels = tf.reshape(labels, [-1, *[1] * (rank - 2), labels.shape[-1]])
    shape = tf.concat([tf.shape(inputs)[:-1], tf.shape(labels)[-1:]], axis=0)
    return tf.concat([inputs, tf.cast(tf.broadcast_to(labels, shape), inputs.dtype)], axis=-1)


def dense_network(
    input_shape: Sequence[int],
    hidden: Sequence[int],
    output_shape: Sequence[int],
    *,
    seed: int,
    dtype: Any,
    name: str,
    activation: str = "relu",
    output_activation: str | None = None,
    output_bias: bool = True,
    batch_norm: bool = False,
    spectral_norm: bool = False,
    dropout: float = 0.0,
    zero_output: bool = False,
    layer: type[keras.layers.Dense] = keras.layers.Dense,
) -> keras.Sequential:
    """A dense network from events of one shape to events of another.

    Args:
        input_shape: without the batch; flattened.
        hidden: widths of the hidden layers.
        output_shape: without the batch.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.
        activation: after each hidden layer; `leaky_relu` has slope 0.2.
        output_activation: after the last layer, which is linear without.
        output_bias: whether the last layer has a bias.
        batch_norm: whether the hidden layers from the second on are normalized before their activation.
        spectral_norm: whether all kernels are divided by their largest singular value.
        dropout: rate after the first activation.
        zero_output: whether the last layer starts at zero.
        layer: class of the layers; `Dense` is faster where widths are powers of two.

    Returns:
        A built network `[B, *input_shape] → [B, *output_shape]`.
    """
    layers: list[keras.Layer] = [make_input(input_shape, dtype), keras.layers.Flatten(dtype=dtype)]
    for index, units in enumerate([*hidden, math.prod(output_shape)]):
        last, layer_seed = index == len(hidden), seed_of_layer(seed, index)
        fused = None if last or activation == "leaky_relu" or batch_norm else activation
        layers.append(
            make_layer(
                layer,
                units,
                use_bias=output_bias or not last,
                spectral_norm=spectral_norm,
                zero=last and zero_output,
                seed=layer_seed,
                dtype=dtype,
                activation=output_activation if last else fused,
            )
        )
        if not last and batch_norm and index > 0:
            layers.append(_batch_norm(dtype))
        if not last and fused is None:
            layers.append(make_activation(activation, dtype))
        if not last and dropout and index == 0:
            layers.append(Dropout(dropout, layer_seed, dtype=dtype))
    return keras.Sequential([*layers, keras.layers.Reshape(tuple(output_shape), dtype=dtype)], name=name)


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
    """InfoGAN's generator for small images (Chen et al. 2016, appendix C.1), its range −1…1.

    A dense layer, images of a quarter of the side, of half of it, of all of it; batch normalization and ReLU
    between them.

    Args:
        latent_dim: length of a latent vector.
        channels: of the layer at half of the side; twice as many at a quarter.
        units: of the dense layer.
        image_shape: height and width, divisible by four, and channels.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.

    Returns:
        A built network `[B, latent_dim] → [B, H, W, C]` in −1…1.
    """
    height, width, depth = image_shape
    quarter = (height // 4, width // 4, 2 * channels)

    def normalized_relu() -> list[keras.Layer]:
        return [_batch_norm(dtype), make_activation("relu", dtype)]

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

    Images of half of the side, of a quarter of it, a dense layer, a logit; leaky ReLU between them.

    Args:
        input_shape: height, width, channels.
        channels: of the layer at half of the side; twice as many at a quarter.
        units: of the dense layer.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.
        output_bias: whether the last layer has a bias.
        batch_norm: whether the hidden layers from the second on are normalized before their activation.
        spectral_norm: whether all kernels are divided by their largest singular value.
        dropout: rate after each activation.

    Returns:
        A built network `[B, H, W, C] → [B, 1]`.
    """
    strided = {"kernel_size": 4, "strides": 2, "padding": "same"}

    def block(index: int, kind: type[keras.Layer], units: int, **kwargs: Any) -> list[keras.Layer]:
        layer_seed = seed_of_layer(seed, index)
        kwargs |= {"spectral_norm": spectral_norm, "seed": layer_seed, "dtype": dtype}
        return [
            make_layer(kind, units, **kwargs),
            *([_batch_norm(dtype)] if batch_norm and index else []),
            keras.layers.Activation(leaky_relu, dtype=dtype),
            *([Dropout(dropout, layer_seed, dtype=dtype)] if dropout else []),
        ]

    layers = [
        make_input(input_shape, dtype),
        *block(0, keras.layers.Conv2D, channels, **strided),
        *block(1, keras.layers.Conv2D, 2 * channels, **strided),
        keras.layers.Flatten(dtype=dtype),
        *block(2, Dense, units),
        make_layer(
            Dense,
            1,
            use_bias=output_bias,
            spectral_norm=spectral_norm,
            seed=seed_of_layer(seed, 3),
            dtype=dtype,
        ),
    ]
    return keras.Sequential(layers, name=name)


def gated_network(
    input_shape: Sequence[int],
    channels: int,
    blocks: int,
    outputs: int,
    *,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Sequential:
    """A convolutional network of gated residual blocks at one resolution, as Flow++'s (Ho et al. 2019).

    Args:
        input_shape: height, width, channels.
        channels: of the blocks.
        blocks: how many.
        outputs: channels of the output, which starts at zero.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.

    Returns:
        A built network `[B, H, W, C] → [B, H, W, outputs]`.
    """
    same = {"kernel_size": 3, "padding": "same", "dtype": dtype}
    seeds = [seed_of_layer(seed, index) for index in range(blocks + 2)]
    layers = [
        make_input(input_shape, dtype),
        make_layer(keras.layers.Conv2D, channels, seed=seeds[0], **same),
        *(GatedResidual(layer_seed, dtype=dtype) for layer_seed in seeds[1:-1]),
        make_activation("relu", dtype),
        # The outputs are many where couplings are mixtures, and 3 × 3 would cost as much as a block.
        make_layer(keras.layers.Conv2D, outputs, seed=seeds[-1], zero=True, kernel_size=1, dtype=dtype),
    ]
    return keras.Sequential(layers, name=name)


def feature_network(
    input_shape: Sequence[int], channels: int, units: int, *, seed: int, dtype: Any, name: str
) -> keras.Sequential:
    """A small convolutional network from images to features, all of them 0 or more.

    3 × 3 convolutions with batch normalization and ReLU, one at full size and two at half of it, with twice
    the channels, pooling after each size; a dense layer, normalized alike.

    Args:
        input_shape: height and width, four at least, and channels.
        channels: at full size.
        units: length of a feature vector.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.

    Returns:
        A built network `[B, H, W, C] → [B, units]`.
    """

    def block(index: int, kind: type[keras.Layer], size: int, **kwargs: Any) -> list[keras.Layer]:
        layer = make_layer(kind, size, seed=seed_of_layer(seed, index), dtype=dtype, **kwargs)
        return [layer, _batch_norm(dtype), make_activation("relu", dtype)]

    same = {"kernel_size": 3, "padding": "same", "use_bias": False}
    layers = [
        make_input(input_shape, dtype),
        *block(0, keras.layers.Conv2D, channels, **same),
        keras.layers.MaxPooling2D(dtype=dtype),
        *block(1, keras.layers.Conv2D, 2 * channels, **same),
        *block(2, keras.layers.Conv2D, 2 * channels, **same),
        keras.layers.MaxPooling2D(dtype=dtype),
        keras.layers.Flatten(dtype=dtype),
        *block(3, Dense, units, use_bias=False),
    ]
    return keras.Sequential(layers, name=name)


def make_layer(
    kind: type[keras.layers.Layer],
    units: int,
    *,
    seed: int,
    dtype: Any,
    use_bias: bool = True,
    spectral_norm: bool = False,
    zero: bool = False,
    **kwargs: Any,
) -> keras.layers.Layer:
    """A dense or convolutional layer, spectrally normalized or not; its kernel starts random or at zero."""
    initializer = keras.initializers.Zeros() if zero else keras.initializers.GlorotUniform(seed=seed)
    inner_bias = use_bias and not spectral_norm
    layer = kind(units, kernel_initializer=initializer, use_bias=inner_bias, dtype=dtype, **kwargs)
    return SpectralNormalization(layer, seed, use_bias, dtype=dtype) if spectral_norm else layer


def make_input(shape: Sequence[int], dtype: Any) -> keras.KerasTensor:
    """The start of a `Sequential` for inputs of that shape without the batch."""
    # By default it is float32, to which Keras would round the inputs of a float64 network.
    return keras.Input(shape, dtype=keras.dtype_policies.get(dtype).variable_dtype)


def _batch_norm(dtype: Any) -> keras.layers.Layer:
    # Replicas that each averaged the moments of their own share would drift apart.
    synchronized = tf.distribute.has_strategy()
    return keras.layers.BatchNormalization(
        momentum=_NORM_MOMENTUM, epsilon=_NORM_EPSILON, synchronized=synchronized, dtype=dtype
    )


def make_activation(name: str, dtype: Any) -> keras.layers.Layer:
    """An activation as a layer; `leaky_relu` has slope 0.2."""
    if name == "leaky_relu":
        return keras.layers.LeakyReLU(LEAK, dtype=dtype)
    return keras.layers.Activation(name, dtype=dtype)


def seed_of_layer(seed: int, index: int) -> int:
    """Seeds of different layers differ, and so do those of neighbouring model seeds."""
    return (seed * 1_000_003 + index) % 2**31
