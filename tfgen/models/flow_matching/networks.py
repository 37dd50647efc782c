"""The networks of flow matching, which regress the velocity: dense, or a U-Net."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen.models.flow_matching.config import FlowMatchingConfig
from tfgen.nn.blocks import dense_network, make_input, make_layer, precise, seed_of_layer
from tfgen.settings.model import halvings

# Frequencies of the features of a time in 0…1, in radians.
_FREQUENCIES = np.geomspace(1.0, 100.0, 16)
# Channels of an attention head, and width of the embedding of time and label.
_HEAD, _EMBEDDING = 32, 256
_EPSILON = 1e-5


def time_features(times: tf.Tensor, spans: tf.Tensor | None = None) -> tf.Tensor:
    """Sines and cosines `[B, 32]` of times `[B]`; their amplitude is 1 plus the span `[B]`."""
    angles = times[:, None] * tf.constant(_FREQUENCIES, times.dtype)
    waves = tf.concat([tf.sin(angles), tf.cos(angles)], axis=1)
    return waves if spans is None else (1 + spans)[:, None] * waves


def context_size(num_classes: int) -> int:
    """Length of the context: the features of the time, and a one-hot label."""
    return 2 * len(_FREQUENCIES) + num_classes


def build_velocity(config: FlowMatchingConfig, seed: int, dtype: Any) -> keras.Model:
    """The network of a configuration, whose last layer starts at zero.

    Args:
        config: the model's configuration.
        seed: the model's seed, from which those of the layers follow.
        dtype: dtype policy of the layers; the outputs have at least float32.

    Returns:
        A built network of two inputs, `[B, *image_shape]` and the context `[B, 32 + num_classes]`,
        which has the features of the time and the one-hot label, to `[B, *image_shape]`.
    """
    inputs = make_input(config.image_shape, dtype)
    context = make_input((context_size(config.num_classes),), dtype)
    build = unet if config.architecture == "unet" else _dense
    velocity = build(config, inputs, context, seed, dtype)
    return keras.Model([inputs, context], velocity, name="velocity")


def _dense(
    config: FlowMatchingConfig, inputs: Any, context: Any, seed: int, dtype: Any
) -> keras.KerasTensor:
    flat = keras.layers.Flatten(dtype=dtype)(inputs)
    joined = keras.layers.Concatenate(dtype=dtype)([flat, context])
    ends: dict[str, Any] = {"activation": "silu", "zero_output": True, "name": "dense"}
    sizes = (joined.shape[1:], config.hidden, config.image_shape)
    return dense_network(*sizes, seed=seed, dtype=dtype, **ends)(joined)


def unet(
    config: FlowMatchingConfig, inputs: Any, context: Any, seed: int, dtype: Any
) -> keras.KerasTensor:
    """A U-Net (Ronneberger et al. 2015) from half the side down, as in Ho et al. 2020.

    The first convolution halves the sides, and the last one makes squares of 2 × 2 pixels: nothing
    is computed at full size, where it would cost most. At each size there are residual blocks, at
    the smallest one with attention between them. Sides that cannot be halved often enough are
    padded with zeros, and the velocity is cut again.

    Args:
        config: the model's configuration.
        inputs: `[B, H, W, C]`.
        context: `[B, F]`.
        seed: seed of the initial weights.
        dtype: dtype policy of the layers.

    Returns:
        `[B, H, W, C]`.
    """
    seeds = (seed_of_layer(seed, index) for index in itertools.count())
    height, width, depth = config.image_shape
    times = config.halvings or halvings(config.image_shape)
    widths, counts = (_extended(values, times) for values in (config.channels, config.blocks))

    def make(kind: type[keras.Layer], units: int, **kwargs: Any) -> keras.Layer:
        return make_layer(kind, units, seed=next(seeds), **{"dtype": dtype, **kwargs})

    def add_blocks(maps: Any, count: int) -> Any:
        for _ in range(count):
            maps = ModulatedResidual(next(seeds), scale, dtype=dtype)([maps, embedding])
        return maps

    scale = 1 / math.sqrt(2 * sum(counts))
    embedding = make(keras.layers.Dense, _EMBEDDING, activation="silu")(context)
    embedding = make(keras.layers.Dense, _EMBEDDING, activation="silu")(embedding)
    surplus = [(0, -side % 2**times) for side in (height, width)]
    maps = keras.layers.ZeroPadding2D(surplus, dtype=dtype)(inputs)
    maps = make(keras.layers.Conv2D, widths[0], kernel_size=6, strides=2, padding="same")(maps)
    skips = []
    for count, smaller in zip(counts, widths[1:], strict=False):
        maps = add_blocks(maps, count)
        skips.append(maps)
        maps = make(keras.layers.Conv2D, smaller, kernel_size=2, strides=2)(maps)
    maps = add_blocks(maps, counts[-1])
    maps = Attention(next(seeds), dtype=dtype)(maps)
    maps = add_blocks(maps, counts[-1])
    for count, skip in zip(counts[-2::-1], reversed(skips), strict=True):
        maps = make(keras.layers.Conv2D, 4 * skip.shape[-1], kernel_size=1)(maps)
        maps = DepthToSpace(dtype=dtype)(maps)
        maps = add_blocks(keras.layers.Add(dtype=dtype)([maps, skip]), count)
    maps = keras.layers.Activation("silu", dtype=dtype)(maps)
    last = {"kernel_size": 3, "padding": "same", "zero": True, "dtype": precise(dtype)}
    maps = DepthToSpace(dtype=precise(dtype))(make(keras.layers.Conv2D, 4 * depth, **last)(maps))
    return keras.layers.Cropping2D(surplus, dtype=precise(dtype))(maps)


def _extended(values: Sequence[int], length: int) -> list[int]:
    """The first `length` values; the last one is repeated if there are fewer."""
    return [*values[:length], *[values[-1]] * (length - len(values))]


@keras.saving.register_keras_serializable(package="tfgen")
class DepthToSpace(keras.layers.Layer):
    """Four channels as a square of 2 × 2 pixels, `[B, H, W, 4 C] → [B, 2 H, 2 W, C]`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Shi et al. 2016, "Real-time single image and video super-resolution"."""
        return tf.nn.depth_to_space(inputs, 2)


@keras.saving.register_keras_serializable(package="tfgen")
class ModulatedResidual(keras.layers.Layer):
    """A residual block whose features get a scale and a shift by an embedding.

    The layers are SiLU, a 3 × 3 convolution, division by the root mean square of the example's
    features, scale and shift (Perez et al. 2018, "FiLM"), SiLU, and a 3 × 3 convolution.

    Args:
        seed: seed of the initial weights.
        scale: factor of the initial weights of the last convolution.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(self, seed: int = 0, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed, self.scale = seed, scale

    def build(self, input_shape: Any) -> None:
        """Creates the layers, for maps `[B, H, W, C]` and embeddings `[B, E]`."""
        maps, embedding = input_shape
        seeds = (seed_of_layer(self.seed, index) for index in range(3))
        common: dict[str, Any] = {"dtype": self.dtype_policy}
        convolution = {"kernel_size": 3, "padding": "same", **common}
        self.inner = make_layer(
            keras.layers.Conv2D, maps[-1], seed=next(seeds), use_bias=False, **convolution
        )
        self.modulation = make_layer(keras.layers.Dense, 2 * maps[-1], seed=next(seeds), **common)
        outer = keras.initializers.VarianceScaling(self.scale**2, "fan_avg", "uniform", next(seeds))
        self.outer = keras.layers.Conv2D(maps[-1], kernel_initializer=outer, **convolution)
        for layer, shape in ((self.inner, maps), (self.modulation, embedding), (self.outer, maps)):
            layer.build(shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """`[B, H, W, C], [B, E] → [B, H, W, C]`."""
        maps, embedding = inputs
        # What is not a product takes a CPU half as long in float32 as in bfloat16.
        cast = functools.partial(tf.cast, dtype=self.variable_dtype)
        features = cast(self.inner(_silu(cast(maps))))
        modulation = cast(self.modulation(embedding))[:, None, None]
        scale, shift = tf.split(modulation, 2, axis=-1)
        scale = (1 + scale) * inverse_rms(features)
        return maps + self.outer(_silu(features * scale + shift))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "seed": self.seed, "scale": self.scale}


@keras.saving.register_keras_serializable(package="tfgen")
class Attention(keras.layers.Layer):
    """Self-attention between the positions of images, added to them (Vaswani et al. 2017).

    Args:
        seed: seed of the initial weights.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(self, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        """Creates the layers, for maps `[B, H, W, C]`."""
        channels = input_shape[-1]
        self.heads = max(1, channels // _HEAD)
        common: dict[str, Any] = {"dtype": self.dtype_policy, "use_bias": False}
        self.projections, self.outputs = (
            make_layer(keras.layers.Dense, units, seed=seed_of_layer(self.seed, index), **common)
            for index, units in enumerate((3 * self.heads * _HEAD, channels))
        )
        self.projections.build(input_shape)
        self.outputs.build((None, None, self.heads * _HEAD))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[B, H, W, C] → [B, H, W, C]`."""
        height, width = inputs.shape[1:3]
        joined = self.projections(inputs * inverse_rms(inputs))
        split = tf.reshape(joined, [-1, height * width, 3, self.heads, _HEAD])
        queries, keys, values = tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4]))
        weights = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True) / math.sqrt(_HEAD))
        heads = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])
        flat = tf.reshape(heads, [-1, height, width, self.heads * _HEAD])
        return inputs + self.outputs(flat)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}


def _silu(inputs: tf.Tensor) -> tf.Tensor:
    """x sigmoid(x); the gradient of `tf.nn.silu` would compute the sigmoid once more."""
    return inputs * tf.sigmoid(inputs)


def inverse_rms(maps: tf.Tensor) -> tf.Tensor:
    """1 / root mean square of each example's features, `[B, 1, 1, 1]`."""
    # The sum of squares may be too large for float16.
    precise = tf.cast(maps, tf.float32) if maps.dtype == tf.float16 else maps
    return tf.cast(tf.math.rsqrt(_mean_square(precise) + _EPSILON), maps.dtype)


@tf.custom_gradient
def _mean_square(maps: tf.Tensor) -> Any:
    """`[B, 1, 1, 1]`; TensorFlow's gradient would make three more arrays as large as the maps."""
    size = maps.shape[1:].num_elements()
    mean = tf.reduce_mean(tf.square(maps), axis=[1, 2, 3], keepdims=True)
    return mean, lambda gradient: 2 / size * gradient * maps
