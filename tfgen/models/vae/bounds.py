"""The lower bounds on log p(x) that a VAE maximizes.

Each is stored as its terms, in nats, with the batch first.
"""

from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf
import tensorflow_probability as tfp

tfd: Any = tfp.distributions
Distribution: TypeAlias = Any  # tfd.Distribution

# The stream of the noise that samples the posterior. "po" in ASCII; see `tfgen.random`.
POSTERIOR = 0x706F


class ELBO(NamedTuple):
    """The evidence lower bound (ELBO) of each event (Kingma & Welling 2013).

    Attributes:
        reconstruction: E_q[log p(x|z)], estimated from samples of z, `float[B]`.
        kl: KL(q(z|x) ‖ p(z)), `float[B]`.
        penalty: what training subtracts in place of the KL, `float[B]`: with free bits, the sum
            over the levels of latents of the larger of the image's KL and free bits; else the KL.
            Free bits are of Kingma et al. 2016 ("Improving variational inference with inverse
            autoregressive flow"), who take the larger of the batch's mean and free bits.
    """

    reconstruction: tf.Tensor
    kl: tf.Tensor
    penalty: tf.Tensor

    @property
    def elbo(self) -> tf.Tensor:
        """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), `float[B]`."""
        return self.reconstruction - self.kl

    def bound(self, kl_weight: tf.Tensor | None = None) -> tf.Tensor:
        """The ELBO, `float[B]`; with `kl_weight`, the training objective.

        Args:
            kl_weight: weight of the penalty; None gives the ELBO.
        """
        return self.elbo if kl_weight is None else self.reconstruction - kl_weight * self.penalty


class ImportanceWeighted(NamedTuple):
    """The importance-weighted bound of each event, from K samples z of q(z|x).

    Burda et al. 2015, "Importance weighted autoencoders".

    Attributes:
        log_likelihoods: log p(x|z), `float[B, K]`.
        log_ratios: log p(z) − log q(z|x), `float[B, K]`.
        kl: KL(q(z|x) ‖ p(z)) in closed form, `float[B]`; a term of the ELBO, not of this bound.
    """

    log_likelihoods: tf.Tensor
    log_ratios: tf.Tensor
    kl: tf.Tensor

    @property
    def reconstruction(self) -> tf.Tensor:
        """E_q[log p(x|z)], estimated from the samples, `float[B]`; a term of the ELBO."""
        return tf.reduce_mean(self.log_likelihoods, axis=1)

    def bound(self, kl_weight: tf.Tensor | None = None) -> tf.Tensor:
        """log 1/K Σ p(x|z) p(z) / q(z|x), `float[B]`.

        With `kl_weight` it is the training objective, in which log p(z) / q(z|x) has that weight.
        """
        log_ratios = self.log_ratios if kl_weight is None else kl_weight * self.log_ratios
        log_weights = self.log_likelihoods + log_ratios
        samples = tf.cast(tf.shape(log_weights)[1], log_weights.dtype)
        # tfp.math.reduce_logmeanexp divides by zero for an empty batch.
        return tf.reduce_logsumexp(log_weights, axis=1) - tf.math.log(samples)


Bound: TypeAlias = ELBO | ImportanceWeighted


def kl_to_prior(posterior: Distribution) -> tf.Tensor:
    """KL(q(z|x) ‖ p(z)) to a standard normal prior, in closed form, nats, `[B]`.

    It is ½ Σ (σ² + μ² − 1 − log σ²) (Kingma & Welling 2013, appendix B). The sum over
    dimensions is faster than TFP's divergence of two multivariate normals, which solves linear
    systems.

    Args:
        posterior: q(z|x), normal with independent dimensions, batch shape `[B]`.
    """
    mean = posterior.mean()
    prior = tfd.Normal(tf.zeros([], mean.dtype), tf.ones([], mean.dtype))
    marginals = tfd.Normal(mean, posterior.stddev())
    return tf.reduce_sum(tfd.kl_divergence(marginals, prior), axis=-1)


def kl_of_noise(mean: tf.Tensor, log_stddev: tf.Tensor) -> tf.Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each entry, nats."""
    return (mean**2 + tf.exp(2 * log_stddev) - 1) / 2 - log_stddev
