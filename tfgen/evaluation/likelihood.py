"""Estimators of likelihoods, image by image: ELBO, importance weighting, draws of a dequantization.

They take a prior, a posterior and a likelihood, or a log-density, and no model.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import random
from tfgen.errors import UsageError

tfd: Any = tfp.distributions
Distribution: TypeAlias = Any  # tfd.Distribution

# Pairs of an image and a latent that go through a decoder at once: more would leave the processor's
# caches.
PAIRS = 2048
# Least variance of a latent's posterior mean over images for the latent to be in use (Burda et al.
# 2015).
ACTIVE = 0.01


class LatentVariables:
    """Bounds on log p(x) = log ∫ p(x|z) p(z) dz by samples of z from an approximate posterior.

    Args:
        prior: p(z), of events `[D]`.
        posterior: q(z|x) of events `[B, *event_shape]`: batch shape `[B]`.
        likelihood: p(x|z) of latents `[…, B, D]`: batch shape `[…, B]`.
        pairs: of an event and a latent that are computed at once: what memory grows with.

    Both functions also get the tensors that a bound is given as `context`, such as one-hot labels
    `[B, K]`.
    """

    def __init__(
        self,
        prior: Distribution,
        posterior: Callable[..., Distribution],
        likelihood: Callable[..., Distribution],
        pairs: int = PAIRS,
    ):
        self.prior, self.posterior, self.likelihood, self.pairs = (
            prior,
            posterior,
            likelihood,
            pairs,
        )
        self._elbo = tf.function(self._elbo_of, autograph=False)
        self._log_sum = tf.function(self._log_sum_of, autograph=False, reduce_retracing=True)

    def elbo(self, events: tf.Tensor, seed: tuple[int, int], *context: tf.Tensor) -> np.ndarray:
        """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), by one sample of z and the KL in closed form.

        Args:
            events: `[B, *event_shape]`.
            seed: two integers, of the samples.
            *context: for posterior and likelihood.

        Returns:
            nats, `float64[B]`.
        """
        found = self._elbo(events, _seed(seed, 0), *context)
        return np.asarray(found, np.float64)

    def log_prob(
        self, events: tf.Tensor, seed: tuple[int, int], samples: int, *context: tf.Tensor
    ) -> np.ndarray:
        """log 1/K Σ p(x|z) p(z) / q(z|x), with z from q(z|x) (Burda et al. 2015).

        In expectation it is a bound on log p(x) from below, rises with K, and tends to log p(x).

        Args:
            events: `[B, *event_shape]`.
            seed: two integers, of the samples.
            samples: K.
            *context: for posterior and likelihood.

        Returns:
            nats, `float64[B]`.

        Raises:
            UsageError: there is to be no sample.
        """
        if samples < 1:
            raise UsageError(f"{samples} importance samples are too few; the least is 1")
        chunk = max(1, min(samples, self.pairs // max(1, len(events))))
        total = np.full(len(events), -np.inf)
        for index, start in enumerate(range(0, samples, chunk)):
            # A tensor, lest each size be traced anew.
            size = tf.constant(min(chunk, samples - start))
            total = np.logaddexp(
                total, self._log_sum(events, _seed(seed, index + 1), size, *context)
            )
        return total - math.log(samples)

    def _elbo_of(self, events: tf.Tensor, seed: tf.Tensor, *context: tf.Tensor) -> tf.Tensor:
        posterior = self.posterior(events, *context)
        reconstruction = self.likelihood(posterior.sample(seed=seed), *context).log_prob(events)
        return reconstruction - tfd.kl_divergence(posterior, self.prior)

    def _log_sum_of(
        self, events: tf.Tensor, seed: tf.Tensor, size: tf.Tensor, *context: tf.Tensor
    ) -> tf.Tensor:
        """log Σ of `size` importance weights, in float64."""
        posterior = self.posterior(events, *context)
        latents = posterior.sample(size, seed=seed)
        log_weights = self.likelihood(latents, *context).log_prob(events)
        log_weights += self.prior.log_prob(latents) - posterior.log_prob(latents)
        return tf.reduce_logsumexp(tf.cast(log_weights, tf.float64), axis=0)


def _seed(seed: tuple[int, int], index: int) -> tf.Tensor:
    folded: tf.Tensor = tf.random.experimental.stateless_fold_in(tf.constant(seed, tf.int32), index)
    return folded


def dequantized_log_prob(
    log_prob: Callable[[np.ndarray, np.ndarray], np.ndarray],
    images: np.ndarray,
    seeds: np.ndarray,
    draws: int,
) -> np.ndarray:
    """log 1/k Σ p(x + u) / q(u|x): densities averaged over draws of u, a bound on log P(x) in
    expectation.

    Args:
        log_prob: of `images` and the seeds of their dequantization, `int32[B]`: log p(x + u) − log
            q(u|x) in nats, `[B]`.
        images: `uint8[B, H, W, C]`.
        seeds: `int32[B]`; a single draw is theirs, several are drawn from them.
        draws: k.

    Returns:
        nats, `float64[B]`.

    Raises:
        UsageError: there is to be no draw.
    """
    if draws < 1:
        raise UsageError(f"{draws} dequantizations are too few; the least is 1")
    several = seeds[:, None] if draws == 1 else random.seeds_of_draws(seeds, draws).numpy()
    found = [np.asarray(log_prob(images, drawn), np.float64) for drawn in several.T]
    total: np.ndarray = np.logaddexp.reduce(found, axis=0) - math.log(draws)
    return total


def bits_per_dim(log_prob: np.ndarray, dimensions: int) -> np.ndarray:
    """−log p / (D ln 2) of log-probabilities in nats."""
    return -log_prob / (dimensions * math.log(2))


def active_units(means: np.ndarray, least: float = ACTIVE) -> int:
    """Latents whose posterior mean varies over images by more than `least` (Burda et al. 2015,
    section 5).

    Args:
        means: of q(z|x), `[N, D]`.
        least: variance.

    Raises:
        UsageError: there are fewer than two images.
    """
    if len(means) < 2:
        raise UsageError(f"{len(means)} images are too few for a variance; the least is 2")
    return int((np.var(means.astype(np.float64), axis=0, ddof=1) > least).sum())
