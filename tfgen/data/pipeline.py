"""Batches of images in memory, in an order that is a function of the global step alone.

Nothing here has a state: a run that resumes at step g draws the batches that the uninterrupted run
would have drawn from g on.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.settings.training import MAX_SEED
from tfgen.system.quiet import import_quietly

if TYPE_CHECKING:
    import tensorflow as tf

# Batches that are made before they are asked for.
_AHEAD = 4


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Whole batches in one epoch of `n` images; what is left over is dropped.

    Raises:
        UsageError: the batch is larger than the data, or not positive.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size = {batch_size} is too small; the least is 1")
    if batch_size > n:
        raise UsageError(
            f"batch_size = {batch_size} is larger than the data, {n} images; the most is {n}"
        )
    return n // batch_size


def train_batches(
    images: "np.ndarray | tf.Tensor",
    labels: "np.ndarray | tf.Tensor | None" = None,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
) -> "tf.data.Dataset":
    """An infinite stream of shuffled batches, a pure function of (seed, global step).

    With S steps an epoch, step g takes batch g mod S of epoch g // S; each epoch is one permutation
    of the images, given by (seed, epoch), of which the last N mod `batch_size` entries are dropped.

    Args:
        images: uint8[N,H,W,C]; an array is copied at each call, a tensor that is `on_host` is not.
        labels: int[N], or None.
        batch_size: images a batch, B.
        seed: of the order, 0 … 2³¹ − 1.
        start_step: the global step of the first batch.

    Returns:
        Elements of static shape: images uint8[B,H,W,C], or (images, labels int64[B]).

    Raises:
        UsageError: the batch is larger than the data, or `seed` or `start_step` is out of its
            range.
    """
    n = len(images)
    steps = steps_per_epoch(n, batch_size)
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed = {seed} is out of range; it must be 0 … {MAX_SEED}")
    if start_step < 0:
        raise UsageError(f"start_step = {start_step} is too small; the least is 0")
    (tf,) = import_quietly()
    data = _as_tensors(images, labels)

    def batch(step: Any) -> Any:
        epoch, position = step // steps, step % steps
        places = position * batch_size + tf.range(batch_size, dtype=tf.int64)
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        chosen = tf.random.experimental.index_shuffle(places, key, n - 1)
        chosen = tf.ensure_shape(chosen, [batch_size])
        return tf.nest.map_structure(lambda tensor: tf.gather(tensor, chosen), data)

    return _parallel(tf.data.Dataset.counter(start_step), batch)


def eval_batches(
    images: np.ndarray, labels: np.ndarray | None = None, batch_size: int = 128
) -> "tf.data.Dataset":
    """The images in order, once; the last batch holds what is left.

    Args:
        images: uint8[N,H,W,C].
        labels: int[N], or None.
        batch_size: images a batch, B; may be larger than N.

    Returns:
        Elements: images uint8[≤B,H,W,C], or (images, labels int64[≤B]).

    Raises:
        UsageError: `batch_size` is not positive.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size = {batch_size} is too small; the least is 1")
    (tf,) = import_quietly()
    data = _as_tensors(images, labels)

    def batch(start: Any) -> Any:
        return tf.nest.map_structure(lambda tensor: tensor[start : start + batch_size], data)

    return _parallel(tf.data.Dataset.range(0, len(images), batch_size), batch)


def _parallel(places: Any, batch: Any) -> "tf.data.Dataset":
    """The batches of all places, made beside the training step."""
    (tf,) = import_quietly()
    options = tf.data.Options()
    # Its thread sleeps for twice as long each time and is waited for when the iterator goes: an
    # epoch of 1.7 s would end after 2.55 s.
    options.autotune.enabled = False
    dataset = places.map(batch, num_parallel_calls=2, deterministic=True).prefetch(_AHEAD)
    return dataset.with_options(options)


def on_host(array: Any) -> "tf.Tensor":
    """The array as a tensor in the host's memory; what is one already is not copied."""
    (tf,) = import_quietly()
    # tf.data runs on the CPU: on a GPU the tensor would be copied back at each step.
    with tf.device("/cpu:0"):
        return tf.convert_to_tensor(array)


def _as_tensors(images: Any, labels: Any) -> Any:
    """Tensors on the host. Captured by a map function they are inputs, not constants in its
    graph."""
    if labels is not None and len(labels) != len(images):
        raise UsageError(f"{len(images)} images, but {len(labels)} labels; they must be as many")
    (tf,) = import_quietly()
    return (
        on_host(images) if labels is None else (on_host(images), tf.cast(on_host(labels), tf.int64))
    )
