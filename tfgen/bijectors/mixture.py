"""The coupling of Flow++: each element through the distribution function of a mixture."""

from collections.abc import Callable

import tensorflow as tf

from tfgen.bijectors.coupling import LOG_SCALE_BOUND, Conditioner, Coupling, bounded
from tfgen.bijectors.masks import Mask

# Halvings of the bracket: as many as the number has binary digits; a step of Newton's method
# polishes.
_HALVINGS = {"float32": 24, "float64": 53}
# Largest |logit| whose σ is compared as it is: float32 holds it.
_PLAIN_LOGIT = 60.0


class MixtureCoupling(Coupling):
    """x = logit(F(y)) · exp(s) + t, with F the distribution function of a mixture of logistics.

    From Ho et al. 2019, "Flow++: improving flow-based generative models". All numbers come from the
    conditioner, for each element: t, a raw s, and of each component a logit of its weight, its mean
    and a raw logarithm of its scale; raw ones are bounded as in `AffineCoupling`. The inverse, from
    data to latents, is as written; `forward` solves for y by bisection. Means are spread from −1 to
    1 before the conditioner adds to them: components that start alike would stay alike.

    Args:
        mask: what is kept and what is changed.
        conditioner: the kept part → 2 + 3 `components` numbers for each changed element, side by
            side on the last axis, each as long as the changed part's.
        components: of the mixture.
        log_scale_bound: of s and of the components' log-scales.
        name: of the bijector.
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
        """log π, μ and log σ of the components, on a new first axis: sums over it are fast."""
        k = self.components
        logits, means, raw = (tf.stack(parameters[2 + i * k : 2 + (i + 1) * k]) for i in range(3))
        spread = tf.cast(tf.linspace(-1.0, 1.0, k) if k > 1 else tf.zeros([1]), means.dtype)
        means += tf.reshape(spread, [k] + [1] * (means.shape.rank - 1))
        return logits - _log_sum_exp(logits), means, bounded(raw, self.log_scale_bound)

    @staticmethod
    def _logit_of_cdf(
        y: tf.Tensor, mixture: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """logit(F(y)) and the logarithm of its derivative."""
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
        wanted = (x - shift) * tf.exp(-log_scale)
        y = tf.stop_gradient(self._solve(wanted, mixture))
        # One step of Newton's method: it polishes y and carries the gradient of the implicit
        # function.
        logit, log_slope = self._logit_of_cdf(y, mixture)
        y -= (logit - wanted) * tf.stop_gradient(tf.exp(-log_slope))
        return y, -self._logit_of_cdf(y, mixture)[1] - log_scale

    def _solve(
        self, wanted: tf.Tensor, mixture: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tf.Tensor:
        """y with logit(F(y)) = `wanted`, by bisection."""
        log_weights, means, log_scales = mixture
        # Mirrored where F(y) would be above 1/2: small values of F are told apart, those near 1 are
        # not.
        sign = tf.where(wanted > 0, -tf.ones_like(wanted), tf.ones_like(wanted))
        wanted, means = -tf.abs(wanted), sign * means
        # F is a mean of the components' functions, so its logit lies between theirs.
        of_each = means + tf.exp(log_scales) * wanted
        bracket = tf.reduce_min(of_each, axis=0), tf.reduce_max(of_each, axis=0)
        weights, inverse_scales = tf.exp(log_weights), tf.exp(-log_scales)
        p = 1 / (1 + tf.exp(-wanted))

        def below(y: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(weights / (1 + tf.exp((means - y) * inverse_scales)), axis=0) < p

        def below_far_out(y: tf.Tensor) -> tf.Tensor:
            return self._logit_of_cdf(y, (log_weights, means, log_scales))[0] < wanted

        return sign * tf.cond(
            tf.reduce_all(wanted > -_PLAIN_LOGIT),
            lambda: _bisect(below, *bracket),
            lambda: _bisect(below_far_out, *bracket),
        )


def _bisect(below: Callable[[tf.Tensor], tf.Tensor], low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Where `below` turns from true to false, of each element between `low` and `high`."""

    def halve(count: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, ...]:
        middle = (low + high) / 2
        still = below(middle)
        return count + 1, tf.where(still, middle, low), tf.where(still, high, middle)

    halvings = _HALVINGS[low.dtype.name]
    _, low, high = tf.while_loop(lambda count, *_: count < halvings, halve, (0, low, high))
    return (low + high) / 2


def _log_sum_exp(terms: tf.Tensor) -> tf.Tensor:
    """log Σ exp over the first axis, of finite terms; TensorFlow's own looks for others, which
    takes time."""
    largest = tf.stop_gradient(tf.reduce_max(terms, axis=0))
    return tf.math.log(tf.reduce_sum(tf.exp(terms - largest), axis=0)) + largest
