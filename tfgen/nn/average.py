"""Exponential moving averages of weights."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class MovingAverage:
    """Moving averages of variables, and what is computed with them.

    The averages are weights of the model that owns them, so a checkpoint and a `.keras` file hold
    them. The decay starts small and grows to its value: min(decay, (1 + t) / (10 + t)) at step t,
    so that the initial weights are soon forgotten.

    Args:
        owner: the model to which the averages belong.
        variables: Keras variables, with their values.
        decay: a step, in (0, 1].
    """

    def __init__(self, owner: keras.Model, variables: Sequence[Any], decay: float):
        self._variables, self.decay = list(variables), decay
        self._averages = [
            owner.add_weight(
                name=f"average_{index}",
                shape=variable.shape,
                dtype=variable.dtype,
                initializer=_Constant(variable),
                trainable=False,
                # In whose place it is read decides whether 16 bits will do.
                autocast=False,
                aggregation="only_first_replica",
            )
            for index, variable in enumerate(self._variables)
        ]

    def start(self) -> None:
        """Sets the averages to the variables as they are: after what is no step of an optimizer."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign(variable.value)

    def update(self, step: tf.Tensor) -> None:
        """Moves the averages towards the variables as they are; `step` counts the moves before this
        one."""
        t = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, (1 + t) / (10 + t))
        for average, variable in zip(self._averages, self._variables, strict=True):
            share = tf.cast(1 - decay, average.dtype)
            average.assign(average.value + share * (variable.value - average.value))

    def scope(self) -> Any:
        """A context in which each of the variables reads as its average; nothing is to be assigned
        there."""
        pairs = zip(self._variables, self._averages, strict=True)
        return keras.StatelessScope([(variable, average.value) for variable, average in pairs])


class _Constant:
    """An initializer that gives a variable's own value."""

    def __init__(self, variable: Any):
        self.variable = variable

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.cast(self.variable.value, dtype or self.variable.dtype)
