"""Batches that may be empty."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def pad_empty(batch: tf.Tensor) -> tf.Tensor:
    """The batch, or one example of zeros in place of no example."""
    missing = tf.cast(tf.equal(tf.shape(batch)[0], 0), tf.int32)
    return tf.pad(batch, [[0, missing]] + [[0, 0]] * (len(batch.shape) - 1))


def not_empty(function: Callable[..., Any], *batches: tf.Tensor) -> Any:
    """`function(*batches)` for batches that may be empty.

    On a CPU, TensorFlow's convolution of an empty batch has a wrong shape. An empty batch is
    therefore replaced by one example of zeros, whose result is dropped.

    Args:
        function: gets the batches; returns tensors (or a structure of them) with the batch first.
        *batches: tensors with the batch first, all of the same size.
    """
    if batches[0].shape[0]:  # known, and not 0
        return function(*batches)
    size = tf.shape(batches[0])[0]
    results = function(*map(pad_empty, batches))
    return tf.nest.map_structure(lambda result: result[:size], results)
