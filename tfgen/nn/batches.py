"""Batches that may be empty."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

_PRESENT: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar("present", default=None)


@contextlib.contextmanager
def images_present(present: tf.Tensor | None) -> Iterator[None]:
    """A context for the step of a replica that may have no image.

    Args:
        present: scalar, 1 if the replica has images, 0 if it computes an image in place of none;
            None: it has images.
    """
    token = _PRESENT.set(present)
    try:
        yield
    finally:
        _PRESENT.reset(token)


def are_present() -> tf.Tensor | None:
    """The argument of the `images_present` around this step; None if there is none."""
    return _PRESENT.get()


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
