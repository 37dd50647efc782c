"""Building blocks that the families share: a dense network, and the parts of all networks.

Each takes the seed of its initializers, so that two models of one seed start with the same weights.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.nn.layers import LEAK, Dropout, SpectralNormalization

# As PyTorch's batch normalization has them; Keras's own moving average is ten times as slow.
_NORM_MOMENTUM, _NORM_EPSILON = 0.9, 1e-5


def build_network(network: keras.Layer, input_shape: Sequence[int]) -> None:
    """Makes the weights of a network that came without them, for inputs of that shape without the
    batch."""
    if not network.built:
        network(tf.zeros([1, *input_shape]))


def append_labels(inputs: tf.Tensor, labels: tf.Tensor, flat: bool = False) -> tf.Tensor:
    """Appends one-hot labels `[B, K]` on the last axis: `[B, …, C] → [B, …, C + K]`, alike at each
    place.

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
        batch_norm: whether the hidden layers from the second on are normalized before their
            activation.
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
            layers.append(make_batch_norm(dtype))
        if not last and fused is None:
            layers.append(make_activation(activation, dtype))
        if not last and dropout and index == 0:
            layers.append(Dropout(dropout, layer_seed, dtype=dtype))
    return keras.Sequential(
        [*layers, keras.layers.Reshape(tuple(output_shape), dtype=dtype)], name=name
    )


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
    """A dense or convolutional layer, spectrally normalized or not; its kernel starts random or at
    zero."""
    initializer = (
        keras.initializers.Zeros() if zero else keras.initializers.GlorotUniform(seed=seed)
    )
    inner_bias = use_bias and not spectral_norm
    layer = kind(units, kernel_initializer=initializer, use_bias=inner_bias, dtype=dtype, **kwargs)
    return SpectralNormalization(layer, seed, use_bias, dtype=dtype) if spectral_norm else layer


def make_input(shape: Sequence[int], dtype: Any) -> keras.KerasTensor:
    """The start of a `Sequential` for inputs of that shape without the batch."""
    # By default it is float32, to which Keras would round the inputs of a float64 network.
    return keras.Input(shape, dtype=keras.dtype_policies.get(dtype).variable_dtype)


def make_batch_norm(dtype: Any) -> keras.layers.Layer:
    """Batch normalization; under a distribution strategy over the images of all replicas."""
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
