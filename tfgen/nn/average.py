"""Exponential moving averages (EMA) of weights."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class MovingAverage:
    """The EMA of variables, and a context in which they read as their EMA.

    The averages are weights of the model that owns them, so that a checkpoint and a `.keras` file
    contain them. The decay grows to its final value, min(decay, (1 + t) / (10 + t)) at step t, so
    that the initial weights soon lose their influence.

    Args:
        owner: the model to which the averages belong.
        variables: initialized Keras variables.
        decay: final decay per step, in (0, 1].
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
                # Cast to 16 bits only where the variable that it stands for would be.
                autocast=False,
                aggregation="only_first_replica",
            )
            for index, variable in enumerate(self._variables)
        ]

    def start(self) -> None:
        """Sets the averages to the current variables, after a change outside of training."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign(variable.value)

    def update(self, step: tf.Tensor) -> None:
        """Moves the averages towards the current variables.

        Args:
            step: number of updates before this one.
        """
        t = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, (1 + t) / (10 + t))
        for average, variable in zip(self._averages, self._variables, strict=True):
            share = tf.cast(1 - decay, average.dtype)
            average.assign(average.value + share * (variable.value - average.value))

    def scope(self) -> Any:
        """A context in which the variables read as their averages.

        No variable may be assigned within it.
        """
        pairs = zip(self._variables, self._averages, strict=True)
        return keras.StatelessScope([(variable, average.value) for variable, average in pairs])


class _Constant:
    """An initializer that returns the value of a variable."""

    def __init__(self, variable: Any):
        self.variable = variable

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.cast(self.variable.value, dtype or self.variable.dtype)
