"""Adam with a learning-rate schedule and gradient clipping."""

import math
from typing import Any, NamedTuple

import keras

from tfgen.nn.cpu import Adam

# More steps than any training has: over so many, a cosine stays at 1.
_ENDLESS = 10**12
# The largest share of a run by the clock that is warm-up.
_MOST_WARMUP = 0.25


class Schedule(NamedTuple):
    """The learning rate and the clipping over a training.

    Attributes:
        warmup_steps: steps of linear warm-up to the peak learning rate.
        cosine_steps: total steps, warm-up included, at the end of which a cosine reaches 0
            (Loshchilov & Hutter 2016, "SGDR"); None keeps the peak learning rate.
        clip_norm: global gradient norm to which larger gradients are clipped; 0 disables clipping.
        share: a variable with the share of its time that a run by the clock has used; the cosine
            then follows it instead of the steps, and the warm-up takes at most a quarter of it.
    """

    warmup_steps: int = 0
    cosine_steps: int | None = None
    clip_norm: float = 0.0
    share: keras.Variable | None = None

    def every(self, steps: int) -> "Schedule":
        """The schedule of an optimizer that moves in every n-th step, with n = `steps`."""
        cosine = self.cosine_steps and max(1, self.cosine_steps // steps)
        warmup = self.warmup_steps // steps
        return self._replace(warmup_steps=warmup, cosine_steps=cosine)

    def of(self, learning_rate: float) -> float | keras.optimizers.schedules.LearningRateSchedule:
        """The schedule with the peak `learning_rate`; a number if it is constant."""
        if not self.warmup_steps and self.cosine_steps is None:
            return learning_rate
        if self.share is not None:
            return _ByShare(learning_rate, self)
        # Keras counts the steps of the cosine from the end of the warm-up.
        return keras.optimizers.schedules.CosineDecay(
            learning_rate / max(1, self.warmup_steps),
            max(1, (self.cosine_steps or _ENDLESS) - self.warmup_steps),
            warmup_target=learning_rate if self.warmup_steps else None,
            warmup_steps=self.warmup_steps,
        )


class _ByShare(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule of a run by the clock."""

    def __init__(self, learning_rate: float, schedule: Schedule):
        self._peak, self._schedule = learning_rate, schedule

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        schedule, share = self._schedule, keras.ops.convert_to_tensor(self._schedule.share)
        steps = (keras.ops.cast(step, "float32") + 1) / max(1, schedule.warmup_steps)
        warmup = keras.ops.minimum(1.0, keras.ops.maximum(steps, share / _MOST_WARMUP))
        if schedule.cosine_steps is None:
            return self._peak * warmup
        return self._peak * warmup * (1 + keras.ops.cos(math.pi * share)) / 2

    def get_config(self) -> dict[str, Any]:
        """What a compiled model notes of it; the variable belongs to the run."""
        return {"learning_rate": self._peak}


def make_adam(learning_rate: float, schedule: Schedule | None = None, **betas: float) -> Adam:
    """Adam with a schedule.

    Args:
        learning_rate: peak learning rate.
        beta_1: decay of the first moment.
        schedule: learning rate and clipping over the training; None: constant, no clipping.
        beta_2: decay of the second moment.
    """
    schedule = schedule or Schedule()
    rate, limit = schedule.of(learning_rate), schedule.clip_norm or None
    return Adam(rate, global_clipnorm=limit, **betas)
