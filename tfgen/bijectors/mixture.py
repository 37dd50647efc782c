"""The coupling of Flow++: the distribution function of a mixture of logistics."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfgen.bijectors.coupling import SCALE_BOUND, Conditioner, Coupling, Mask, bounded

# More evaluations of a stage than ever needed: twice as many as bisection would take.
_MAX_EVALUATIONS = {"float32": 48, "float64": 106}
# Up to this |logit|, float32 represents σ, so that probabilities can be compared instead of logits.
_MAX_DIRECT_LOGIT = 60.0
# When at most this share is unfinished, to gather it costs less than to evaluate all elements.
_FEW = 1 / 8

# log π, μ and log σ, with the components on the first axis.
Mixture: TypeAlias = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
# Points, and the lower and upper ends of their brackets.
Brackets: TypeAlias = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class MixtureCoupling(Coupling):
    """x = logit(F(y)) · exp(s) + t, with F(y) = Σ π_k σ((y − μ_k) / σ_k).

    F is the distribution function of a mixture of logistics (Ho et al. 2019, "Flow++: improving
    flow-based generative models with variational dequantization and architecture design").
    `inverse`, from data to latents, is this equation; `forward` solves it for y by Newton's method,
    safeguarded by a bracket.

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
    """

    def __init__(
        self,
        mask: Mask,
        conditioner: Conditioner,
        components: int = 4,
        log_scale_bound: float = SCALE_BOUND,
    ):
        self.components = components
        super().__init__(mask, conditioner, 2 + 3 * components, log_scale_bound)

    def _mixture(self, parameters: list[tf.Tensor]) -> Mixture:
        """log π, μ and log σ, with the components on a new first axis: sums are fast."""
        k = self.components
        logits, means, raw = (tf.stack(parameters[2 + i * k : 2 + (i + 1) * k]) for i in range(3))
        spread = tf.cast(tf.linspace(-1.0, 1.0, k) if k > 1 else tf.zeros([1]), means.dtype)
        means += tf.reshape(spread, [k] + [1] * (means.shape.rank - 1))
        return logits - _log_sum_exp(logits), means, bounded(raw, self.log_scale_bound)

    def _normalize(self, y: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = parameters[0], bounded(parameters[1], self.log_scale_bound)
        logit, log_slope = _logit_of_cdf(y, self._mixture(parameters))
        return logit * tf.exp(log_scale) + shift, log_slope + log_scale

    def _generate(self, x: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = parameters[0], bounded(parameters[1], self.log_scale_bound)
        mixture = self._mixture(parameters)
        target = (x - shift) * tf.exp(-log_scale)
        y = _solve(target, mixture)
        # The last step of Newton's method carries the gradient of the implicit function. Its value,
        # but not its gradient, is limited: where F is flat, rounding would make the step too long.
        logit, log_slope = _logit_of_cdf(y, mixture)
        log_factor = tf.minimum(-log_slope, _MAX_DIRECT_LOGIT)
        step = (target - logit) * tf.stop_gradient(tf.exp(log_factor))
        limit = tf.exp(tf.reduce_min(mixture[2], axis=0))
        y += step + tf.stop_gradient(tf.clip_by_value(step, -limit, limit) - step)
        return y, -_logit_of_cdf(y, mixture)[1] - log_scale


def _logit_of_cdf(y: tf.Tensor, mixture: Mixture) -> tuple[tf.Tensor, tf.Tensor]:
    """logit(F(y)), and the logarithm of its derivative."""
    log_weights, means, log_scales = mixture
    t = (y - means) * tf.exp(-log_scales)
    # log σ(t), and log σ(−t) = log σ(t) − t.
    log_below = -tf.nn.softplus(-t)
    weighted = log_weights + log_below
    log_cdf, log_survival = _log_sum_exp(weighted), _log_sum_exp(weighted - t)
    log_density = _log_sum_exp(weighted - log_scales + (log_below - t))
    return log_cdf - log_survival, log_density - log_cdf - log_survival


def _log_sum_exp(terms: tf.Tensor) -> tf.Tensor:
    """log Σ exp over the first axis; terms must be finite, which saves time."""
    largest = tf.stop_gradient(tf.reduce_max(terms, axis=0))
    return tf.math.log(tf.reduce_sum(tf.exp(terms - largest), axis=0)) + largest


# --- y from logit(F(y))


def _solve(target: tf.Tensor, mixture: Mixture) -> tf.Tensor:
    """The y with logit(F(y)) = `target`, without gradient and close enough for `_generate`."""
    target, log_weights, means, log_scales = map(tf.stop_gradient, (target, *mixture))
    # Mirrors the elements with F(y) > 1/2, because floats resolve small values of F, but not values
    # near 1.
    sign = tf.where(target > 0, -tf.ones_like(target), tf.ones_like(target))
    target, means = -tf.abs(target), sign * means
    weights, scales, inverse_scales = (tf.exp(a) for a in (log_weights, log_scales, -log_scales))

    def evaluate(y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        below = 1 / (1 + tf.exp((means - y) * inverse_scales))
        cdf = tf.reduce_sum(weights * below, axis=0)
        density = tf.reduce_sum(weights * below * (1 - below) * inverse_scales, axis=0)
        return target - tf.math.log(cdf / (1 - cdf)), cdf * (1 - cdf) / density

    # F is a weighted mean of the components' distribution functions, so that the solution lies
    # between the solutions of the components.
    solutions = means + scales * target
    low, high = tf.reduce_min(solutions, axis=0), tf.reduce_max(solutions, axis=0)
    start = tf.clip_by_value(tf.reduce_sum(weights * solutions, axis=0), low, high)
    # Where float32 may not represent F, the bracket is a point for now, so that y does not move.
    is_direct = target > -_MAX_DIRECT_LOGIT
    points = (start, tf.where(is_direct, low, start), tf.where(is_direct, high, start))
    y, lower, upper = _narrow(evaluate, tf.reduce_min(scales, axis=0), points, _FEW)
    low, high = tf.where(is_direct, lower, low), tf.where(is_direct, upper, high)
    return sign * _finish(target, (log_weights, means, log_scales), (y, low, high))


def _finish(target: tf.Tensor, mixture: Mixture, brackets: Brackets) -> tf.Tensor:
    """Solves the elements whose brackets are not points yet; the others stay.

    Most elements need two or three evaluations, a few need several times as many. So the few go on
    without the others, and by logarithms, which take any target.
    """
    y, low, high = brackets
    unfinished = tf.where(tf.reshape(low < high, [-1]))
    few_targets, log_weights, means, log_scales, *few = (
        _select(tensor, y.shape.rank, unfinished) for tensor in (target, *mixture, *brackets)
    )

    def evaluate(y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logit, log_slope = _logit_of_cdf(y, (log_weights, means, log_scales))
        return few_targets - logit, tf.exp(-log_slope)

    smallest_scale = tf.exp(tf.reduce_min(log_scales, axis=0))
    solved = _narrow(evaluate, smallest_scale, (few[0], few[1], few[2]))[0]
    solutions = tf.tensor_scatter_nd_update(tf.reshape(y, [-1]), unfinished, solved)
    return tf.reshape(solutions, tf.shape(y))


def _select(tensor: tf.Tensor, rank: int, indices: tf.Tensor) -> tf.Tensor:
    """Elements of the last `rank` axes, `[…, n]`, by their flat indices `[n, 1]`."""
    flat = tf.reshape(tensor, [*tensor.shape[: tensor.shape.rank - rank], -1])
    return tf.gather(flat, indices[:, 0], axis=-1)


def _narrow(
    evaluate: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    smallest_scale: tf.Tensor,
    brackets: Brackets,
    share: float = 0.0,
) -> Brackets:
    """Narrows brackets around the roots of falling functions by Newton's method.

    A step of Newton's method is taken if it stays in the bracket and is at most half as long as the
    second last step. Else the next point is the middle of the bracket. An element is done when its
    bracket is a point, and then stays where it is while others go on.

    Args:
        evaluate: y → the functions' values, and −1 / their derivatives.
        smallest_scale: the smallest σ_k; see `_tolerance`.
        brackets: the first points, and their brackets.
        share: the share of the elements that may be unfinished at the end.

    Returns:
        The last points, and their brackets.
    """

    def move(
        y: tf.Tensor, low: tf.Tensor, high: tf.Tensor, last: tf.Tensor, second_last: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        value, factor = evaluate(y)
        low, high = tf.where(value > 0, y, low), tf.where(value > 0, high, y)
        step = value * factor
        # Where floats cannot represent the function, the step is NaN, and comparisons are false.
        is_inside = (y + step >= low) & (y + step <= high)
        is_newton = is_inside & (tf.abs(step) <= second_last / 2)
        following = tf.where(is_newton, y + step, (low + high) / 2)
        is_done = is_newton & (tf.abs(step) <= _tolerance(following, smallest_scale))
        is_done |= high - low <= _spacing(following)
        low, high = tf.where(is_done, following, low), tf.where(is_done, following, high)
        return following, low, high, tf.abs(following - y), last

    def goes_on(y: tf.Tensor, low: tf.Tensor, high: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        unfinished = tf.math.count_nonzero(low < high, dtype=tf.float32)
        return unfinished > share * tf.cast(tf.size(y), tf.float32)

    # The first two steps may be as long as the bracket.
    y, low, high = brackets
    length = 2 * (high - low)
    state, most = (y, low, high, length, length), _MAX_EVALUATIONS[y.dtype.name]
    y, low, high, *_ = tf.while_loop(goes_on, move, state, maximum_iterations=most)
    return y, low, high


def _tolerance(y: tf.Tensor, smallest_scale: tf.Tensor) -> tf.Tensor:
    """The length of a step of Newton's method after which one more step is exact.

    With h = logit F and the smallest scale σ, |h″ / h′| ≤ 2 / σ. Therefore, a step of length δ ends
    about δ² / σ from the root, or less. After δ = ε^¼ σ, where ε is the relative distance between
    floats, this is √ε σ, and the next step ends within ε σ.
    """
    return tf.maximum(smallest_scale * _epsilon(y) ** 0.25, _spacing(y))


def _spacing(y: tf.Tensor) -> tf.Tensor:
    """A few times the distance from y to the next float."""
    return 4 * _epsilon(y) * tf.abs(y)


def _epsilon(y: tf.Tensor) -> float:
    return float(np.finfo(y.dtype.as_numpy_dtype).eps)
