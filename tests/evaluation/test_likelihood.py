"""Likelihood estimators against a linear-Gaussian model, whose log p(x) is known."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.errors import WorkError
from tfgen.evaluation.distances import mean
from tfgen.evaluation.likelihood import Bounds, active_units, dequantized_log_prob
from tfgen.models.vae.bounds import Terms
from tfgen.random import BatchNoise

tfd: Any = tfp.distributions

W = np.array([[0.7, -1.2, 0.4, 2.0], [0.3, 0.8, -0.5, 0.1]])
EXACT = tfd.MultivariateNormalFullCovariance(np.zeros(4), np.eye(4) + W.T @ W)
COVARIANCE = np.linalg.inv(np.eye(2) + W @ W.T)


def linear_gaussian(shift: float = 0.0, pairs: int = 64) -> Bounds:
    """x = W' z + ε: the exact posterior is N(C W x, C) with C = (1 + W W')⁻¹; `shift` moves it."""
    root = tf.constant(np.linalg.cholesky(COVARIANCE))
    prior = tfd.MultivariateNormalDiag(np.zeros(2), np.ones(2))

    def terms(x: tf.Tensor, noise: BatchNoise, labels: None, samples: tf.Tensor) -> Terms:
        q = tfd.MultivariateNormalTriL(x @ tf.constant((COVARIANCE @ W).T) + shift, root)
        epsilon = noise.normal(samples, (x.shape[0], 2), 0, "float64")
        z = q.mean() + epsilon @ tf.transpose(root)
        p = tfd.MultivariateNormalDiag(tf.einsum("...d,dx->...x", z, tf.constant(W)), np.ones(4))
        ratios = prior.log_prob(z) - q.log_prob(z)
        kl = tfd.kl_divergence(q, prior)
        return Terms(tf.transpose(p.log_prob(x)), tf.transpose(ratios), [kl])

    return Bounds(terms, pairs)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, 4)) * 1.5


@pytest.mark.parametrize("samples", [1, 5, 37])
def test_exact_with_the_exact_posterior(x: np.ndarray, samples: int) -> None:
    # Each importance weight is p(x) itself: there is no Monte Carlo error, for any size of chunks.
    values = linear_gaussian(pairs=24).log_prob(tf.constant(x), (0, 0), samples)
    np.testing.assert_allclose(values, EXACT.log_prob(x), rtol=1e-9)


def test_the_bound_rises_with_k_to_log_p(x: np.ndarray) -> None:
    shift, repeats = 0.35, 3000
    model = linear_gaussian(shift, pairs=200_000)
    events = tf.repeat(tf.constant(x[:1]), repeats, axis=0)
    log_p = EXACT.log_prob(x[0]).numpy()
    # log w is normal with mean log p(x) − u and variance 2u, where u = shift' C⁻¹ shift / 2 is the
    # KL. So Var(w/p) = exp(2u) − 1.
    kl = 0.5 * shift**2 * np.linalg.inv(COVARIANCE).sum()
    gaps = []
    for k in (1, 4, 16, 64):
        values = model.log_prob(events, (1, 0), k)
        gaps.append((log_p - values.mean(), values.std() / np.sqrt(repeats)))
    assert all(before[0] > after[0] for before, after in itertools.pairwise(gaps))
    assert all(gap > -3 * error for gap, error in gaps)
    np.testing.assert_allclose(gaps[0][0], kl, atol=4 * gaps[0][1])
    # The leading term for large K is Var(w/p) / 2K.
    np.testing.assert_allclose(gaps[-1][0], np.expm1(2 * kl) / (2 * 64), atol=4 * gaps[-1][1])


def test_the_elbo_is_lower_by_the_kl(x: np.ndarray) -> None:
    shift, repeats = 0.35, 4000
    events = tf.repeat(tf.constant(x[:1]), repeats, axis=0)
    values = linear_gaussian(shift).elbo(events, (0, 0))
    kl = 0.5 * shift**2 * np.linalg.inv(COVARIANCE).sum()
    error = values.std() / np.sqrt(repeats)
    np.testing.assert_allclose(EXACT.log_prob(x[0]).numpy() - values.mean(), kl, atol=4 * error)


def test_dequantizations_are_averaged_as_densities() -> None:
    images, seeds = np.zeros((3, 2, 2, 1), np.uint8), np.array([5, 6, 7], np.int32)
    calls = []

    def log_prob(images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        calls.append(seeds)
        return -100.0 * len(calls) + np.arange(3)

    single = dequantized_log_prob(log_prob, images, seeds, 1)
    np.testing.assert_array_equal(single, [-100, -99, -98])
    np.testing.assert_array_equal(calls[0], seeds)
    calls.clear()
    averaged = dequantized_log_prob(log_prob, images, seeds, 3)
    expected = np.arange(3) - 100 + np.log1p(np.exp(-100)) - np.log(3)
    np.testing.assert_allclose(averaged, expected, rtol=1e-9)
    assert len(np.unique(calls)) == 9, "some draws share a seed"


def test_active_units() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(5000, 4)) * np.sqrt([1.0, 0.011, 0.009, 0.0])
    assert active_units(means) == 2
    assert active_units(means, least=0.5) == 1


def test_mean_and_its_standard_error() -> None:
    values = np.array([1.0, 2.0, 4.0])
    assert mean(values).value == pytest.approx(7 / 3)
    assert mean(values).error == pytest.approx(np.std(values, ddof=1) / np.sqrt(3))


def test_a_value_that_is_not_finite_is_reported() -> None:
    with pytest.raises(WorkError, match=r"2 of 4 images have no finite value; .* is image 1 "):
        mean(np.array([1.0, np.nan, 2.0, -np.inf]))
