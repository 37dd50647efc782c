"""Building blocks of networks that the families share.

All take the seed of their initializers, so that two models with the same seed start with the same
weights.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.nn.layers import LEAK, Dropout, SpectralNormalization
from tfgen.nn.overrides import BatchNormalization
from tfgen.settings.model import halved

# PyTorch's defaults. With Keras's default momentum, the moving average is ten times as slow.
_NORM_MOMENTUM, _NORM_EPSILON = 0.9, 1e-5


def build_network(
    network: keras.Layer,
    inputs: Sequence[int] | Sequence[Sequence[int]],
    output_shape: Sequence[int],
    name: str,
) -> None:
    """Creates the weights of a network of the caller's own, and checks its outputs.

    Args:
        network: a layer, built or not.
        inputs: shape of its input, without the batch; of several inputs, a list of their shapes.
        output_shape: shape that its outputs must have, without the batch.
        name: what the network is, for the error.

    Raises:
        UsageError: the network does not take the inputs, or its outputs have another shape.
    """

    def text(shape: Sequence[int]) -> str:
        return f"[{', '.join(['B', *map(str, shape)])}]"

    is_single = not inputs or isinstance(inputs[0], int)
    shapes: Any = [inputs] if is_single else inputs
    task = f"the {name} must map {', '.join(map(text, shapes))} to {text(output_shape)}"
    task += f"; {getattr(network, 'name', network)!r}"
    # Two rows tell the axis of the batch from an axis of length 1.
    zeros = [tf.zeros([2, *shape]) for shape in shapes]
    try:
        outputs = network(zeros[0] if is_single else zeros, training=False)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise UsageError(f"{task} does not take these inputs: {reason}") from error
    if not tf.is_tensor(outputs) or outputs.shape != (2, *output_shape):
        shape = tuple(getattr(outputs, "shape", (type(outputs).__name__,)))
        sides = ["B", *shape[1:]] if shape[:1] == (2,) else shape
        raise UsageError(f"{task} gives [{', '.join(map(str, sides))}]")


def append_labels(inputs: tf.Tensor, labels: tf.Tensor, flat: bool = False) -> tf.Tensor:
    """Appends one-hot labels to the last axis, the same at each position.

    Args:
        inputs: `[B, …, C]`.
        labels: one-hot, `[B, K]`.
        flat: whether to flatten the inputs first.

    Returns:
        `[B, …, C + K]`.
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
) -> keras.Sequential:
    """A dense network from events of one shape to events of another.

    Args:
        input_shape: shape of an input, without the batch; the network flattens it.
        hidden: widths of the hidden layers.
        output_shape: shape of an output, without the batch.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers but the last, which has at least float32.
        name: name of the network.
        activation: activation of the hidden layers; `leaky_relu` has slope 0.2.
        output_activation: activation of the last layer; None: linear.
        output_bias: whether the last layer has a bias.
        batch_norm: batch normalization before the activation, from the second hidden layer on.
        spectral_norm: whether all kernels are divided by their largest singular value.
        dropout: dropout rate after the first activation.
        zero_output: whether the last layer starts at zero.

    Returns:
        A built network `[B, *input_shape] → [B, *output_shape]`.
    """
    make = functools.partial(
        make_layer, keras.layers.Dense, spectral_norm=spectral_norm, dtype=dtype
    )
    layers = [make_input(input_shape, dtype), keras.layers.Flatten(dtype=dtype)]
    # Else the activation is a layer of its own.
    fused = None if activation == "leaky_relu" or batch_norm else activation
    for index, units in enumerate(hidden):
        layer_seed = seed_of_layer(seed, index)
        layers.append(make(units, seed=layer_seed, activation=fused))
        if batch_norm and index > 0:
            layers.append(make_batch_norm(dtype))
        if fused is None:
            layers.append(make_activation(activation, dtype))
        if dropout and index == 0:
            layers.append(Dropout(dropout, layer_seed, dtype=dtype))
    units, last_seed = math.prod(output_shape), seed_of_layer(seed, len(hidden))
    last: dict[str, Any] = {"use_bias": output_bias, "zero": zero_output, "dtype": precise(dtype)}
    layers.append(make(units, seed=last_seed, activation=output_activation, **last))
    layers.append(keras.layers.Reshape(tuple(output_shape), dtype=precise(dtype)))
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
    """A dense or convolutional layer.

    Args:
        kind: class of the layer.
        units: units or filters.
        seed: seed of the kernel's initializer.
        dtype: policy or dtype.
        use_bias: whether it has a bias.
        spectral_norm: whether its kernel is divided by its largest singular value.
        zero: whether its kernel starts at zero.
        **kwargs: further arguments of the layer.
    """
    start = "zeros" if zero else keras.initializers.GlorotUniform(seed=seed)
    inner_bias = use_bias and not spectral_norm
    layer = kind(units, kernel_initializer=start, use_bias=inner_bias, dtype=dtype, **kwargs)
    return SpectralNormalization(layer, seed, use_bias, dtype=dtype) if spectral_norm else layer


def precise(dtype: Any) -> str:
    """The dtype of a network's last layer: that of the weights of the policy `dtype`."""
    name: str = keras.dtype_policies.get(dtype).variable_dtype
    return name


def make_input(shape: Sequence[int], dtype: Any) -> keras.KerasTensor:
    """The input of a network.

    Args:
        shape: of an input, without the batch.
        dtype: policy or dtype of the network.
    """
    # The default is float32, to which Keras would round the inputs of a float64 network.
    return keras.Input(shape, dtype=precise(dtype))


def make_batch_norm(dtype: Any) -> keras.layers.Layer:
    """Batch normalization, over the images of all replicas if there are several."""
    # Otherwise the moving moments of the replicas would drift apart.
    synchronized = tf.distribute.has_strategy()
    return BatchNormalization(
        momentum=_NORM_MOMENTUM, epsilon=_NORM_EPSILON, synchronized=synchronized, dtype=dtype
    )


def make_activation(name: str, dtype: Any) -> keras.layers.Layer:
    """An activation as a layer; `leaky_relu` has slope 0.2."""
    if name == "leaky_relu":
        return keras.layers.LeakyReLU(LEAK, dtype=dtype)
    return keras.layers.Activation(name, dtype=dtype)


def seed_of_layer(seed: int, index: int) -> int:
    """The seed of a layer; it differs for all layers and for consecutive model seeds.

    Args:
        seed: seed of the model.
        index: number of the layer.
    """
    return (seed * 1_000_003 + index) % 2**31


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
