"""Batches of images, in an order given by seed and global step alone.

Nothing here has state: a run that resumes at step g gets the batches that the uninterrupted run
would have got from step g on. Images that are mapped from a file are read from it batch by batch,
while the training step runs.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from tfgen.data.augmentation import augmentation
from tfgen.data.mapped import read_rows
from tfgen.errors import UsageError
from tfgen.settings.training import MAX_SEED
from tfgen.system.quiet import import_quietly

if TYPE_CHECKING:
    import tensorflow as tf

# Batches computed ahead of the training step.
_PREFETCH = 4


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Number of whole batches in `n` images; the remaining images are dropped.

    Raises:
        UsageError: `batch_size` is larger than `n`, or not positive.
    """
    if not 0 < batch_size <= n:
        raise UsageError(f"batch_size = {batch_size} is out of range; it must be 1 … {n}")
    return n // batch_size


def train_batches(
    images: "np.ndarray | tf.Tensor",
    labels: "np.ndarray | tf.Tensor | None" = None,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    augment: Collection[str] = (),
) -> "tf.data.Dataset":
    """An infinite stream of shuffled batches, a pure function of (seed, global step).

    With S steps per epoch, step g takes batch g mod S of epoch g // S. The order within an epoch is
    a permutation of the images, given by (seed, epoch); its last N mod `batch_size` entries are
    dropped.

    Args:
        images: uint8[N,H,W,C]. An array is copied at each call; a tensor from `on_host` and what is
            mapped from files are not.
        labels: int[N], or None.
        batch_size: images per batch, B.
        seed: seed of the order, 0 … 2³¹ − 1.
        start_step: global step of the first batch.
        augment: random changes of the images, a function of (seed, global step, place in the
            batch): `flip` mirrors left and right with probability 1/2, `translate` shifts rows and
            columns by up to an eighth of the side and repeats the edge.

    Returns:
        Elements of static shape: images uint8[B,H,W,C], or (images, labels int64[B]).

    Raises:
        UsageError: `batch_size` is larger than N, `seed` is out of its range, or
            `augment` has an unknown entry or the events are no images.
    """
    n = len(images)
    steps = steps_per_epoch(n, batch_size)
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed = {seed} is out of range; it must be 0 … {MAX_SEED}")
    (tf,) = import_quietly()
    take = _source(images, labels)
    augmented = augmentation(augment, seed, np.shape(images)[1:])

    def batch(step: Any) -> Any:
        epoch, position = step // steps, step % steps
        places = position * batch_size + tf.range(batch_size, dtype=tf.int64)
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        rows = tf.random.experimental.index_shuffle(places, key, n - 1)
        elements = take(tf.ensure_shape(rows, [batch_size]))
        if not augment:
            return elements
        if labels is None:
            return augmented(elements, step)
        return augmented(elements[0], step), elements[1]

    return _map_in_parallel(tf.data.Dataset.counter(start_step), batch)


def eval_batches(
    images: np.ndarray, labels: np.ndarray | None = None, batch_size: int = 128
) -> "tf.data.Dataset":
    """The images in order, once; the last batch may be smaller.

    Args:
        images: uint8[N,H,W,C]. An array is copied, a `np.memmap` is not.
        labels: int[N], or None.
        batch_size: images per batch, B; may be larger than N.

    Returns:
        Elements: images uint8[≤B,H,W,C], or (images, labels int64[≤B]).

    Raises:
        UsageError: `batch_size` is not positive.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size = {batch_size} is too small; the least is 1")
    (tf,) = import_quietly()
    take, n = _source(images, labels), len(images)

    def batch(start: Any) -> Any:
        return take(tf.range(start, tf.minimum(start + batch_size, n)))

    return _map_in_parallel(tf.data.Dataset.range(0, n, batch_size), batch)


def _map_in_parallel(positions: Any, batch: Any) -> "tf.data.Dataset":
    """The batch at each position, computed while the training step runs."""
    (tf,) = import_quietly()
    options = tf.data.Options()
    # The end of an iterator waits for the autotuning thread, which sleeps twice as long each time:
    # an epoch of 1.7 s would take 2.55 s.
    options.autotune.enabled = False
    # Beside a step on a GPU, all cores are free.
    calls = tf.data.AUTOTUNE if tf.config.get_visible_devices("GPU") else 2
    dataset = positions.map(batch, num_parallel_calls=calls, deterministic=True)
    return dataset.prefetch(_PREFETCH).with_options(options)


def on_host(array: Any) -> "tf.Tensor | np.memmap":
    """The array `[N, …]` as a tensor in host memory, with the same dtype.

    A tensor that is there already is not copied, and what is mapped from a file stays as it is.
    """
    if isinstance(array, np.memmap):
        return array
    (tf,) = import_quietly()
    # tf.data runs on the CPU: a tensor on a GPU would be copied back at each step.
    with tf.device("/cpu:0"):
        return tf.convert_to_tensor(array)


def _source(images: Any, labels: Any) -> Callable[["tf.Tensor"], Any]:
    """A function from indices `int64[B]` to these images, or to these images and labels."""
    if labels is None:
        return _rows(images)
    if len(labels) != len(images):
        raise UsageError(f"{len(images)} images need as many labels, not {len(labels)}")
    (tf,) = import_quietly()
    take_images, take_labels = _rows(images), _rows(tf.cast(on_host(labels), tf.int64))
    return lambda rows: (take_images(rows), take_labels(rows))


def _rows(array: Any) -> Callable[["tf.Tensor"], "tf.Tensor"]:
    """A function from indices to rows of an array, which may be mapped from a file."""
    (tf,) = import_quietly()
    data = on_host(array)
    if not isinstance(data, np.memmap):
        # The map function captures a tensor, which it takes as an input. An array would be a
        # constant in its graph.
        return lambda rows: tf.gather(data, rows)

    def read(rows: Any) -> Any:
        # Stateless: the same rows always have the same values, so reads may run side by side.
        values = tf.numpy_function(lambda i: read_rows(data, i), [rows], data.dtype, stateful=False)
        return tf.ensure_shape(values, [rows.shape[0], *data.shape[1:]])

    return read
