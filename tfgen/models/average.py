"""Exponential moving averages of a network's weights."""

from typing import Any

import keras
import tensorflow as tf


class MovingAverage:
    """A moving average of a network's weights, and the network with them.

    The averages are weights of the model that owns them, so a checkpoint and a `.keras` file hold them. The
    decay starts small and grows to its value: min(decay, (1 + t) / (10 + t)) at step t, so that the initial
    weights are soon forgotten.

    Args:
        owner: the model to which the averages belong.
        network: a built network.
        decay: a step, in (0, 1].
    """

    def __init__(self, owner: keras.Model, network: keras.Model, decay: float):
        self.network, self.decay = network, decay
        self._averages = [
            owner.add_weight(
                name=f"average_{index}",
                shape=weight.shape,
                dtype=weight.dtype,
                initializer=_Constant(weight),
                trainable=False,
                aggregation="only_first_replica",
            )
            for index, weight in enumerate(self._weights())
        ]

    def _weights(self) -> list[Any]:
        return [*self.network.trainable_variables, *self.network.non_trainable_variables]

    def update(self, step: tf.Tensor) -> None:
        """Moves the averages towards the weights as they are after `step` steps."""
        t = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, (1 + t) / (10 + t))
        for average, weight in zip(self._averages, self._weights(), strict=True):
            share = tf.cast(1 - decay, average.dtype)
            average.assign(average.value + share * (weight.value - average.value))

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """The network's output with the averaged weights, not in training."""
        values = [average.value for average in self._averages]
        trained = len(self.network.trainable_variables)
        outputs, _ = self.network.stateless_call(values[:trained], values[trained:], inputs, training=False)
        return outputs


class _Constant:
    """An initializer that gives a weight's own value."""

    def __init__(self, weight: Any):
        self.weight = weight

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.cast(self.weight.value, dtype or self.weight.dtype)
