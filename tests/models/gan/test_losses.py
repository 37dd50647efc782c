"""The adversarial losses against closed forms in float64."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfgen.models.gan.losses import (
    LOSSES,
    gradient_penalty,
)

REAL = np.array([-3.0, -0.4, 0.0, 0.7, 1.0, 5.0])
FAKE = np.array([2.5, 0.3, 0.0, -1.0, -0.2, -6.0])
EXTREME = np.array([-200.0, -200.0, 200.0, 200.0]), np.array([-200.0, 200.0, -200.0, 200.0])
CLASSIFIERS = [name for name, loss in LOSSES.items() if loss.classifies]


def log_sigmoid(a: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -a)


def closed_form(
    name: str, real: np.ndarray, fake: np.ndarray, s: float
) -> tuple[np.ndarray, np.ndarray]:
    """The generator's and the discriminator's loss."""
    cross_entropy = -(1 - s) * log_sigmoid(real) - s * log_sigmoid(-real) - log_sigmoid(-fake)
    return {
        "non_saturating": (-log_sigmoid(fake), cross_entropy),
        "minimax": (log_sigmoid(-fake), cross_entropy),
        "least_squares": ((fake - 1) ** 2 / 2, (real - 1 + s) ** 2 / 2 + fake**2 / 2),
        "hinge": (-fake, np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)),
        "wasserstein": (-fake, fake - real),
        "relativistic": (-log_sigmoid(fake - real), -log_sigmoid(real - fake)),
    }[name]


def losses(
    name: str, real: np.ndarray, fake: np.ndarray, s: float
) -> tuple[np.ndarray, np.ndarray]:
    real, fake = tf.constant(real, tf.float32), tf.constant(fake, tf.float32)
    return of_generator(name, real, fake).numpy(), total(name, real, fake, s).numpy()


def of_generator(name: str, real: Any, fake: Any) -> tf.Tensor:
    """The generator's loss."""
    loss = LOSSES[name]
    return loss.generator(fake, real) if loss.relative else loss.generator(fake)


def total(name: str, real: Any, fake: Any, s: float) -> tf.Tensor:
    """The discriminator's loss, both of its terms."""
    real_term, fake_term = LOSSES[name].discriminator(real, fake, s)
    return real_term + fake_term


def slope(loss: Callable[[tf.Tensor], tf.Tensor], at: Any) -> np.ndarray:
    at = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(at)
        value = loss(at)
    return tape.gradient(value, at).numpy()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_their_closed_forms(name: str, smoothing: float) -> None:
    for made, wanted in zip(
        losses(name, REAL, FAKE, smoothing), closed_form(name, REAL, FAKE, smoothing), strict=True
    ):
        assert made.dtype == np.float32
        assert made.shape == REAL.shape
        # Float32 rounds terms of some nats at 5e-7; where they cancel, no relative error holds.
        np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite_and_right(name: str) -> None:
    for made, wanted in zip(
        losses(name, *EXTREME, 0.1), closed_form(name, *EXTREME, 0.1), strict=True
    ):
        # 0.1 · 200 beside 200 is rounded at 2e-5.
        np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=3e-5)
    for player in range(2):
        gradient = slope(lambda a, player=player: _either(name, a)[player], np.float32([-200, 200]))
        assert np.all(np.isfinite(gradient))


def _either(name: str, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return of_generator(name, -logits, logits), total(name, -logits, logits, 0.0)


@pytest.mark.parametrize("name", [*CLASSIFIERS, "least_squares"])
def test_smoothing_changes_the_real_part_alone(name: str) -> None:
    real, fake = tf.constant(REAL, tf.float64), tf.constant(FAKE, tf.float64)
    loss = functools.partial(total, name)
    change = loss(real, fake, 0.2) - loss(real, fake, 0.0)
    expected = loss(real, fake + 3, 0.2) - loss(real, fake + 3, 0.0)
    # Float64 rounds values below 20 at 2e-15.
    np.testing.assert_allclose(change, expected, atol=2e-14)
    np.testing.assert_array_equal(
        slope(lambda a: loss(real, a, 0.2), fake), slope(lambda a: loss(real, a, 0.0), fake)
    )
    assert np.all(change.numpy()[REAL != 0] != 0)


def test_penalty_of_a_flat_critic_is_one_and_has_a_gradient() -> None:
    rng = np.random.default_rng(0)
    real, fake, weights = (tf.constant(rng.normal(size=size)) for size in ((5, 3), (5, 3), 5))
    w, v = (tf.Variable(tf.zeros([3], tf.float64)) for _ in range(2))
    with tf.GradientTape() as tape:
        penalty = gradient_penalty(
            lambda x: tf.linalg.matvec(x, w) + tf.linalg.matvec(x**2, v), real, fake, weights
        )
    np.testing.assert_array_equal(penalty, 1)
    # The root's own derivative at zero is infinite, times zero no number.
    for gradient in tape.gradient(penalty, [w, v]):
        np.testing.assert_array_equal(gradient, 0)
