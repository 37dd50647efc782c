"""The lower bounds on log p(x) that a VAE maximizes.

Each is stored as its terms, in nats, with the batch first.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.models.preprocessing import Noise

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
            over the levels of latents of the larger of KL and free bits (Kingma et al. 2016,
            "Improving variational inference with inverse autoregressive flow"); else the KL.
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


class Draws(NamedTuple):
    """K samples z of q(z|x) for each event, and what the bounds need of them.

    Attributes:
        latents: z, `[K, B, D]`.
        log_ratios: log p(z) − log q(z|x), `[K, B]`.
        kls: for each level of latents, its KL in closed form given the levels above, averaged over
            the samples, `[B]`.
        outputs: the decoder's, `[K · B, *outputs_shape]`, if they came with the samples; else None.
    """

    latents: tf.Tensor
    log_ratios: tf.Tensor
    kls: list[tf.Tensor]
    outputs: tf.Tensor | None = None


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


def posterior_noise(posterior: Distribution, samples: Any, noise: Noise) -> tf.Tensor:
    """The standard normal noise of `samples` samples of z, `[samples, B, D]`."""
    batch = posterior.batch_shape[0] or posterior.batch_shape_tensor()[0]
    shape = (samples, posterior.event_shape[0])
    epsilon = noise.normal(batch, shape, POSTERIOR, posterior.dtype.name)
    return tf.transpose(epsilon, [1, 0, 2])


@functools.singledispatch
def draw(posterior: Distribution, noise: tf.Tensor) -> Draws:
    """Samples z of q(z|x), normal with independent dimensions; other posteriors register their own.

    Args:
        posterior: q(z|x), batch shape `[B]`.
        noise: standard normal, `[K, B, D]`.
    """
    latents = posterior.mean() + posterior.stddev() * noise
    zeros = tf.zeros(posterior.event_shape, latents.dtype)
    prior = tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))
    log_ratios = prior.log_prob(latents) - posterior.log_prob(latents)
    return Draws(latents, log_ratios, [kl_to_prior(posterior)])


# Of noise `[K, B, D]`: log p(x|z) and log p(z) − log q(z|x), `[K, B]`, and the levels' KLs, `[B]`.
Terms: TypeAlias = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]]


def in_turn(terms: Terms, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """`terms(noise)`, computed for one of the K samples at a time, in less memory.

    Args:
        terms: the terms of a bound.
        noise: `[K, B, D]`.

    Returns:
        What `terms` returns, with the KL of all levels together.
    """

    def single(noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        log_likelihoods, log_ratios, kls = terms(noise[None])
        return log_likelihoods[0], log_ratios[0], tf.add_n(kls)

    log_likelihoods, log_ratios, kls = tf.map_fn(
        single, noise, parallel_iterations=1, fn_output_signature=(noise.dtype,) * 3
    )
    return log_likelihoods, log_ratios, [tf.reduce_mean(kls, axis=0)]
