"""Layers that the families share."""

from typing import Any

import keras
import tensorflow as tf

from tfgen.nn import cpu

# Slope of a leaky ReLU below zero, as in DCGAN (Radford et al. 2015).
LEAK = 0.2
# Lower bound of the singular value by which a kernel is divided.
_TINY = 1e-6
# Separates dropout's noise from all other noise of the same seed. "dr" in ASCII.
_DROPOUT = 0x6472


@keras.saving.register_keras_serializable(package="tfgen")
def leaky_relu(inputs: tf.Tensor) -> tf.Tensor:
    """max(x, 0.2 x), from two elementary operations.

    TensorFlow's graph optimizer tries to fuse `tf.nn.leaky_relu` with a preceding convolution,
    fails in training, and prints an error on the terminal.
    """
    return tf.maximum(inputs, LEAK * inputs)


@keras.saving.register_keras_serializable(package="tfgen")
class Dropout(keras.layers.Layer):
    """Dropout whose mask is a function of (seed, number of training calls, replica).

    Srivastava et al. 2014. Keras's own dropout keeps the state of its generator outside of the
    weights: a resumed run would draw different masks, and all replicas the same masks. Here the
    number of calls is a weight, saved with the other weights.

    Args:
        rate: share of the inputs that becomes zero, in [0, 1); the rest is divided by 1 − rate.
        seed: seed of the masks.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(self, rate: float, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed

    def build(self, input_shape: Any) -> None:
        """Creates the counter of calls."""
        self.calls = add_state(self, "calls", (), "int64", "zeros")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The inputs; in training, a share of them becomes zero."""
        if not training or not self.rate:
            return inputs
        fold = tf.random.experimental.stateless_fold_in
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = fold(fold(tf.constant([self.seed, _DROPOUT], tf.int32), self.calls.value), replica)
        mask = _sixteen_bits(tf.shape(inputs), seed) >= round(self.rate * 2**16)
        # Not without a batch; see `ImageModel.count_step`.
        with tf.control_dependencies([inputs]):
            self.calls.assign_add(1)
        return tf.where(mask, inputs / (1 - self.rate), tf.zeros([], inputs.dtype))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="tfgen")
class Upsampling(keras.layers.Conv2DTranspose):
    """A transposed convolution that doubles the sides: 4 × 4, stride 2, `same`.

    Args:
        filters: channels of the output, `[B, 2 H, 2 W, filters]`.
        **kwargs: further arguments of `keras.layers.Conv2DTranspose`.
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(filters, **{"kernel_size": 4, "strides": 2, "padding": "same", **kwargs})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[B, H, W, C] → [B, 2 H, 2 W, filters]`."""
        if not (self.use_bias and cpu.has_fast_upsampling(self.filters, inputs.shape)):
            return super().call(inputs)
        weights = (tf.cast(tf.convert_to_tensor(w), inputs.dtype) for w in (self.kernel, self.bias))
        return self.activation(cpu.upsample(inputs, *weights))


@keras.saving.register_keras_serializable(package="tfgen")
class GatedResidual(keras.layers.Layer):
    """A gated residual block: x + v σ(g), with v and g from two convolutions of x.

    The gate is that of van den Oord et al. 2016, "Conditional image generation with PixelCNN
    decoders". The layers are ReLU, a 3 × 3 convolution as wide as the input, ReLU, and a 1 × 1
    convolution twice as wide.

    Args:
        seed: seed of the initial weights.
        scale: factor of the initial weights of the last convolution. With many blocks one after the
            other, it keeps their sum from growing with their number.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(self, seed: int = 0, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed, self.scale = seed, scale

    def build(self, input_shape: Any) -> None:
        """Creates both convolutions, for images `[B, H, W, C]`."""
        channels, dtype = input_shape[-1], self.dtype_policy
        # Glorot's, whose variance is multiplied.
        inner, outer = (
            keras.initializers.VarianceScaling(variance, "fan_avg", "uniform", seed)
            for variance, seed in ((1.0, 2 * self.seed), (self.scale**2, 2 * self.seed + 1))
        )
        self.inner = keras.layers.Conv2D(
            channels, 3, padding="same", kernel_initializer=inner, dtype=dtype
        )
        self.outer = keras.layers.Conv2D(2 * channels, 1, kernel_initializer=outer, dtype=dtype)
        self.inner.build(input_shape)
        self.outer.build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, H, W, C] → [B, H, W, C]`."""
        hidden = tf.nn.relu(self.inner(tf.nn.relu(inputs)))
        value, gate = tf.split(self.outer(hidden), 2, axis=-1)
        return inputs + value * tf.sigmoid(gate)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "seed": self.seed, "scale": self.scale}


@keras.saving.register_keras_serializable(package="tfgen")
class SpectralNormalization(keras.layers.Wrapper):
    """Divides a layer's kernel by its largest singular value.

    Miyato et al. 2018, "Spectral normalization for generative adversarial networks".

    The value comes from a power iteration with one step per call in training. Gradients flow
    through the division, but not through the iteration. Keras's own wrapper overwrites the kernel
    instead, which is a different method.

    Args:
        layer: a dense or convolutional layer without bias and activation.
        seed: seed of the iteration's initial vector.
        use_bias: whether a bias is added after the division.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(
        self, layer: keras.layers.Layer, seed: int = 0, use_bias: bool = True, **kwargs: Any
    ):
        super().__init__(layer, **kwargs)
        self.seed, self.use_bias = seed, use_bias

    def build(self, input_shape: Any) -> None:
        """Builds the layer, its bias, and the vector of the iteration."""
        super().build(input_shape)
        units = self.layer.kernel.shape[-1]
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(units,), initializer="zeros")
        start = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.vector = add_state(self, "vector", (units,), self.variable_dtype, start)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The layer's output with the normalized kernel."""
        matrix = tf.reshape(self.layer.kernel.value, [-1, self.layer.kernel.shape[-1]])
        matrix = tf.cast(matrix, self.variable_dtype)
        fixed, right = tf.stop_gradient(matrix), self.vector.value
        left = tf.math.l2_normalize(tf.linalg.matvec(fixed, right))
        right = tf.math.l2_normalize(tf.linalg.matvec(fixed, left, transpose_a=True))
        if training:
            with tf.control_dependencies([inputs]):
                self.vector.assign(right)
        largest = tf.tensordot(left, tf.linalg.matvec(matrix, right), 1)
        outputs = self.layer(inputs)
        # A kernel of zeros stays zero.
        outputs /= tf.cast(tf.maximum(largest, _TINY), outputs.dtype)
        return (
            tf.nn.bias_add(outputs, tf.cast(self.bias, outputs.dtype)) if self.use_bias else outputs
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "seed": self.seed, "use_bias": self.use_bias}


def _sixteen_bits(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Uniform integers in 0…2¹⁶ − 1, `int32`.

    Two integers come from one 32-bit word, because drawing words takes most of the time.
    """
    size = tf.reduce_prod(shape)
    words = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, dtype=tf.uint32)
    halves = tf.reshape(tf.bitcast(words, tf.uint16), [-1])
    return tf.cast(tf.reshape(halves[:size], shape), tf.int32)


def add_state(layer: keras.Layer, name: str, shape: tuple, dtype: str, initializer: Any) -> Any:
    """A weight that training steps change without a gradient, equal on all replicas.

    No mixed policy casts it to 16 bits.
    """
    fixed: Any = {"trainable": False, "autocast": False, "aggregation": "only_first_replica"}
    return layer.add_weight(shape, initializer, dtype, name=name, **fixed)
