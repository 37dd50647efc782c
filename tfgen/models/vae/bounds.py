"""The lower bounds on log p(x) that a VAE maximizes, from samples of its posterior."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf
import tensorflow_probability as tfp

tfd: Any = tfp.distributions
Distribution: TypeAlias = Any  # tfd.Distribution

# The stream of the noise that samples the posterior. "po" in ASCII; see `tfgen.random`.
POSTERIOR = 0x706F


class Terms(NamedTuple):
    """The terms of both bounds of each event, from K samples z of q(z|x), in nats.

    The bounds of Kingma & Welling 2013 and of Burda et al. 2015.

    Attributes:
        log_likelihoods: log p(x|z), `float[B, K]`.
        log_ratios: log p(z) − log q(z|x), `float[B, K]`.
        kls: KL(q(z|x) ‖ p(z)) in closed form, of each level of latents, `float[B]` each.
    """

    log_likelihoods: tf.Tensor
    log_ratios: tf.Tensor
    kls: Sequence[tf.Tensor]

    @property
    def reconstruction(self) -> tf.Tensor:
        """E_q[log p(x|z)], estimated from the samples, `float[B]`."""
        return tf.reduce_mean(self.log_likelihoods, axis=1)

    @property
    def kl(self) -> tf.Tensor:
        """KL(q(z|x) ‖ p(z)), `float[B]`."""
        return tf.add_n(self.kls)

    def elbo(self, kl_weight: tf.Tensor | float = 1.0, free_bits: float = 0.0) -> tf.Tensor:
        """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), `float[B]` (Kingma & Welling 2013).

        Args:
            kl_weight: weight β of the KL (Higgins et al. 2017).
            free_bits: what is subtracted at least for each level of latents, in place of its KL.
                Kingma et al. 2016 ("Improving variational inference with inverse autoregressive
                flow") take the larger of the batch's mean and free bits.
        """
        kls = [tf.maximum(kl, free_bits) for kl in self.kls] if free_bits else self.kls
        return self.reconstruction - kl_weight * tf.add_n(kls)

    def importance_weighted(self, ratio_weight: tf.Tensor | float = 1.0) -> tf.Tensor:
        """log 1/K Σ p(x|z) p(z) / q(z|x), `float[B]`.

        Burda et al. 2015, "Importance weighted autoencoders".

        Args:
            ratio_weight: weight of log p(z) / q(z|x) in training.
        """
        log_weights = self.log_likelihoods + ratio_weight * self.log_ratios
        samples = tf.cast(tf.shape(log_weights)[1], log_weights.dtype)
        # tfp.math.reduce_logmeanexp divides by zero for an empty batch.
        return tf.reduce_logsumexp(log_weights, axis=1) - tf.math.log(samples)


class Draws(NamedTuple):
    """K samples of q(z|x) for each event.

    Attributes:
        outputs: the decoder's outputs for them, `[K · B, *outputs_shape]`.
        latents: z, `[K, B, D]`.
        log_ratios: log p(z) − log q(z|x), `[K, B]`.
        kls: the KL of each level of latents in closed form, `[B]` each.
    """

    outputs: tf.Tensor
    latents: tf.Tensor
    log_ratios: tf.Tensor
    kls: list[tf.Tensor]


class NormalPosterior(tfd.MultivariateNormalDiag):
    """q(z|x), normal with independent dimensions (Kingma & Welling 2013).

    Args:
        mean: `[B, D]`.
        stddev: `[B, D]`.
        prior: p(z), standard normal, event shape `[D]`.
        decode: the decoder's outputs `[K · B, *outputs_shape]` of latents `[K, B, D]`.
    """

    def __init__(
        self,
        mean: tf.Tensor,
        stddev: tf.Tensor,
        prior: Distribution,
        decode: Callable[[tf.Tensor], tf.Tensor],
    ):
        super().__init__(mean, stddev)
        self._prior, self._decode = prior, decode

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> Any:
        # TFP asks for them, and warns at length, where a subclass has other arguments.
        return tfd.MultivariateNormalDiag._parameter_properties(dtype, num_classes)

    def draw(self, noise: tf.Tensor) -> Draws:
        """The samples z = μ + σ ε (Kingma & Welling 2013).

        Args:
            noise: ε, standard normal, `[K, B, D]`.
        """
        latents = self.mean() + self.stddev() * noise
        log_ratios = self._prior.log_prob(latents) - self.log_prob(latents)
        return Draws(self._decode(latents), latents, log_ratios, [self.kl()])

    def kl(self) -> tf.Tensor:
        """KL(q(z|x) ‖ p(z)) in closed form, nats, `[B]`.

        It is ½ Σ (σ² + μ² − 1 − log σ²) (Kingma & Welling 2013, appendix B). The sum over
        dimensions is faster than TFP's divergence of two multivariate normals, which solves linear
        systems.
        """
        mean = self.mean()
        prior = tfd.Normal(tf.zeros([], mean.dtype), tf.ones([], mean.dtype))
        marginals = tfd.Normal(mean, self.stddev())
        return tf.reduce_sum(tfd.kl_divergence(marginals, prior), axis=-1)


def kl_of_noise(mean: tf.Tensor, log_stddev: tf.Tensor) -> tf.Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each entry, nats."""
    return (mean**2 + tf.exp(2 * log_stddev) - 1) / 2 - log_stddev
