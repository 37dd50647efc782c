"""Elementwise bijectors."""

import math

import tensorflow as tf

from tfgen.bijectors.base import Bijector


class InverseLogit(Bijector):
    """y = (σ(x) − α / 2) / (1 − α), the inverse of x = logit(α / 2 + (1 − α) y).

    With α > 0, pixels of 0 and 1 have finite logits (Dinh et al. 2016, section 4.1).

    Args:
        alpha: α, in [0, 1).
    """

    def __init__(self, alpha: float = 1e-5):
        self.alpha = alpha
        super().__init__(forward_min_event_ndims=0)

    def _log_slope(self, x: tf.Tensor) -> tf.Tensor:
        """log dy/dx = log σ(x) + log σ(−x) − log(1 − α)."""
        return -tf.nn.softplus(x) - tf.nn.softplus(-x) - math.log1p(-self.alpha)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return (tf.sigmoid(x) - self.alpha / 2) / (1 - self.alpha), self._log_slope(x)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # 1 − p is computed from 1 − y, which is exact if y is near 1.
        p, q = (self.alpha / 2 + (1 - self.alpha) * part for part in (y, 1 - y))
        log_p, log_q = tf.math.log(p), tf.math.log(q)
        return log_p - log_q, math.log1p(-self.alpha) - log_p - log_q
