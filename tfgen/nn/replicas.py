"""Steps over the replicas of a `tf.distribute` strategy.

A function of this module is called in a replica's step. Outside of a step, and with a single
replica, it does what its name says for that replica alone.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf


def count() -> int:
    """Number of replicas that train together."""
    number: int = tf.distribute.get_strategy().num_replicas_in_sync
    return number


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
    return tf.nest.map_structure(
        lambda tensor: None if tensor is None else next(sums), tensors, expand_composites=False
    )


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
        calls = [functools.partial(_on_each, strategy, _call, branch) for branch in branches]
        return tf.cond(first, *calls)

    # Each replica has branches of its own, which use its tensors, and runs them in a new thread.
    branches = [
        functools.partial(contextvars.copy_context().run, branch) for branch in (true_fn, false_fn)
    ]
    return replica.merge_call(together, args=(predicate, *branches))


def apply_sums(
    optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any], after: tf.Tensor
) -> None:
    """A step of an optimizer by gradients that are already summed over the replicas.

    Keras's optimizer clips the gradients of each replica before it sums them. A loss-scale
    optimizer looks at those of the first replica alone, to see whether they are finite.

    Args:
        optimizer: an optimizer of Keras.
        gradients: results of `total`, one for each variable.
        variables: the variables that the optimizer moves.
        after: the step waits for this tensor.
    """

    def apply(gradients: Sequence[Any], after: tf.Tensor) -> None:
        with tf.control_dependencies([after]):
            optimizer.apply(gradients, variables)

    replica = context()
    if replica is None:
        apply(gradients, after)
        return

    def together(strategy: Any, gradients: Any, after: Any) -> None:
        with _no_further_sum(getattr(optimizer, "inner_optimizer", optimizer)):
            _on_each(strategy, apply, gradients, after)

    replica.merge_call(together, args=(list(gradients), after))


@contextlib.contextmanager
def _no_further_sum(optimizer: Any) -> Iterator[None]:
    """A context in which the optimizer takes gradients for those of all replicas."""
    optimizer._all_reduce_sum_gradients = list
    try:
        yield
    finally:
        del optimizer._all_reduce_sum_gradients


def _call(function: Callable[[], Any]) -> Any:
    return function()


def _on_each(strategy: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's results on all replicas, from each replica's part of the arguments."""
    plain = tf.autograph.experimental.do_not_convert(function)
    return strategy.extended.call_for_each_replica(plain, args=arguments)
