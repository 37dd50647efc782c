"""Estimators of likelihoods: ELBO, importance weighting, dequantization.

They take functions, and no model.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from tfgen import random

# Two integers that all draws follow from.
Seed: TypeAlias = tuple[int, int]
# Pairs of an event and a latent that pass through a decoder at once, for images like MNIST's. With
# more, the activations no longer fit into the processor's caches.
PAIRS = 2048
# A latent is active if the variance of its posterior mean over images exceeds this (Burda et al.
# 2015).
ACTIVE = 0.01


class Bounds:
    """Bounds on log p(x) = log ∫ p(x|z) p(z) dz, from samples of an approximate posterior.

    Kingma & Welling 2013 and Burda et al. 2015 derive them.

    Args:
        sample_terms: of events, noise, labels and a number of samples: an object with
            `log_likelihoods` log p(x|z) and `log_ratios` log p(z) − log q(z|x), `[B, samples]`, and
            `kl` `[B]`, in closed form given the samples.
        pairs: pairs of an event and a latent that are computed at once; memory grows with it.
    """

    def __init__(self, sample_terms: Callable[..., Any], pairs: int = PAIRS):
        self._sample_terms, self.pairs = sample_terms, pairs
        self._elbo = tf.function(self._elbo_of, autograph=False)
        self._log_sum = tf.function(self._log_sum_of, autograph=False, reduce_retracing=True)

    def elbo(self, events: tf.Tensor, seed: Seed, labels: tf.Tensor | None = None) -> np.ndarray:
        """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), in nats.

        The expectation is estimated with one sample of z, the KL is in closed form.

        Args:
            events: `[B, *event_shape]`.
            seed: of the samples, two integers.
            labels: one-hot, `[B, K]`, for a conditional model.

        Returns:
            nats, `float64[B]`.
        """
        return np.asarray(self._elbo(events, _fold(seed, 0), labels), np.float64)

    def log_prob(
        self, events: tf.Tensor, seed: Seed, samples: int, labels: tf.Tensor | None = None
    ) -> np.ndarray:
        """log 1/K Σ p(x|z) p(z) / q(z|x), with z from q(z|x) (Burda et al. 2015).

        In expectation it is a lower bound on log p(x), grows with K, and tends to log p(x).

        Args:
            events: `[B, *event_shape]`.
            seed: of the samples, two integers.
            samples: K.
            labels: as for `elbo`.

        Returns:
            nats, `float64[B]`.
        """
        chunk = max(1, min(samples, self.pairs // max(1, len(events))))
        total = np.full(len(events), -np.inf)
        for index, start in enumerate(range(0, samples, chunk)):
            # A tensor: a Python integer would trace the function again for the last chunk.
            size = tf.constant(min(chunk, samples - start))
            part = self._log_sum(events, _fold(seed, index + 1), labels, size)
            total = np.logaddexp(total, part)
        return total - math.log(samples)

    def _elbo_of(self, events: tf.Tensor, seed: tf.Tensor, labels: tf.Tensor | None) -> tf.Tensor:
        """The ELBO of one sample of each event, `[B]`."""
        terms = self._sample_terms(events, random.BatchNoise(seed), labels, 1)
        return terms.log_likelihoods[:, 0] - terms.kl

    def _log_sum_of(
        self, events: tf.Tensor, seed: tf.Tensor, labels: tf.Tensor | None, size: tf.Tensor
    ) -> tf.Tensor:
        """log of the sum of `size` importance weights, `float64[B]`."""
        terms = self._sample_terms(events, random.BatchNoise(seed), labels, size)
        log_weights = tf.cast(terms.log_likelihoods + terms.log_ratios, tf.float64)
        return tf.reduce_logsumexp(log_weights, axis=1)


def _fold(seed: Seed, index: int) -> tf.Tensor:
    folded: tf.Tensor = tf.random.experimental.stateless_fold_in(tf.constant(seed, tf.int32), index)
    return folded


def dequantized_log_prob(
    log_prob: Callable[..., np.ndarray], images: np.ndarray, seeds: np.ndarray, draws: int
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
