"""Probabilistic PCA fulfils tfgen's contract, and its likelihood equals the closed form."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tfgen_ppca.model import PPCA

from tfgen import testing
from tfgen.nn.optimizers import Schedule
from tfgen.random import SeedNoise

small_model = functools.partial(PPCA, image_shape=(4, 4, 1), latent_dim=3)


@pytest.mark.parametrize("check", testing.checks(small_model))
def test_contract(check, tmp_path):
    """Each check of tfgen's contract."""
    check(tmp_path)


def test_log_prob_is_the_density_of_a_normal_distribution():
    """SciPy computes the density of N(μ, W Wᵀ + σ² I) from the whole covariance."""
    model, rng = small_model(dtype="float64"), np.random.default_rng(0)
    loadings, mean, events = (rng.normal(size=size) for size in ((16, 3), 16, (5, 16)))
    for weight, value in zip(model.trainable_variables, (loadings, mean, np.log(0.5)), strict=True):
        weight.assign(value)
    expected = stats.multivariate_normal(mean, loadings @ loadings.T + 0.25 * np.eye(16))
    np.testing.assert_allclose(model.event_log_prob(events), expected.logpdf(events), rtol=1e-9)


def maximum_log_likelihood(events, latent_dim):
    """The maximum of the mean log-likelihood of events `[N, D]` (Tipping & Bishop 1999)."""
    eigenvalues = np.linalg.eigvalsh(np.cov(events.T, bias=True))[::-1]
    principal, others = eigenvalues[:latent_dim], eigenvalues[latent_dim:]
    log_det = np.log(principal).sum() + len(others) * np.log(others.mean())
    return -0.5 * (len(eigenvalues) * (math.log(2 * math.pi) + 1) + log_det)


def test_training_approaches_the_maximum_of_the_likelihood():
    """The likelihood of the training images grows to its maximum and never exceeds it."""
    rng = np.random.default_rng(0)
    grey = 128 + 10 * rng.normal(size=(1000, 5)) @ rng.normal(size=(5, 16))
    images = np.clip(grey, 0, 255).astype(np.uint8).reshape(-1, 4, 4, 1)
    model = small_model(initial_grey=128, dtype="float64")
    events, log_det = model.preprocessing.events_and_log_det(
        tf.constant(images), SeedNoise(tf.range(1000)), "float64"
    )
    maximum = maximum_log_likelihood(model.flatten(events).numpy(), 3) + np.mean(log_det)
    schedule = Schedule(cosine_steps=900)
    model.compile(**model.default_optimizers(0.03, schedule), steps_per_execution=50)
    all_images, gaps = tf.data.Dataset.from_tensors(images).repeat(), []
    for _ in range(3):
        model.fit(all_images, steps_per_epoch=300, verbose=0)
        gaps.append(maximum - np.mean(model.log_prob(images)))
    assert gaps == sorted(gaps, reverse=True)
    assert 0 < gaps[-1] < 1e-4  # nats
