"""The coupling of Flow++: the distribution function of a mixture of logistics."""

from collections.abc import Callable

import tensorflow as tf

from tfgen.bijectors.coupling import LOG_SCALE_BOUND, Conditioner, Coupling, bounded
from tfgen.bijectors.masks import Mask

# Bisections of the bracket: as many as the dtype has binary digits. One step of Newton's method
# follows.
_HALVINGS = {"float32": 24, "float64": 53}
# Up to this |logit|, float32 represents σ, so that probabilities can be compared instead of logits.
_MAX_DIRECT_LOGIT = 60.0


class MixtureCoupling(Coupling):
    """x = logit(F(y)) · exp(s) + t, with F(y) = Σ π_k σ((y − μ_k) / σ_k).

    F is the distribution function of a mixture of logistics (Ho et al. 2019, "Flow++: improving
    flow-based generative models with variational dequantization and architecture design").
    `inverse`, from data to latents, is this equation; `forward` solves it for y by bisection.

    For each changed element, the conditioner returns t, a raw s, the logits of the weights π_k, the
    offsets of the means μ_k, and raw log-scales log σ_k. Raw values are bounded as in
    `AffineCoupling`. The offsets are added to means that are spread from −1 to 1, because
    components that start equal would stay equal.

    Args:
        mask: splits an event into the fixed and the changed part.
        conditioner: maps the fixed part `[B, …, C]` to `[B, …, (2 + 3 · components) · C']`, where
            the changed part is `[B, …, C']`: t, s, all logits, all offsets, all log-scales.
        components: number of components of the mixture.
        log_scale_bound: bound of s and of log σ_k.
        name: name of the bijector.
    """

    def __init__(
        self,
        mask: Mask,
        conditioner: Conditioner,
        components: int = 4,
        log_scale_bound: float = LOG_SCALE_BOUND,
        name: str = "mixture_coupling",
    ):
        self.components, self.log_scale_bound = components, log_scale_bound
        super().__init__(mask, conditioner, 2 + 3 * components, name)

    def _mixture(self, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """log π, μ and log σ, with the components on a new first axis: sums are fast."""
        k = self.components
        logits, means, raw = (tf.stack(parameters[2 + i * k : 2 + (i + 1) * k]) for i in range(3))
        spread = tf.cast(tf.linspace(-1.0, 1.0, k) if k > 1 else tf.zeros([1]), means.dtype)
        means += tf.reshape(spread, [k] + [1] * (means.shape.rank - 1))
        return logits - _log_sum_exp(logits), means, bounded(raw, self.log_scale_bound)

    @staticmethod
    def _logit_of_cdf(
        y: tf.Tensor, mixture: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """logit(F(y)), and the logarithm of its derivative."""
        log_weights, means, log_scales = mixture
        t = (y - means) * tf.exp(-log_scales)
        # log σ(t), and log σ(−t) = log σ(t) − t.
        log_below = -tf.nn.softplus(-t)
        weighted = log_weights + log_below
        log_cdf, log_survival = _log_sum_exp(weighted), _log_sum_exp(weighted - t)
        log_density = _log_sum_exp(weighted - log_scales + (log_below - t))
        return log_cdf - log_survival, log_density - log_cdf - log_survival

    def _normalize(self, y: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = parameters[0], bounded(parameters[1], self.log_scale_bound)
        logit, log_slope = self._logit_of_cdf(y, self._mixture(parameters))
        return logit * tf.exp(log_scale) + shift, log_slope + log_scale

    def _generate(self, x: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = parameters[0], bounded(parameters[1], self.log_scale_bound)
        mixture = self._mixture(parameters)
        target = (x - shift) * tf.exp(-log_scale)
        y = tf.stop_gradient(self._solve(target, mixture))
        # One step of Newton's method refines y and carries the gradient of the implicit function.
        logit, log_slope = self._logit_of_cdf(y, mixture)
        y -= (logit - target) * tf.stop_gradient(tf.exp(-log_slope))
        return y, -self._logit_of_cdf(y, mixture)[1] - log_scale

    def _solve(
        self, target: tf.Tensor, mixture: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tf.Tensor:
        """The y with logit(F(y)) = `target`, by bisection."""
        log_weights, means, log_scales = mixture
        # Mirrors the elements with F(y) > 1/2, because floats resolve small values of F, but not
        # values near 1.
        sign = tf.where(target > 0, -tf.ones_like(target), tf.ones_like(target))
        target, means = -tf.abs(target), sign * means
        # F is a weighted mean of the components' distribution functions, so that the solution lies
        # between the solutions of the components.
        solutions = means + tf.exp(log_scales) * target
        bracket = tf.reduce_min(solutions, axis=0), tf.reduce_max(solutions, axis=0)
        weights, inverse_scales = tf.exp(log_weights), tf.exp(-log_scales)
        p = 1 / (1 + tf.exp(-target))

        def cdf_is_below(y: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(weights / (1 + tf.exp((means - y) * inverse_scales)), axis=0) < p

        def logit_is_below(y: tf.Tensor) -> tf.Tensor:
            return self._logit_of_cdf(y, (log_weights, means, log_scales))[0] < target

        return sign * tf.cond(
            tf.reduce_all(target > -_MAX_DIRECT_LOGIT),
            lambda: _bisect(cdf_is_below, *bracket),
            lambda: _bisect(logit_is_below, *bracket),
        )


def _bisect(
    is_below: Callable[[tf.Tensor], tf.Tensor], low: tf.Tensor, high: tf.Tensor
) -> tf.Tensor:
    """The points in `low`…`high` where `is_below` turns from true to false."""

    def halve(count: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, ...]:
        middle = (low + high) / 2
        is_left = is_below(middle)
        return count + 1, tf.where(is_left, middle, low), tf.where(is_left, high, middle)

    halvings = _HALVINGS[low.dtype.name]
    _, low, high = tf.while_loop(lambda count, *_: count < halvings, halve, (0, low, high))
    return (low + high) / 2


def _log_sum_exp(terms: tf.Tensor) -> tf.Tensor:
    """log Σ exp over the first axis; terms must be finite, which saves time."""
    largest = tf.stop_gradient(tf.reduce_max(terms, axis=0))
    return tf.math.log(tf.reduce_sum(tf.exp(terms - largest), axis=0)) + largest
