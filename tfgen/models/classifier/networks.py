"""The classifier's network from images to features."""

import itertools
from typing import Any

import keras

from tfgen.models.classifier.config import ClassifierConfig
from tfgen.nn.blocks import make_activation, make_batch_norm, make_input, make_layer, seed_of_layer
from tfgen.settings.model import channels_at


def feature_network(config: ClassifierConfig, *, seed: int, dtype: Any) -> keras.Sequential:
    """A small convolutional network from images to non-negative features.

    3 × 3 convolutions, one at full size and two at each smaller size, with pooling after each size;
    then a dense layer. Each layer is followed by batch normalization and ReLU.

    Args:
        config: the model's configuration.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.

    Returns:
        A built network `[B, *image_shape] → [B, units]`.
    """
    indices = itertools.count()

    def block(kind: type[keras.Layer], width: int, **kwargs: Any) -> list[keras.Layer]:
        layer_seed = seed_of_layer(seed, next(indices))
        layer = make_layer(kind, width, seed=layer_seed, dtype=dtype, use_bias=False, **kwargs)
        return [layer, make_batch_norm(dtype), make_activation("relu", dtype)]

    layers = [make_input(config.image_shape, dtype)]
    height, width, _ = config.image_shape
    widths = channels_at(config.image_shape, config.channels, config.halvings)
    for index, channels in enumerate(widths):
        for _ in range(2 if index else 1):
            layers += block(keras.layers.Conv2D, channels, kernel_size=3, padding="same")
        # A side of one pixel keeps it; of other odd sides, the last pixel is dropped.
        padding = "same" if min(height, width) == 1 else "valid"
        layers.append(keras.layers.MaxPooling2D(padding=padding, dtype=dtype))
        height, width = layers[-1].compute_output_shape((None, height, width, channels))[1:3]
    layers += [keras.layers.Flatten(dtype=dtype), *block(keras.layers.Dense, config.units)]
    return keras.Sequential(layers, name="features")
