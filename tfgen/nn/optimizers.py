"""Adam in one pass over memory, and its step size over a training."""

import dataclasses
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfgen.nn.cpu import Adam

# More steps than any training has: a cosine over so many is one.
_ENDLESS = 10**12


@dataclass(frozen=True)
class Schedule:
    """How steps change over a training.

    Attributes:
        warmup_steps: steps in which the step size grows to its largest.
        cosine_steps: steps in all, at whose end a cosine has brought it to zero (Loshchilov &
            Hutter 2016, "SGDR"); None keeps it.
        clip_norm: largest norm of a step's whole gradient, a longer one is shortened to it; 0: any.
            Of several replicas each shortens its own share.
    """

    warmup_steps: int = 0
    cosine_steps: int | None = None
    clip_norm: float = 0.0

    def every(self, steps: int) -> "Schedule":
        """That of an optimizer which takes one step in so many."""
        cosine = self.cosine_steps and max(1, self.cosine_steps // steps)
        return dataclasses.replace(
            self, warmup_steps=self.warmup_steps // steps, cosine_steps=cosine
        )

    def of(self, learning_rate: float) -> float | keras.optimizers.schedules.CosineDecay:
        """The step size, `learning_rate` at its largest: a number where it does not change."""
        if not self.warmup_steps and self.cosine_steps is None:
            return learning_rate
        steps = _ENDLESS if self.cosine_steps is None else self.cosine_steps
        # Keras counts the cosine from the end of the warm-up.
        cosine = keras.optimizers.schedules.CosineDecay
        if not self.warmup_steps:
            return cosine(learning_rate, steps)
        return cosine(
            learning_rate / self.warmup_steps,
            max(1, steps - self.warmup_steps),
            warmup_target=learning_rate,
            warmup_steps=self.warmup_steps,
        )


def make_adam(learning_rate: float, beta_1: float = 0.9, schedule: Schedule | None = None) -> Adam:
    """Adam with a decay of the first moment, its step size and gradients as `schedule` says."""
    schedule = schedule or Schedule()
    # Keras cuts before it sums over the replicas, whose losses are shares of the whole.
    share = schedule.clip_norm / tf.distribute.get_strategy().num_replicas_in_sync
    return Adam(schedule.of(learning_rate), beta_1, global_clipnorm=share or None)
