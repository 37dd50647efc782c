"""The lower bounds on log p(x) that a VAE maximizes.

Each is stored as its terms, in nats, with the batch first.
"""

from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.errors import UsageError
from tfgen.models.preprocessing import Noise

tfd: Any = tfp.distributions
Distribution: TypeAlias = Any  # tfd.Distribution

# The stream of the noise that samples the posterior. "po" in ASCII; see `tfgen.random`.
POSTERIOR = 0x706F


class ELBO(NamedTuple):
    """The evidence lower bound (ELBO) of each event.

    Attributes:
        reconstruction: E_q[log p(x|z)], estimated from samples of z, `float[B]`.
        kl: KL(q(z|x) ‖ p(z)), `float[B]`.
    """

    reconstruction: tf.Tensor
    kl: tf.Tensor

    @property
    def elbo(self) -> tf.Tensor:
        """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), `float[B]`."""
        return self.reconstruction - self.kl

    def bound(self, kl_weight: tf.Tensor | None = None) -> tf.Tensor:
        """The ELBO; with `kl_weight`, the training objective, whose KL has that weight."""
        return self.elbo if kl_weight is None else self.reconstruction - kl_weight * self.kl


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

    The sum over dimensions is faster than TFP's divergence of two multivariate normals, which
    solves linear systems.

    Args:
        posterior: q(z|x), normal with independent dimensions, batch shape `[B]`.
    """
    mean = posterior.mean()
    prior = tfd.Normal(tf.zeros([], mean.dtype), tf.ones([], mean.dtype))
    marginals = tfd.Normal(mean, posterior.stddev())
    return tf.reduce_sum(tfd.kl_divergence(marginals, prior), axis=-1)


def posterior_samples(posterior: Distribution, samples: int, noise: Noise) -> tf.Tensor:
    """z = μ + σ ε, `[samples, B, D]`; arguments as for `VAE.elbo`."""
    mean = posterior.mean()
    epsilon = noise.normal(tf.shape(mean)[0], (samples, mean.shape[-1]), POSTERIOR, mean.dtype.name)
    return mean + posterior.stddev() * tf.transpose(epsilon, [1, 0, 2])


def check_override(family: type, base: type) -> None:
    """Refuses a subclass of the VAE whose own `elbo` the objective `iwae` would not use.

    Args:
        family: the subclass, or the VAE itself.
        base: the VAE.

    Raises:
        UsageError: of the methods of the objective, the subclass overrides `elbo` alone.
    """
    methods = ("elbo", "bound", "importance_weighted")
    own = {name for name in methods if getattr(family, name) is not getattr(base, name)}
    if own == {"elbo"}:
        raise UsageError(
            f"{family.__name__} has an elbo of its own, which objective='iwae' does not use; "
            "override bound, which both objectives use"
        )
