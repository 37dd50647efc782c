"""Faster training steps and layers on a CPU.

Each part computes what plain TensorFlow and Keras compute, up to rounding and, in
`side_by_side`, the draws of the noise. The context
`tfgen.nn.cores.speedups(False)` or the environment variable `TFGEN_CPU_SPEEDUPS=0` turns all of
them off: training steps and layers then use plain TensorFlow and Keras. docs/performance.md lists
what each part replaces.
"""

import contextlib
import contextvars
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen.nn.cores import enabled, set_within
from tfgen.nn.replicas import not_empty
from tfgen.random import BatchNoise
from tfgen.system.status import note

# Whether the layers that are being traced are not to be trained.
_INFERENCE = contextvars.ContextVar("inference", default=False)

# From this many channels on, a transposed convolution is fast without help.
_MANY_CHANNELS = 8


def inference() -> contextlib.AbstractContextManager[None]:
    """A context for tracing without training, as for an export.

    Layers then use kernels that are faster, but whose gradient may be slow.
    """
    return set_within(_INFERENCE, True)


def is_inference() -> bool:
    """Whether what is traced now is not to be trained."""
    return _INFERENCE.get()


# --- two operations at a time -----------------------------------------------------------


def side_by_side(
    function: Callable[..., Any], images: tf.Tensor, noise: BatchNoise, labels: tf.Tensor | None
) -> Any:
    """`function(images, noise, labels)`, computed for both halves of the batch at once.

    TensorFlow runs independent operations at the same time. A dense network is a chain of
    operations in which each depends on the one before. Two cores on each of its small products are
    slower than one core on each of two products. Each half draws its own noise, so this speed-up
    changes the noise.

    Args:
        function: returns tensors (or a structure of them) with the batch first. Each example's
            result must depend on that example alone.
        images: `[B, …]`.
        noise: the noise of the whole batch.
        labels: `[B, …]`, or None.

    Returns:
        The result of `function` for the whole batch.
    """
    if not enabled():
        return function(images, noise, labels)
    middle = (images.shape[0] or tf.shape(images)[0]) // 2
    batches = [images] if labels is None else [images, labels]

    def compute(index: int, half: slice) -> Any:
        def of_half(images: tf.Tensor, labels: tf.Tensor | None = None) -> Any:
            return function(images, noise.part(index), labels)

        return not_empty(of_half, *(batch[half] for batch in batches))

    halves = compute(0, slice(None, middle)), compute(1, slice(middle, None))
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *halves)


# --- convolutions -----------------------------------------------------------------------


def has_fast_upsampling(filters: int, input_shape: tf.TensorShape) -> bool:
    """Whether `upsample` may be used, and is faster than a transposed convolution."""
    return enabled() and is_inference() and filters < _MANY_CHANNELS and None not in input_shape[1:]


def upsample(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """A 4 × 4 transposed convolution with stride 2, as a sub-pixel convolution.

    At each of its positions, a plain convolution computes a square of output pixels as channels
    (Shi et al. 2016, "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network"). With few filters, this is faster than
    `tf.nn.conv2d_transpose`.

    Args:
        inputs: `[B, H, W, C]`; all but B must be known when it is traced.
        kernel: `[4, 4, filters, C]`.
        bias: `[filters]`.

    Returns:
        `[B, 2 H, 2 W, filters]`.
    """
    rows, columns, channels = inputs.shape[1:]
    filters = kernel.shape[2]
    # A square of 2 × 2 outputs that depend on the same 2 × 2 inputs takes the fewest operations.
    # The first such square starts one row and one column before the image. With one filter, it has
    # 4 channels, a quarter of an AVX-512 register; a square of 4 × 4 outputs has 16 and is faster.
    stride, offset = (1, 1) if filters > 1 else (2, 0)
    size, square = stride + 2 - offset, 2 * stride
    # Input i adds kernel[k] to output 2 i + k − 1. `taps[i, o]` is this k for input i and output o
    # of a square. A k outside of 0 … 3 has weight zero.
    taps = np.arange(square) - 2 * np.arange(size)[:, None] + 3 - offset
    kernel = tf.pad(kernel, [[3, 3], [3, 3], [0, 0], [0, 0]])
    kernel = tf.gather(tf.gather(kernel, taps + 3, axis=0), taps + 3, axis=2)
    kernel = tf.transpose(kernel, [0, 2, 5, 1, 3, 4])
    kernel = tf.reshape(kernel, [size, size, channels, square**2 * filters])
    # The last square of an odd side may end outside of the image.
    padding = [[0, 0], [1, 1 + rows % stride], [1, 1 + columns % stride], [0, 0]]
    outputs = tf.nn.conv2d(inputs, kernel, stride, padding)
    outputs = tf.nn.depth_to_space(tf.nn.bias_add(outputs, tf.tile(bias, [square**2])), square)
    if outputs.shape[1:3] == (2 * rows, 2 * columns):
        return outputs
    return outputs[:, offset : offset + 2 * rows, offset : offset + 2 * columns]


# --- graphs of an export ----------------------------------------------------------------


def function_of_weights(
    compute: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    """`compute` as a function `call(weights, *inputs)`, which the graph of an export has once.

    Layers of the same form can call it, each with its own weights in place of `variables`. Without
    it, TensorFlow optimizes the same operations for each layer when a version is first used.

    Args:
        compute: reads `variables`; gets tensors, and constants of Python.
        variables: the variables that `weights` replace, in the same order.
    """

    @tf.function(autograph=False, experimental_attributes={"_noinline": True})
    def call(weights: list[tf.Tensor], *inputs: Any) -> Any:
        with keras.StatelessScope(list(zip(variables, weights, strict=True))):
            return compute(*inputs)

    return call


# --- Adam -------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tfgen")
class Adam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2014) with TensorFlow's fused update.

    Keras's update consists of a dozen operations, each of which reads and writes arrays as large as
    the weights. Without XLA, which fuses them, they take a fifth of a dense GAN's step on a CPU.
    Arguments, state and, up to rounding, results are those of `keras.optimizers.Adam`. Gradients
    within `global_clipnorm` pass through unchanged.
    """

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        limit = self.global_clipnorm
        if not limit or not enabled():
            return super()._clip_gradients(grads)
        norm = tf.linalg.global_norm(grads)
        # A norm that is not finite makes every gradient NaN.
        scale = tf.where(norm <= limit, tf.ones_like(norm), limit / norm + (norm - norm))
        return [None if g is None else g * tf.cast(scale, g.dtype) for g in grads]

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        """Moves one variable and its two moments."""
        if self.amsgrad or tf.distribute.has_strategy() or not enabled():
            # The kernel supports neither AMSGrad nor variables that are spread over devices.
            super().update_step(gradient, variable, learning_rate)
            return
        dtype = variable.dtype
        # With gradient accumulation, Keras computes the iterations and has no variable of them.
        step = tf.cast(keras.ops.convert_to_tensor(self.iterations) + 1, dtype)
        decays = [tf.constant(decay, dtype) for decay in (self.beta_1, self.beta_2)]
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=decays[0] ** step,
            beta2_power=decays[1] ** step,
            lr=tf.cast(learning_rate, dtype),
            beta1=decays[0],
            beta2=decays[1],
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


# --- 16 bits ----------------------------------------------------------------------------

# With instructions, the ratio of `slowdown` is at most about 1; without them, it was 3 to 12.
_SLOW = 2.0


@functools.cache
def slowdown(dtype: str) -> float:
    """Time of a convolution in a dtype, divided by its time in float32; takes about 0.1 s."""
    images, kernel = tf.ones([16, 14, 14, 32]), tf.ones([3, 3, 32, 64])
    inputs = {name: (tf.cast(images, name), tf.cast(kernel, name)) for name in ("float32", dtype)}
    seconds = dict.fromkeys(inputs, float("inf"))
    # The least of several times in turns, since other programs may be running.
    for _ in range(6):
        for name, pair in inputs.items():
            start = time.perf_counter()
            tf.nn.conv2d(*pair, 1, "SAME").numpy()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds[dtype] / seconds["float32"]


@functools.cache
def warn_if_slow(dtype: str) -> None:
    """Says, once, if the machine computes more slowly in a 16-bit dtype than in float32."""
    if slowdown(dtype) > _SLOW:
        note(
            f"warning: this machine has no instructions for {dtype}: a convolution takes "
            f"{slowdown(dtype):.0f} times as long as in float32; train in float32"
        )
