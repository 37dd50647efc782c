"""The flow's convolutional conditioners."""

from collections.abc import Sequence
from typing import Any

import keras

from tfgen.nn.blocks import make_activation, make_input, make_layer, seed_of_layer
from tfgen.nn.layers import GatedResidual


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
    """A convolutional network of gated residual blocks at one resolution.

    Like the conditioners of Flow++ (Ho et al. 2019).

    Args:
        input_shape: height, width, channels.
        channels: channels of the blocks.
        blocks: number of blocks.
        outputs: channels of the output, which is zero before training.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.

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
        # 1 × 1, because mixture couplings need many outputs: 3 × 3 would cost as much as a block.
        make_layer(
            keras.layers.Conv2D, outputs, seed=seeds[-1], zero=True, kernel_size=1, dtype=dtype
        ),
    ]
    return keras.Sequential(layers, name=name)
