"""Adam in one pass over memory, and its step size over a training."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

# More steps than any training has: a cosine over so many is one.
_ENDLESS = 10**12


@dataclass(frozen=True)
class Schedule:
    """How steps change over a training.

    Attributes:
        warmup_steps: steps in which the step size grows to its largest.
        cosine_steps: steps in all, at whose end a cosine has brought it to zero (Loshchilov & Hutter 2016,
            "SGDR"); None keeps it.
        clip_norm: largest norm of a step's whole gradient, a longer one is shortened to it; 0: any. Of
            several replicas each shortens its own share.
    """

    warmup_steps: int = 0
    cosine_steps: int | None = None
    clip_norm: float = 0.0

    def every(self, steps: int) -> "Schedule":
        """That of an optimizer which takes one step in so many."""
        cosine = self.cosine_steps and max(1, self.cosine_steps // steps)
        return dataclasses.replace(self, warmup_steps=self.warmup_steps // steps, cosine_steps=cosine)

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


@keras.saving.register_keras_serializable(package="tfgen")
class Adam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2014), its update by TensorFlow's own fused kernel.

    Keras writes the update as a dozen operations, each of which reads and writes arrays as large as the
    weights; without XLA to fuse them they take a fifth of a dense GAN's step on a CPU. The arguments and the
    state are those of `keras.optimizers.Adam`, and so are the numbers, up to rounding. Nor are gradients
    written anew that are short enough for `global_clipnorm`.
    """

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        longest = self.global_clipnorm
        there = [gradient for gradient in grads if gradient is not None]
        if not longest or not there:
            return super()._clip_gradients(grads)
        norm = tf.linalg.global_norm(there)

        def shortened() -> list[tf.Tensor]:
            # Of a norm that is not finite no gradient is.
            scale = longest / norm + (norm - norm)
            return [gradient * tf.cast(scale, gradient.dtype) for gradient in there]

        kept = iter(tf.cond(norm <= longest, lambda: [tf.identity(each) for each in there], shortened))
        return [None if gradient is None else next(kept) for gradient in grads]

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        """Moves one variable and its two moments."""
        if self.amsgrad or tf.distribute.has_strategy():
            # The kernel knows neither the one nor variables that are spread over devices.
            super().update_step(gradient, variable, learning_rate)
            return
        dtype = variable.dtype
        step = tf.cast(self.iterations.value + 1, dtype)
        decays = [tf.constant(decay, dtype) for decay in (self.beta_1, self.beta_2)]
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=decays[0] ** step,
            beta2_power=decays[1] ** step,
            lr=tf.cast(learning_rate, dtype),
            beta1=decays[0],
            beta2=decays[1],
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


def make_adam(learning_rate: float, beta_1: float = 0.9, schedule: Schedule | None = None) -> Adam:
    """Adam with a decay of the first moment, its step size and gradients as `schedule` says."""
    schedule = schedule or Schedule()
    # Keras cuts before it sums over the replicas, whose losses are shares of the whole.
    share = schedule.clip_norm / tf.distribute.get_strategy().num_replicas_in_sync
    return Adam(schedule.of(learning_rate), beta_1, global_clipnorm=share or None)
