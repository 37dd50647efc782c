"""The contract of every bijector, as checks that take a case."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

tfb, tfd = tfp.bijectors, tfp.distributions


@dataclass(frozen=True)
class Case:
    """A bijector and its inputs.

    Attributes:
        make: dtype → the bijector.
        inputs: shape of an event of x.
        outputs: shape of an event of y.
        latents: (rng, shape) → x in the domain of the bijector.
    """

    make: Callable[[str], Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    latents: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] = lambda rng, shape: (
        rng.normal(size=shape)
    )

    def draw(self, dtype: str, *batch: int) -> tf.Tensor:
        rng = np.random.default_rng(1)
        return tf.constant(self.latents(rng, (*batch, *self.inputs)), dtype)


def tolerance(dtype: str) -> float:
    """In float32, the roundings of up to 48 entries add up."""
    return 3e-5 if dtype == "float32" else 1e-9


def assert_close(actual: Any, expected: Any, dtype: str) -> None:
    """Relative to the largest entry."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance(dtype) * max(1, np.abs(expected).max())
    )


def check_round_trip(case: Case, dtype: str) -> None:
    """x → y → x, by tfgen's pair and by TFP's methods; `tf.identity` defeats TFP's cache."""
    bijector, x = case.make(dtype), case.draw(dtype, 3)
    y, log_det = bijector.forward_and_log_det(x, len(case.inputs))
    assert y.shape == (3, *case.outputs) and y.dtype == dtype and log_det.shape == (3,)
    back, inverse_log_det = bijector.inverse_and_log_det(y, len(case.outputs))
    assert_close(back, x, dtype)
    assert_close(inverse_log_det, -log_det, dtype)
    assert_close(case.make(dtype).inverse(tf.identity(bijector.forward(x))), x, dtype)
    assert_close(bijector.forward(tf.identity(bijector.inverse(tf.identity(y)))), y, dtype)


def check_log_det_is_the_jacobians(case: Case, dtype: str) -> None:
    bijector, x = case.make(dtype), case.draw(dtype, 2)
    y, log_det = bijector.forward_and_log_det(x, len(case.inputs))
    _, inverse_log_det = bijector.inverse_and_log_det(y, len(case.outputs))
    for function, at, expected in (
        (lambda v: bijector.forward_and_log_det(v, len(case.inputs))[0], x, log_det),
        (lambda v: bijector.inverse_and_log_det(v, len(case.outputs))[0], y, inverse_log_det),
    ):
        with tf.GradientTape() as tape:
            tape.watch(at)
            value = function(at)
        size = int(np.prod(case.inputs))
        jacobian = tape.batch_jacobian(value, at).numpy()
        _, actual = np.linalg.slogdet(jacobian.reshape(-1, size, size).astype(np.float64))
        assert_close(expected, actual, dtype)


def check_unknown_batch(case: Case, dtype: str) -> None:
    bijector, x = case.make(dtype), case.draw(dtype, 3)
    y, log_det = bijector.forward_and_log_det(x, len(case.inputs))
    forward = tf.function(
        lambda v: bijector.forward_and_log_det(v, len(case.inputs)),
        input_signature=[tf.TensorSpec([None, *case.inputs], dtype)],
        autograph=False,
    )
    inverse = tf.function(
        lambda v: bijector.inverse_and_log_det(v, len(case.outputs)),
        input_signature=[tf.TensorSpec([None, *case.outputs], dtype)],
        autograph=False,
    )
    for actual, expected in zip((*forward(x), *inverse(y)), (y, log_det, x, -log_det), strict=True):
        assert_close(actual, expected, dtype)
    assert forward(x[:0])[0].shape == (0, *case.outputs)


def check_event_ndims(case: Case, dtype: str) -> None:
    """The log-determinant sums over further axes of an event; too few axes are refused."""
    bijector, x = case.make(dtype), case.draw(dtype, 2, 3)
    least = bijector.forward_min_event_ndims
    added = bijector.inverse_min_event_ndims - least
    expected = bijector.forward_and_log_det(x, least)[1]
    for ndims in range(least, len(case.inputs) + 3):
        y, log_det = bijector.forward_and_log_det(x, ndims)
        assert log_det.shape == x.shape[: x.shape.rank - ndims]
        total = tf.reduce_sum(expected, axis=list(range(log_det.shape.rank, expected.shape.rank)))
        assert_close(log_det, total, dtype)
        assert_close(bijector.forward_log_det_jacobian(tf.identity(x), ndims), log_det, dtype)
        _, inverse_log_det = bijector.inverse_and_log_det(y, ndims + added)
        assert_close(inverse_log_det, -log_det, dtype)
    for method, ndims in (
        (bijector.forward_and_log_det, least - 1),
        (bijector.inverse_and_log_det, least + added - 1),
    ):
        with pytest.raises(ValueError, match="the least is"):
            method(x, ndims)


def check_composition(case: Case, dtype: str) -> None:
    """TFP's chain and transformed distribution agree with the pair."""
    bijector, x = case.make(dtype), case.draw(dtype, 4)
    ndims = len(case.inputs)
    y, log_det = bijector.forward_and_log_det(x, ndims)
    scale = tfb.Scale(tf.constant(2.0, dtype))
    chain = tfb.Chain([bijector, scale])
    assert_close(chain.forward(x / 2), y, dtype)
    volume = float(np.prod(case.inputs) * np.log(2))
    assert_close(chain.forward_log_det_jacobian(x / 2, ndims), log_det + volume, dtype)
    zeros = tf.zeros(case.inputs, dtype)
    base = tfd.Independent(tfd.Normal(zeros, tf.ones_like(zeros)), ndims)
    distribution = tfd.TransformedDistribution(base, bijector)
    assert distribution.event_shape == case.outputs
    assert_close(distribution.log_prob(tf.identity(y)), base.log_prob(x) - log_det, dtype)


CHECKS = [value for name, value in sorted(globals().items()) if name.startswith("check_")]
