"""Arrays that tests compute with, and how they compare them."""

from typing import Any

import numpy as np
import tensorflow as tf


def normal(*shape: int, seed: int = 0) -> tf.Tensor:
    """Standard normal variates, `float32[shape]`."""
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def assert_close(actual: Any, expected: Any, rtol: float) -> None:
    """Asserts equality within `rtol` of the largest entry.

    The smaller entries are sums of terms as large as the largest.
    """
    scale = np.abs(np.asarray(expected, np.float64)).max(initial=0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale)
