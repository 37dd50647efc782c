"""The lower bounds on log p(x) that a VAE trains, as the terms they are made of, in nats, the batch
first."""

from typing import NamedTuple, TypeAlias

import tensorflow as tf


class ELBO(NamedTuple):
    """The evidence lower bound of each event in nats, `float[B]`: `elbo` = `reconstruction` −
    `kl`."""

    reconstruction: tf.Tensor
    kl: tf.Tensor

    @property
    def elbo(self) -> tf.Tensor:
        """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), its expectation by samples of z."""
        return self.reconstruction - self.kl

    def bound(self, kl_weight: tf.Tensor | None = None) -> tf.Tensor:
        """`elbo`; with a weight of the KL, what is trained instead."""
        return self.elbo if kl_weight is None else self.reconstruction - kl_weight * self.kl


class ImportanceWeighted(NamedTuple):
    """The importance-weighted bound of each event (Burda et al. 2015) by K samples z of q(z|x).

    Attributes:
        log_likelihoods: log p(x|z), `float[B, K]`.
        log_ratios: log p(z) − log q(z|x), `float[B, K]`.
        kl: KL(q(z|x) ‖ p(z)) in closed form, `float[B]`; not of this bound, but of the ELBO.
    """

    log_likelihoods: tf.Tensor
    log_ratios: tf.Tensor
    kl: tf.Tensor

    @property
    def reconstruction(self) -> tf.Tensor:
        """E_q[log p(x|z)] by the samples, the ELBO's other part, `float[B]`."""
        return tf.reduce_mean(self.log_likelihoods, axis=1)

    def bound(self, kl_weight: tf.Tensor | None = None) -> tf.Tensor:
        """log 1/K Σ p(x|z) p(z) / q(z|x); with a weight of log p(z) / q(z|x), what is trained
        instead."""
        log_ratios = self.log_ratios if kl_weight is None else kl_weight * self.log_ratios
        log_weights = self.log_likelihoods + log_ratios
        samples = tf.cast(tf.shape(log_weights)[1], log_weights.dtype)
        # TFP's mean divides by zero where the batch is empty.
        return tf.reduce_logsumexp(log_weights, axis=1) - tf.math.log(samples)


Bound: TypeAlias = ELBO | ImportanceWeighted
