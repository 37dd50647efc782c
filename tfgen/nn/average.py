"""Exponential moving averages (EMA) of weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf


def trained_weights(layer: keras.Layer) -> list[Any]:
    """The weights that a layer has for training, in the order of its `weights`.

    Frozen weights are among them, so that the result does not depend on `trainable`.
    """
    own = _built_to_be_trained(layer)
    return [weight for weight in layer.weights if id(weight) in own]


def moving_statistics(layer: keras.Layer) -> list[Any]:
    """The other weights of a layer that are not integers, such as batch normalization's moments."""
    own = _built_to_be_trained(layer)
    others = [weight for weight in layer.weights if id(weight) not in own]
    return [weight for weight in others if keras.backend.is_float_dtype(weight.dtype)]


def _built_to_be_trained(layer: keras.Layer) -> set[int]:
    parts = layer._flatten_layers()
    return {id(weight) for part in parts for weight in part._trainable_variables}


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
        # Indices of the averages that a loaded file does not have.
        self._lacking: list[int] = []

    @property
    def by_variable(self) -> dict[int, Any]:
        """The average of each variable, by the variable's `id`."""
        self.complete()
        return {id(v): average for v, average in zip(self._variables, self._averages, strict=True)}

    def start(self) -> None:
        """Sets the averages to the current variables, after a change outside of training."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign(variable.value)

    def from_file(self, store: Mapping[str, Any], size: int) -> Mapping[str, Any]:
        """The variables of a file, with an average for each variable.

        Files of earlier versions have averages of seeds, which are left out. They may have none of
        frozen weights and of moving statistics, which did not move: `complete` sets these.

        Args:
            store: the owner's own variables by position. The averages are the last ones.
            size: number of variables that the owner has.
        """
        values = [store[str(index)] for index in range(len(store.keys()))]
        first = size - len(self._averages)
        stored = [value for value in values[first:] if value.dtype.kind not in "iub"]
        if len(stored) < len(self._averages):
            trainable = [index for index, v in enumerate(self._variables) if v.trainable]
            if len(stored) == len(trainable):
                by_index = dict(zip(trainable, stored, strict=True))
                indices = range(len(self._averages))
                self._lacking = [index for index in indices if index not in by_index]
                stored = [by_index.get(i, self._averages[i].numpy()) for i in indices]
        return {str(index): value for index, value in enumerate([*values[:first], *stored])}

    def complete(self) -> None:
        """Starts the averages that the loaded file does not have."""
        lacking, self._lacking = self._lacking, []
        with tf.init_scope():  # never a part of a graph that is being traced
            for index in lacking:
                self._averages[index].assign(self._variables[index].value)

    def update(self, step: tf.Tensor) -> None:
        """Moves the averages towards the current variables.

        Args:
            step: number of updates before this one.
        """
        self.complete()
        t = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, (1 + t) / (10 + t))
        for average, variable in zip(self._averages, self._variables, strict=True):
            share = tf.cast(1 - decay, average.dtype)
            average.assign(average.value + share * (variable.value - average.value))

    def scope(self) -> Any:
        """A context in which the variables read as their averages.

        No variable may be assigned within it.
        """
        self.complete()
        pairs = zip(self._variables, self._averages, strict=True)
        return keras.StatelessScope([(variable, average.value) for variable, average in pairs])


class _Constant:
    """An initializer that returns the value of a variable."""

    def __init__(self, variable: Any):
        self.variable = variable

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.cast(self.variable.value, dtype or self.variable.dtype)
