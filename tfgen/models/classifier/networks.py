"""The classifier's network from images to features."""

from collections.abc import Sequence
from typing import Any

import keras

from tfgen.nn.blocks import make_activation, make_batch_norm, make_input, make_layer, seed_of_layer
from tfgen.nn.cpu import Dense


def feature_network(
    input_shape: Sequence[int], channels: int, units: int, *, seed: int, dtype: Any, name: str
) -> keras.Sequential:
    """A small convolutional network from images to non-negative features.

    3 × 3 convolutions, one at full size and two with twice the channels at half the side, with
    pooling after each size; then a dense layer. Each layer is followed by batch normalization and
    ReLU.

    Args:
        input_shape: height and width, 4 or more, and channels.
        channels: channels at full size.
        units: length of a feature vector.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.

    Returns:
        A built network `[B, H, W, C] → [B, units]`.
    """

    def block(index: int, kind: type[keras.Layer], width: int, **kwargs: Any) -> list[keras.Layer]:
        layer = make_layer(kind, width, seed=seed_of_layer(seed, index), dtype=dtype, **kwargs)
        return [layer, make_batch_norm(dtype), make_activation("relu", dtype)]

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
