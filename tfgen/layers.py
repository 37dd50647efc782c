"""Layers and networks that the families share; a network is a function that returns a built `Sequential`.

Each takes the seed of its initializers: two models with one seed start with the same weights.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

# Slope of a leaky ReLU below zero, as DCGAN has it (Radford et al. 2015).
_LEAK = 0.2
# As PyTorch's batch normalization has them; Keras's own moving average is ten times as slow.
_NORM_MOMENTUM, _NORM_EPSILON = 0.9, 1e-5
# Least singular value that is divided by.
_TINY = 1e-6
# Keeps dropout's draws apart from all others of one seed.
_DROPOUT = 0x6472


@keras.saving.register_keras_serializable(package="tfgen")
class Dense(keras.layers.Dense):
    """Keras's dense layer of `[B, inputs]`, its gradient by the inputs from another kernel.

    TensorFlow's product with a transposed matrix is slow on a CPU where widths are powers of two, and its
    batched product is not: 64 × 1024 by the transposed 512 × 1024 ran at 62 and at 144 GFLOP/s.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """`activation(inputs · kernel + bias)`."""
        outputs = _product(inputs, tf.convert_to_tensor(self.kernel))
        if self.bias is not None:
            outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))
        return self.activation(outputs)


@tf.custom_gradient
def _product(inputs: tf.Tensor, kernel: tf.Tensor) -> Any:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        by_inputs = tf.linalg.matmul(upstream[None], kernel[None], transpose_b=True)[0]
        return by_inputs, tf.linalg.matmul(inputs, upstream, transpose_a=True)

    return tf.linalg.matmul(inputs, kernel), gradient


@keras.saving.register_keras_serializable(package="tfgen")
def leaky_relu(inputs: tf.Tensor) -> tf.Tensor:
    """max(x, 0.2 x), from two plain operations.

    TensorFlow's graph optimizer fuses its own with a convolution before it, fails at that in training, and
    says so on the terminal.
    """
    return tf.maximum(inputs, _LEAK * inputs)


@keras.saving.register_keras_serializable(package="tfgen")
class Dropout(keras.layers.Layer):
    """Dropout (Srivastava et al. 2014) whose mask is a function of (seed, calls in training so far, replica).

    Keras's own keeps its generator's state beside the weights: a resumed run would draw other masks, and
    all replicas the same ones. Here the count of calls is a weight, saved with the others.

    Args:
        rate: the share that becomes zero, in [0, 1); what stays is divided by 1 − rate.
        seed: of the masks.
        **kwargs: for `keras.layers.Layer`.
    """

    def __init__(self, rate: float, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed

    def build(self, input_shape: Any) -> None:
        """Makes the counter."""
        self.calls = _state(self, "calls", (), "int64", "zeros")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The input, in training thinned out."""
        if not training or not self.rate:
            return inputs
        fold = tf.random.experimental.stateless_fold_in
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = fold(fold(tf.constant([self.seed, _DROPOUT], tf.int32), self.calls.value), replica)
        kept = _sixteen_bits(tf.shape(inputs), seed) >= round(self.rate * 2**16)
        self.calls.assign_add(1)
        return tf.where(kept, inputs / (1 - self.rate), tf.zeros([], inputs.dtype))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="tfgen")
class SpectralNormalization(keras.layers.Layer):
    """Divides a layer's kernel by its largest singular value (Miyato et al. 2018, "Spectral normalization").

    The value comes from a power iteration, one step a call in training, through which no gradient goes; it
    does go through the division. Keras's own wrapper overwrites the kernel instead, which is another method.

    Args:
        layer: a dense or convolutional layer without bias and activation.
        seed: of the iteration's start.
        use_bias: whether a bias is added after the division.
        **kwargs: for `keras.layers.Layer`.
    """

    def __init__(self, layer: keras.layers.Layer, seed: int = 0, use_bias: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.layer, self.seed, self.use_bias = layer, seed, use_bias

    def build(self, input_shape: Any) -> None:
        """Builds the layer, its bias, and the vector of the iteration."""
        if not self.layer.built:  # one that was loaded is
            self.layer.build(input_shape)
        units = self.layer.kernel.shape[-1]
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(units,), initializer="zeros")
        start = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.vector = _state(self, "vector", (units,), self.variable_dtype, start)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The layer's output with the normalized kernel."""
        matrix = tf.reshape(self.layer.kernel.value, [-1, self.layer.kernel.shape[-1]])
        matrix = tf.cast(matrix, self.variable_dtype)
        fixed, right = tf.stop_gradient(matrix), self.vector.value
        left = tf.math.l2_normalize(tf.linalg.matvec(fixed, right))
        right = tf.math.l2_normalize(tf.linalg.matvec(fixed, left, transpose_a=True))
        if training:
            self.vector.assign(right)
        largest = tf.tensordot(left, tf.linalg.matvec(matrix, right), 1)
        outputs = self.layer(inputs)
        # A kernel of zeros stays one.
        outputs /= tf.cast(tf.maximum(largest, _TINY), outputs.dtype)
        return tf.nn.bias_add(outputs, tf.cast(self.bias, outputs.dtype)) if self.use_bias else outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The layer's."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "seed": self.seed, "use_bias": self.use_bias}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SpectralNormalization":
        """The layer that `get_config` describes."""
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


def _sixteen_bits(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Uniform integers of 0 … 2¹⁶ − 1, `int32`; two from a word, since the words are what takes the time."""
    size = tf.reduce_prod(shape)
    words = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, maxval=None, dtype=tf.uint32)
    halves = tf.reshape(tf.bitcast(words, tf.uint16), [-1])
    return tf.cast(tf.reshape(halves[:size], shape), tf.int32)


def _state(layer: keras.layers.Layer, name: str, shape: tuple, dtype: str, initializer: Any) -> Any:
    """A weight that a step changes and no gradient does; replicas hold one value."""
    return layer.add_weight(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        trainable=False,
        autocast=False,
        aggregation="only_first_replica",
    )


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
    layers: list[keras.Layer] = [keras.Input(input_shape), keras.layers.Flatten(dtype=dtype)]
    for index, units in enumerate([*hidden, math.prod(output_shape)]):
        last, layer_seed = index == len(hidden), _layer_seed(seed, index)
        fused = None if last or activation == "leaky_relu" or batch_norm else activation
        layers.append(
            _normalized(
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
            layers.append(_activation(activation, dtype))
        if not last and dropout and index == 0:
            layers.append(Dropout(dropout, layer_seed, dtype=dtype))
    layers.append(keras.layers.Reshape(tuple(output_shape), dtype=dtype))
    return keras.Sequential(layers, name=name)


def convolutional_generator(
    latent_dim: int, channels: int, image_shape: Sequence[int], *, seed: int, dtype: Any, name: str
) -> keras.Sequential:
    """DCGAN's generator for small images (Radford et al. 2015): a quarter of the side, half of it, all of it.

    Args:
        latent_dim: length of a latent vector.
        channels: of the layer at half of the side; twice as many at a quarter.
        image_shape: height and width, divisible by four, and channels.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.

    Returns:
        A built network `[B, latent_dim] → [B, H, W, C]` in −1…1.
    """
    height, width, depth = image_shape
    quarter = (height // 4, width // 4, 2 * channels)
    transposed = {"kernel_size": 4, "strides": 2, "padding": "same", "dtype": dtype}
    layers = [
        keras.Input((latent_dim,)),
        _normalized(keras.layers.Dense, math.prod(quarter), seed=_layer_seed(seed, 0), dtype=dtype),
        keras.layers.Reshape(quarter, dtype=dtype),
        _batch_norm(dtype),
        _activation("relu", dtype),
        _normalized(keras.layers.Conv2DTranspose, channels, seed=_layer_seed(seed, 1), **transposed),
        _batch_norm(dtype),
        _activation("relu", dtype),
        _normalized(
            keras.layers.Conv2DTranspose, depth, seed=_layer_seed(seed, 2), activation="tanh", **transposed
        ),
    ]
    return keras.Sequential(layers, name=name)


def convolutional_discriminator(
    input_shape: Sequence[int],
    channels: int,
    *,
    seed: int,
    dtype: Any,
    name: str,
    output_bias: bool = True,
    spectral_norm: bool = False,
    dropout: float = 0.0,
) -> keras.Sequential:
    """DCGAN's discriminator for small images (Radford et al. 2015), without batch normalization.

    Args:
        input_shape: height, width, channels.
        channels: of the layer at half of the side; twice as many at a quarter.
        seed: of the initial weights.
        dtype: policy or dtype of all layers.
        name: of the network.
        output_bias: whether the last layer has a bias.
        spectral_norm: whether all kernels are divided by their largest singular value.
        dropout: rate after each activation.

    Returns:
        A built network `[B, H, W, C] → [B, 1]`.
    """
    layers: list[keras.Layer] = [keras.Input(input_shape)]
    for index in range(2):
        layer_seed = _layer_seed(seed, index)
        strided = {"kernel_size": 4, "strides": 2, "padding": "same", "dtype": dtype}
        layers += [
            _normalized(
                keras.layers.Conv2D,
                channels * 2**index,
                spectral_norm=spectral_norm,
                seed=layer_seed,
                **strided,
            ),
            keras.layers.Activation(leaky_relu, dtype=dtype),
        ]
        if dropout:
            layers.append(Dropout(dropout, layer_seed, dtype=dtype))
    layers += [
        keras.layers.Flatten(dtype=dtype),
        _normalized(
            keras.layers.Dense,
            1,
            use_bias=output_bias,
            spectral_norm=spectral_norm,
            seed=_layer_seed(seed, 2),
            dtype=dtype,
        ),
    ]
    return keras.Sequential(layers, name=name)


def _normalized(
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


def _batch_norm(dtype: Any) -> keras.layers.Layer:
    # Replicas that each averaged the moments of their own share would drift apart.
    synchronized = tf.distribute.has_strategy()
    return keras.layers.BatchNormalization(
        momentum=_NORM_MOMENTUM, epsilon=_NORM_EPSILON, synchronized=synchronized, dtype=dtype
    )


def _activation(name: str, dtype: Any) -> keras.layers.Layer:
    if name == "leaky_relu":
        return keras.layers.LeakyReLU(_LEAK, dtype=dtype)
    return keras.layers.Activation(name, dtype=dtype)


def _layer_seed(seed: int, index: int) -> int:
    """Seeds of different layers differ, and so do those of neighbouring model seeds."""
    return (seed * 1_000_003 + index) % 2**31
