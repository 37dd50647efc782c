"""Exponential moving averages (EMA) of weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.nn.layers import add_state
from tfgen.nn.overrides import built_to_be_trained


def trained_weights(layer: keras.Layer) -> list[Any]:
    """The weights that a layer has for training, in the order of its `weights`.

    Frozen weights are among them, so that the result does not depend on `trainable`.
    """
    own = built_to_be_trained(layer)
    return [weight for weight in layer.weights if id(weight) in own]


def moving_statistics(layer: keras.Layer) -> list[Any]:
    """The other weights of a layer that are not integers, such as batch normalization's moments."""
    own = built_to_be_trained(layer)
    others = [weight for weight in layer.weights if id(weight) not in own]
    return [weight for weight in others if keras.backend.is_float_dtype(weight.dtype)]


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
            add_state(owner, f"average_{index}", v.shape, v.dtype, _value_of(v))
            for index, v in enumerate(self._variables)
        ]

    @property
    def by_variable(self) -> dict[int, Any]:
        """The average of each variable, by the variable's `id`."""
        return {id(v): average for v, average in zip(self._variables, self._averages, strict=True)}

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


def _value_of(variable: Any) -> Callable[..., tf.Tensor]:
    """An initializer that returns the value of a variable."""
    return lambda shape, dtype=None: tf.cast(variable.value, dtype or variable.dtype)
