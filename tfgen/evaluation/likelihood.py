"""Estimators of likelihoods: ELBO, importance weighting, dequantization.

They take a prior, a posterior and a likelihood, or a log-density, and no model.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import random

tfd: Any = tfp.distributions
Distribution: TypeAlias = Any  # tfd.Distribution

# Pairs of an event and a latent that pass through a decoder at once, for images like MNIST's. With
# more, the activations no longer fit into the processor's caches.
PAIRS = 2048
# A latent is active if the variance of its posterior mean over images exceeds this (Burda et al.
# 2015).
ACTIVE = 0.01


class Bounds:
    """Bounds on log p(x) = log ∫ p(x|z) p(z) dz, from samples of an approximate posterior.

    Kingma & Welling 2013 and Burda et al. 2015 derive them. A subclass says how the samples are
    drawn. It also receives the tensors that a bound is passed as `context`, such as one-hot labels
    `[B, K]`.

    Args:
        pairs: pairs of an event and a latent that are computed at once; memory grows with it.
    """

    def __init__(self, pairs: int = PAIRS):
        self.pairs = pairs
        self._elbo = tf.function(self._elbo_of, autograph=False)
        self._log_sum = tf.function(self._log_sum_of, autograph=False, reduce_retracing=True)

    def elbo(self, events: tf.Tensor, seed: tuple[int, int], *context: tf.Tensor) -> np.ndarray:
        """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), in nats.

        The expectation is estimated with one sample of z, the KL is in closed form.

        Args:
            events: `[B, *event_shape]`.
            seed: of the samples, two integers.
            *context: for posterior and likelihood.

        Returns:
            nats, `float64[B]`.
        """
        return np.asarray(self._elbo(events, _fold(seed, 0), *context), np.float64)

    def log_prob(
        self, events: tf.Tensor, seed: tuple[int, int], samples: int, *context: tf.Tensor
    ) -> np.ndarray:
        """log 1/K Σ p(x|z) p(z) / q(z|x), with z from q(z|x) (Burda et al. 2015).

        In expectation it is a lower bound on log p(x), grows with K, and tends to log p(x).

        Args:
            events: `[B, *event_shape]`.
            seed: of the samples, two integers.
            samples: K.
            *context: for posterior and likelihood.

        Returns:
            nats, `float64[B]`.
        """
        chunk = max(1, min(samples, self.pairs // max(1, len(events))))
        total = np.full(len(events), -np.inf)
        for index, start in enumerate(range(0, samples, chunk)):
            # A tensor: a Python integer would trace the function again for the last chunk.
            size = tf.constant(min(chunk, samples - start))
            part = self._log_sum(events, _fold(seed, index + 1), size, *context)
            total = np.logaddexp(total, part)
        return total - math.log(samples)

    def _elbo_of(self, events: tf.Tensor, seed: tf.Tensor, *context: tf.Tensor) -> tf.Tensor:
        """The ELBO of one sample of each event, `[B]`."""
        raise NotImplementedError

    def _log_weights(
        self, events: tf.Tensor, seed: tf.Tensor, size: tf.Tensor, *context: tf.Tensor
    ) -> tf.Tensor:
        """log p(x|z) p(z) / q(z|x) of `size` samples of each event, `[size, B]`."""
        raise NotImplementedError

    def _log_sum_of(self, *arguments: tf.Tensor) -> tf.Tensor:
        """log of the sum of `size` importance weights, in float64."""
        return tf.reduce_logsumexp(tf.cast(self._log_weights(*arguments), tf.float64), axis=0)


class LatentVariables(Bounds):
    """Bounds of a model whose prior, posterior and likelihood are distributions.

    They are those of Kingma & Welling 2013 and Burda et al. 2015.

    Args:
        prior: p(z), with events `[D]`.
        posterior: q(z|x) of events `[B, *event_shape]`, with batch shape `[B]`.
        likelihood: p(x|z) of latents `[…, B, D]`, with batch shape `[…, B]`.
        pairs: as for `Bounds`.
    """

    def __init__(
        self,
        prior: Distribution,
        posterior: Callable[..., Distribution],
        likelihood: Callable[..., Distribution],
        pairs: int = PAIRS,
    ):
        super().__init__(pairs)
        self.prior, self.posterior, self.likelihood = prior, posterior, likelihood

    def _elbo_of(self, events: tf.Tensor, seed: tf.Tensor, *context: tf.Tensor) -> tf.Tensor:
        posterior = self.posterior(events, *context)
        reconstruction = self.likelihood(posterior.sample(seed=seed), *context).log_prob(events)
        return reconstruction - tfd.kl_divergence(posterior, self.prior)

    def _log_weights(
        self, events: tf.Tensor, seed: tf.Tensor, size: tf.Tensor, *context: tf.Tensor
    ) -> tf.Tensor:
        posterior = self.posterior(events, *context)
        latents = posterior.sample(size, seed=seed)
        log_weights = self.likelihood(latents, *context).log_prob(events)
        log_weights += self.prior.log_prob(latents) - posterior.log_prob(latents)
        return log_weights


class AncestralLatents(Bounds):
    """Bounds of a model that draws its latents level by level, and p(x|z) in the same pass.

    They are those of Kingma & Welling 2013 and Burda et al. 2015.

    Args:
        terms: of events, noise, context (`labels`) and `samples=`: an object with
            `log_likelihoods` log p(x|z) and `log_ratios` log p(z) − log q(z|x), `[B, samples]`, and
            the levels' `kl`, `[B]`.
        pairs: as for `Bounds`.
    """

    def __init__(self, terms: Callable[..., Any], pairs: int = PAIRS):
        super().__init__(pairs)
        self.terms = terms

    def _elbo_of(self, events: tf.Tensor, seed: tf.Tensor, *context: tf.Tensor) -> tf.Tensor:
        terms = self.terms(events, random.BatchNoise(seed), *context, samples=1)
        return terms.log_likelihoods[:, 0] - terms.kl

    def _log_weights(
        self, events: tf.Tensor, seed: tf.Tensor, size: tf.Tensor, *context: tf.Tensor
    ) -> tf.Tensor:
        terms = self.terms(events, random.BatchNoise(seed), *context, samples=size)
        return tf.transpose(terms.log_likelihoods + terms.log_ratios)


def _fold(seed: tuple[int, int], index: int) -> tf.Tensor:
    folded: tf.Tensor = tf.random.experimental.stateless_fold_in(tf.constant(seed, tf.int32), index)
    return folded


def dequantized_log_prob(
    log_prob: Callable[[np.ndarray, np.ndarray], np.ndarray],
    images: np.ndarray,
    seeds: np.ndarray,
    draws: int,
) -> np.ndarray:
    """log 1/k Σ p(x + u) / q(u|x), with k draws of the dequantization u.

    In expectation it is a lower bound on log P(x), tighter with more draws: the bound of Burda et
    al. 2015, with the dequantization of Theis et al. 2016 or Ho et al. 2019 as its latents.

    Args:
        log_prob: log p(x + u) − log q(u|x) in nats, `[B]`, of `images` and the seeds of their
            dequantization, `int32[B]`.
        images: `uint8[B, H, W, C]`.
        seeds: `int32[B]`; a single draw uses these seeds, several draws use seeds derived from
            them.
        draws: k.

    Returns:
        nats, `float64[B]`.
    """
    draw_seeds = seeds[:, None] if draws == 1 else random.seeds_of_draws(seeds, draws).numpy()
    values = [np.asarray(log_prob(images, column), np.float64) for column in draw_seeds.T]
    total: np.ndarray = functools.reduce(np.logaddexp, values) - math.log(draws)
    return total


def bits_per_dim(log_prob: Any, dimensions: int) -> Any:
    """−log p / (D ln 2), the bits per dimension of bytes (Theis et al. 2016).

    Args:
        log_prob: log-probabilities in nats, a number or an array.
        dimensions: D, pixels times channels.
    """
    return -log_prob / (dimensions * math.log(2))


def active_units(means: np.ndarray, least: float = ACTIVE) -> int:
    """Number of latents in use.

    The variance of their posterior mean over images exceeds `least` (Burda et al. 2015, "Importance
    weighted autoencoders", section 5).

    Args:
        means: of q(z|x), `[N, D]`.
        least: variance.
    """
    return int((np.var(means.astype(np.float64), axis=0, ddof=1) > least).sum())
