"""Linear bijectors of an image's channels.

Kingma & Dhariwal 2018, "Glow: generative flow with invertible 1×1 convolutions".
"""

import math
from typing import Any

import tensorflow as tf

from tfgen.bijectors.base import Bijector, batch_shape
from tfgen.nn.gpu import exact_dtype

# Added to a channel's standard deviation before its logarithm.
_TINY = 1e-6


class _PerPosition(Bijector):
    """Base class of maps of the last axis that are the same at every position."""

    def _log_det(self, event: tf.Tensor, per_position: tf.Tensor) -> tf.Tensor:
        ndims = self.forward_min_event_ndims
        positions = math.prod(event.shape[-ndims:-1])
        return tf.broadcast_to(positions * per_position, batch_shape(event, ndims))


class ActivationNormalization(_PerPosition):
    """y = x · exp(s) + t, with s and t per channel.

    If t is the mean and exp(s) the standard deviation of a batch y, its x has mean 0 and standard
    deviation 1 (Kingma & Dhariwal 2018, section 3.1).

    Args:
        shift: t, `[C]`, a variable or a tensor.
        log_scale: s, `[C]`.
        event_ndims: axes of an event: 1 for vectors, 3 for images.
        adapting: whether the next inverse sets t and s, two variables, from its batch y.
    """

    def __init__(self, shift: Any, log_scale: Any, event_ndims: int = 3, adapting: bool = False):
        self.shift, self.log_scale, self.adapting = shift, log_scale, adapting
        super().__init__(forward_min_event_ndims=event_ndims)

    def _parameters_as(self, dtype: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(self.shift, dtype), tf.cast(self.log_scale, dtype)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = self._parameters_as(x.dtype)
        return x * tf.exp(log_scale) + shift, self._log_det(x, tf.reduce_sum(log_scale))

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.adapting:
            mean, variance = tf.nn.moments(y, list(range(y.shape.rank - 1)))
            self.shift.assign(mean)
            self.log_scale.assign(tf.math.log(tf.sqrt(variance) + _TINY))
        shift, log_scale = self._parameters_as(y.dtype)
        return (y - shift) * tf.exp(-log_scale), self._log_det(y, -tf.reduce_sum(log_scale))


class InvertibleConvolution(_PerPosition):
    """A 1 × 1 convolution, x = y W with W = P L U.

    P is a constant permutation, L is lower triangular with ones on the diagonal, and U is upper
    triangular with the diagonal exp(s). Therefore log|det W| = Σ s, and the inverse of W takes two
    triangular systems (Kingma & Dhariwal 2018, section 3.2).

    Args:
        permutation: P, `[C, C]`.
        lower: `[C, C]`; L has its entries below the diagonal.
        upper: `[C, C]`; U has its entries above the diagonal.
        log_diagonal: s, `[C]`.
        event_ndims: axes of an event: 1 for vectors, 3 for images.
    """

    def __init__(
        self, permutation: Any, lower: Any, upper: Any, log_diagonal: Any, event_ndims: int = 3
    ):
        self.weights = permutation, lower, upper, log_diagonal
        super().__init__(forward_min_event_ndims=event_ndims)

    def _factors(self, dtype: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """P, L, U and s, in a dtype whose products are exact enough to be undone."""
        exact = exact_dtype(dtype)
        permutation, lower, upper, log_diagonal = (tf.cast(w, exact) for w in self.weights)
        ones = tf.ones_like(log_diagonal)
        unit_lower = tf.linalg.set_diag(tf.linalg.band_part(lower, -1, 0), ones)
        full_upper = tf.linalg.set_diag(tf.linalg.band_part(upper, 0, -1), tf.exp(log_diagonal))
        return permutation, unit_lower, full_upper, log_diagonal

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        permutation, lower, upper, log_diagonal = self._factors(x.dtype)
        solve = tf.linalg.triangular_solve
        inverse_upper = solve(upper, tf.eye(lower.shape[0], dtype=lower.dtype), lower=False)
        inverse = tf.matmul(inverse_upper, solve(lower, tf.transpose(permutation)))
        return self._product(x, inverse, -tf.reduce_sum(log_diagonal))

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        permutation, lower, upper, log_diagonal = self._factors(y.dtype)
        matrix = tf.matmul(permutation, tf.matmul(lower, upper))
        return self._product(y, matrix, tf.reduce_sum(log_diagonal))

    def _product(
        self, event: tf.Tensor, matrix: tf.Tensor, log_det: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        product = tf.tensordot(tf.cast(event, matrix.dtype), matrix, 1)
        return tf.cast(product, event.dtype), self._log_det(event, tf.cast(log_det, event.dtype))
