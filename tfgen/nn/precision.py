"""Whether the machine has instructions for 16 bits: without them, they are slower than float32."""

import functools
import time

import tensorflow as tf

from tfgen.system.status import note

# With instructions, the ratio of `slowdown` is at most about 1; without them, it was 3 to 12.
_SLOW = 2.0


@functools.cache
def slowdown(dtype: str) -> float:
    """Time of a convolution in a dtype, divided by its time in float32; takes about 0.1 s."""
    images, kernel = tf.random.normal([16, 14, 14, 32]), tf.random.normal([3, 3, 32, 64])
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
