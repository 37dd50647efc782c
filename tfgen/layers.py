"""Networks that the families share, as functions that return a built `keras.Sequential`.

Each takes the seed of its initializers: two models with one seed start with the same weights.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras


def dense_network(
    input_shape: Sequence[int],
    hidden: Sequence[int],
    output_shape: Sequence[int],
    *,
    seed: int,
    dtype: Any,
    name: str,
    activation: str = "relu",
) -> keras.Sequential:
    """A dense network from events of one shape to events of another.

    Args:
        input_shape: without the batch; flattened.
        hidden: widths of the hidden layers.
        output_shape: without the batch; the last layer is linear.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.
        activation: after each hidden layer.

    Returns:
        A built network `[B, *input_shape] → [B, *output_shape]`.
    """
    layers: list[keras.Layer] = [keras.Input(input_shape), keras.layers.Flatten(dtype=dtype)]
    for index, units in enumerate([*hidden, math.prod(output_shape)]):
        last = index == len(hidden)
        layers.append(
            keras.layers.Dense(
                units,
                activation=None if last else activation,
                kernel_initializer=keras.initializers.GlorotUniform(seed=_layer_seed(seed, index)),
                dtype=dtype,
            )
        )
    layers.append(keras.layers.Reshape(tuple(output_shape), dtype=dtype))
    return keras.Sequential(layers, name=name)


def _layer_seed(seed: int, index: int) -> int:
    """Seeds of different layers differ, and so do those of neighbouring model seeds."""
    return (seed * 1_000_003 + index) % 2**31
