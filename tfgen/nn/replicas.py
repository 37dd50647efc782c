"""Steps over the replicas of a `tf.distribute` strategy, and batches that may be empty.

A function of this module is called in a replica's step. Outside of a step, and with a single
replica, it does what its name says for that replica alone.
"""

import contextvars
import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# 1 if this replica has images in this step, 0 if it computes an image in place of none.
_PRESENT: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar("present", default=None)


def count() -> int:
    """Number of replicas that train together."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def context() -> Any:
    """The context of this replica; None if it is the only one, and outside of a step."""
    return tf.distribute.get_replica_context() if count() > 1 else None


def total(tensors: Any) -> Any:
    """The sum over all replicas of each tensor of a structure, in which None stays None.

    The sums are equal on all replicas, bit for bit.
    """
    replica = context()
    if replica is None:
        return tensors
    present = [tensor for tensor in tf.nest.flatten(tensors) if tensor is not None]
    sums = iter(replica.all_reduce(tf.distribute.ReduceOp.SUM, present) if present else [])
    return tf.nest.map_structure(lambda tensor: None if tensor is None else next(sums), tensors)


def merged(function: Callable[[], Any]) -> Any:
    """The result of a function that sees the variables of all replicas together.

    A metric, for example, then reads as that of the examples of all replicas.
    """
    replica = context()
    return function() if replica is None else replica.merge_call(lambda _: function())


def cond(predicate: tf.Tensor, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """`tf.cond` in whose branches the replicas may synchronize.

    Replicas synchronize in an optimizer's step, in batch normalization and in the update of a
    variable that they share. TensorFlow does not allow that in a condition of a single replica, but
    in a condition that all replicas have in common.

    Args:
        predicate: a scalar, the same on all replicas.
        true_fn: called without arguments, returns tensors.
        false_fn: returns tensors of the same shapes.
    """
    replica = context()
    if replica is None:
        return tf.cond(predicate, true_fn, false_fn)

    def together(strategy: Any, predicate: Any, *branches: Any) -> Any:
        first = strategy.experimental_local_results(predicate)[0]
        calls = [functools.partial(on_each, strategy, _call, branch) for branch in branches]
        return tf.cond(first, *calls)

    # Each replica has branches of its own, which use its tensors, and runs them in a new thread.
    branches = [functools.partial(contextvars.copy_context().run, fn) for fn in (true_fn, false_fn)]
    return replica.merge_call(together, args=(predicate, *branches))


def mean_loss(losses: tf.Tensor, weights: tf.Tensor | None, layer: keras.Layer) -> tf.Tensor:
    """Σ w·l / B and the regularizers of a layer, where B counts the images of all replicas.

    The mean of the result over the replicas is the loss of the whole batch. Regularizers of weights
    count once, those of activities by the number of images.

    Args:
        losses: the loss l of each image, `[B]` of this replica.
        weights: sample weights w, `[B]`; None: 1.
        layer: the layer that the loss trains, which this step has called.
    """
    weighted = losses if weights is None else weights * losses
    # Before the replicas synchronize: the layer keeps the last penalties, of any replica.
    penalties = list(layer.losses)
    if context() is None:
        return _sum([tf.reduce_mean(weighted), *penalties])
    images, loss = tf.cast(tf.shape(losses)[0], losses.dtype), tf.reduce_sum(weighted)
    present = are_present()
    if present is not None:
        images, loss = (tf.cast(present, losses.dtype) * term for term in (images, loss))
    scale = count() / total(images)
    # Keras puts the penalties of the weights behind those of the activities, which are means.
    of_weights = sum(w.regularizer is not None for w in layer.trainable_weights)
    for index in range(len(penalties) - of_weights):
        penalties[index] = scale * images * tf.cast(penalties[index], losses.dtype)
    return _sum([scale * loss, *penalties])


def _sum(terms: list[tf.Tensor]) -> tf.Tensor:
    """The sum of scalars in the dtype of the first."""
    first = terms[0]
    return tf.add_n([first, *(tf.cast(term, first.dtype) for term in terms[1:])])


def _call(function: Callable[[], Any]) -> Any:
    return function()


def on_each(strategy: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's results on all replicas, from each replica's part of the arguments."""
    plain = tf.autograph.experimental.do_not_convert(function)
    return strategy.extended.call_for_each_replica(plain, args=arguments)


# --- batches that may be empty ------------------------------------------------------------


def may_be_empty(batch: tf.Tensor) -> bool:
    """Whether a replica's batch can be empty; if so, the step computes an image of zeros."""
    return tf.distribute.has_strategy() and not batch.shape[0]


def note_presence(images: tf.Tensor) -> None:
    """Remembers, for this step of this replica, whether its batch has images."""
    size = tf.shape(images)[0]
    _PRESENT.set(tf.cast(size > 0, tf.int32) if may_be_empty(images) else None)


def are_present() -> tf.Tensor | None:
    """1 if this replica's batch has images, 0 if it is empty; None if it cannot be empty."""
    return _PRESENT.get()


def pad_empty(batch: tf.Tensor) -> tf.Tensor:
    """The batch, or one example of zeros if the batch is empty."""
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
