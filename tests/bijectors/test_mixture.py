"""The solution of mixture couplings: exact, in few evaluations, each element by itself."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp

from tfgen import bijectors as b
from tfgen.bijectors import mixture

COMPONENTS, ELEMENTS = 5, 2000
# Of the means; exact in float32.
SPREAD = np.linspace(-1, 1, COMPONENTS)


def random_parameters(scale: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    logits, offsets, log_scales = scale * rng.normal(size=(3, ELEMENTS, COMPONENTS))
    return {"logits": logits, "offsets": offsets, "log_scales": log_scales}


def narrow_parameters() -> dict[str, np.ndarray]:
    """Components that are as narrow as the bound allows and far apart, with equal weights."""
    zeros = np.zeros([ELEMENTS, COMPONENTS])
    means = np.sort(np.random.default_rng(0).uniform(-10, 10, zeros.shape))
    return {"logits": zeros, "offsets": means - SPREAD, "log_scales": zeros - 100}


def logistic_targets() -> np.ndarray:
    return np.random.default_rng(1).logistic(size=ELEMENTS)


# For each kind of mixture: its parameters, the values of logit(F), a bound on the evaluations, and
# a bound on the mean number of evaluations of an element.
CASES: dict[str, tuple[dict[str, np.ndarray], np.ndarray, int, float]] = {
    "random": (random_parameters(1.0), logistic_targets(), 10, 5),
    "wide": (random_parameters(3.0), logistic_targets(), 18, 7),
    "saturated": (random_parameters(1.0), np.linspace(-59, 59, ELEMENTS), 10, 5),
    "far": (random_parameters(1.0), np.linspace(-300, 300, ELEMENTS), 12, 7),
    "narrow": (narrow_parameters(), logistic_targets(), 18, 10),
    # F is ⅖ between the second component and the third one.
    "flat": (narrow_parameters(), np.full(ELEMENTS, np.log(2 / 3)), 106, 106),
}


def coupling(parameters: dict[str, np.ndarray], dtype: str) -> b.MixtureCoupling:
    """A coupling that moves the second of two numbers, with s = t = 0."""
    outputs = np.concatenate([np.zeros([ELEMENTS, 2]), *parameters.values()], axis=1)
    return b.MixtureCoupling(b.Half(), lambda fixed: tf.constant(outputs, dtype), COMPONENTS)


def solve(parameters: dict[str, np.ndarray], targets: np.ndarray, dtype: str) -> np.ndarray:
    latents = tf.constant(np.stack([np.zeros(ELEMENTS), targets], axis=1), dtype)
    return coupling(parameters, dtype).forward_and_log_det(latents, 1)[0][:, 1].numpy()


def logit_of_cdf(y: np.ndarray, parameters: dict[str, np.ndarray]) -> np.ndarray:
    log_weights = parameters["logits"] - logsumexp(parameters["logits"], axis=1, keepdims=True)
    log_scales = 2 * np.tanh(parameters["log_scales"] / 2)
    t = (y[:, None].astype(np.float64) - parameters["offsets"] - SPREAD) * np.exp(-log_scales)
    below, above = (logsumexp(log_weights - np.logaddexp(0, sign * t), axis=1) for sign in (-1, 1))
    return below - above


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_the_solution_is_exact_and_takes_few_evaluations(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters, targets, most, mean = CASES[name]
    parameters = {key: value.astype(dtype).astype(float) for key, value in parameters.items()}
    targets = targets.astype(dtype).astype(float)
    evaluated: list[int] = []
    narrow = mixture._narrow

    def narrow_and_count(evaluate: Any, *arguments: Any) -> Any:
        return narrow(lambda y: evaluated.append(len(y)) or evaluate(y), *arguments)

    monkeypatch.setattr(mixture, "_narrow", narrow_and_count)
    y = solve(parameters, targets, dtype)
    # y has a size of some ten, and a component a scale of e⁻² or more.
    rounding = 200 * np.finfo(dtype).eps * np.maximum(1, abs(targets))
    assert np.all(abs(logit_of_cdf(y, parameters) - targets) < rounding)
    assert evaluated[0] == ELEMENTS
    assert len(evaluated) <= most
    assert sum(evaluated) <= mean * ELEMENTS


def test_the_gradient_is_that_of_the_implicit_function() -> None:
    """∂y / ∂x = F(y) (1 − F(y)) / f(y), also where F is flat and the last step is limited."""
    for name in ("random", "flat"):
        parameters, targets, *_ = CASES[name]
        latents = tf.constant(np.stack([np.zeros(ELEMENTS), targets], axis=1))
        with tf.GradientTape() as tape:
            tape.watch(latents)
            y, log_det = coupling(parameters, "float64").forward_and_log_det(latents, 1)
        gradient = tape.gradient(y, latents)[:, 1]
        # The last step has the derivative at its start, the log-determinant that at its end.
        close = log_det < 10
        np.testing.assert_allclose(gradient[close], tf.exp(log_det[close]), rtol=1e-5)
        assert np.all(np.isfinite(gradient))
