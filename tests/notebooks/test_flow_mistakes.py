"""Typical mistakes in the exercises of the flow's notebook, each named by its check."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from notebooks.checks import Exercise, find_mistake, load_exercises

pytestmark = pytest.mark.newest

LOG_2PI = math.log(2 * math.pi)


def _normal(z: tf.Tensor) -> tf.Tensor:
    return -0.5 * (tf.square(z) + LOG_2PI)


def _exercise(name: str) -> Exercise:
    return load_exercises("flow")[name]


def _slope(x: tf.Tensor, inverse: Callable[..., Any]) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = inverse(x)
    return z, tape.gradient(z, x)


def _map(combine: Callable[..., Any]) -> Callable[..., Any]:
    """An answer to 3.a, from what it does with z, ∂z/∂x and x."""

    def log_prob_of_map(x: tf.Tensor, inverse: Callable[..., Any]) -> tf.Tensor:
        return combine(*_slope(x, inverse), x)

    return log_prob_of_map


def _dequantize(points: Callable[..., Any], log_det: Callable[..., float]) -> Callable[..., Any]:
    """An answer to 3.b, from y by x and u, and the log-determinant by M."""

    def dequantize(images: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        y = points(tf.cast(images, u.dtype), u)
        return y, tf.fill(tf.shape(images)[:1], tf.constant(log_det(images.shape[1]), u.dtype))

    return dequantize


def _right_points(x: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    return (x + u) / 256


def _right_volume(size: int) -> float:
    return -size * math.log(256)


def _chain(combine: Callable[..., Any], backwards: bool = False) -> Callable[..., Any]:
    """An answer to 3.d, from what it does with z, the list of log-determinants and x."""

    def log_prob_of_chain(x: tf.Tensor, layers: list[Any]) -> tuple[tf.Tensor, tf.Tensor]:
        z, log_dets = x, []
        for layer in layers[::-1] if backwards else layers:
            z, log_det = layer(z)
            log_dets.append(log_det)
        return z, combine(z, log_dets, x)

    return log_prob_of_chain


def _sum_normal(z: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(_normal(z), axis=1)


def _coupling(change: Callable[..., Any], log_det: Callable[..., Any], see: Any = None) -> Any:
    """An answer to 3.e or 3.f, from the changed entries and the log-determinant."""

    def coupling(x: tf.Tensor, mask: tf.Tensor, network: Any) -> tuple[tf.Tensor, tf.Tensor]:
        s, t = network(mask * x if see is None else see(x, mask))
        return mask * x + (1 - mask) * change(x, s, t), log_det(s, mask)

    return coupling


def _swapped(change: Callable[..., Any], sign: int) -> Callable[..., Any]:
    """A coupling with the mask the wrong way round."""

    def coupling(x: tf.Tensor, mask: tf.Tensor, network: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return _coupling(change, lambda s, m: sign * _changed(s, m))(x, 1 - mask, network)

    return coupling


def _changed(s: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum((1 - mask) * s, axis=1)


def _minus_changed(s: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return -_changed(s, mask)


def _forward(x: tf.Tensor, s: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    return x * tf.exp(s) + t


def _inverse(x: tf.Tensor, s: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    return (x - t) * tf.exp(-s)


RIGHT = {
    "log_prob_of_map": _map(lambda z, slope, x: _normal(z) + tf.math.log(tf.abs(slope))),
    "dequantize": _dequantize(_right_points, _right_volume),
    "bits_per_dim": lambda log_prob, size: -log_prob / (size * math.log(2)),
    "log_prob_of_chain": _chain(lambda z, dets, x: _sum_normal(z) + sum(dets)),
    "coupling_forward": _coupling(_forward, _changed),
    "coupling_inverse": _coupling(_inverse, _minus_changed),
}

MISTAKES = {
    "log_prob_of_map": {
        "log-determinant is missing": _map(lambda z, slope, x: _normal(z)),
        "wrong sign": _map(lambda z, slope, x: _normal(z) - tf.math.log(tf.abs(slope))),
        "absolute value is missing": _map(lambda z, slope, x: _normal(z) + tf.math.log(slope)),
        "evaluated at x": _map(lambda z, slope, x: _normal(x) + tf.math.log(tf.abs(slope))),
        "add its logarithm": _map(lambda z, slope, x: _normal(z) + tf.abs(slope)),
        "½ ln 2π is missing": _map(
            lambda z, slope, x: -0.5 * tf.square(z) + tf.math.log(tf.abs(slope))
        ),
        "wrong for x = 2 z": _map(lambda z, slope, x: x),
    },
    "dequantize": {
        "noise is missing": _dequantize(lambda x, u: x / 256, _right_volume),
        "divided by 255": _dequantize(lambda x, u: (x + u) / 255, _right_volume),
        "added after the division": _dequantize(lambda x, u: x / 256 + u, _right_volume),
        "division by 256 adds": _dequantize(_right_points, lambda size: 0.0),
        "wrong sign": _dequantize(_right_points, lambda size: -_right_volume(size)),
        "that of one pixel": _dequantize(_right_points, lambda size: _right_volume(1)),
        "in bits": _dequantize(_right_points, lambda size: -8.0 * size),
    },
    "bits_per_dim": {
        "ln 2 is missing": lambda log_prob, size: -log_prob / size,
        "M is missing": lambda log_prob, size: -log_prob / math.log(2),
        "sign is wrong": lambda log_prob, size: log_prob / (size * math.log(2)),
        "multiplied by ln 2": lambda log_prob, size: -log_prob / size * math.log(2),
    },
    "log_prob_of_chain": {
        "reverse order": _chain(lambda z, dets, x: _sum_normal(z) + sum(dets), backwards=True),
        "wrong sign": _chain(lambda z, dets, x: _sum_normal(z) - sum(dets)),
        "only the last": _chain(lambda z, dets, x: _sum_normal(z) + dets[-1]),
        "log-determinants are missing": _chain(lambda z, dets, x: _sum_normal(z)),
        "evaluated at x": _chain(lambda z, dets, x: _sum_normal(x) + sum(dets)),
        "averaged over the dim": _chain(
            lambda z, dets, x: tf.reduce_mean(_normal(z), 1) + sum(dets)
        ),
        "counted once": _chain(
            lambda z, dets, x: -0.5 * (tf.reduce_sum(z**2, axis=1) + LOG_2PI) + sum(dets)
        ),
    },
    "coupling_forward": {
        "mask is the wrong way round": _swapped(_forward, 1),
        "not triangular": _coupling(_forward, _changed, see=lambda x, mask: x),
        "added before the scaling": _coupling(lambda x, s, t: (x + t) * tf.exp(s), _changed),
        "this is the inverse": _coupling(_inverse, _minus_changed),
        "scaled by s": _coupling(lambda x, s, t: x * s + t, _changed),
        "wrong sign": _coupling(_forward, _minus_changed),
        "over all entries": _coupling(_forward, lambda s, mask: tf.reduce_sum(s, axis=1)),
        "averaged": _coupling(_forward, lambda s, mask: tf.reduce_mean((1 - mask) * s, axis=1)),
        "over the batch": _coupling(
            _forward, lambda s, mask: tf.fill([len(s)], tf.reduce_sum((1 - mask) * s))
        ),
    },
    "coupling_inverse": {
        "mask is the wrong way round": _swapped(_inverse, -1),
        "the coupling itself": _coupling(_forward, _minus_changed),
        "subtract t first": _coupling(lambda x, s, t: x * tf.exp(-s) - t, _minus_changed),
        "do not multiply": _coupling(lambda x, s, t: (x - t) * tf.exp(s), _minus_changed),
        "shift is not undone": _coupling(lambda x, s, t: x * tf.exp(-s), _minus_changed),
        "saw mask · z on the way": _coupling(_inverse, _minus_changed, see=lambda x, mask: x),
        "wrong sign": _coupling(_inverse, _changed),
    },
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_is_right(name: str) -> None:
    assert find_mistake(_exercise(name), RIGHT[name]) is None


@pytest.mark.parametrize(("name", "words"), [(n, w) for n in MISTAKES for w in MISTAKES[n]])
def test_a_mistake_is_named(name: str, words: str) -> None:
    message = find_mistake(_exercise(name), MISTAKES[name][words])
    assert words in str(message)


@pytest.mark.parametrize("name", RIGHT)
def test_an_answer_of_none_is_a_mistake(name: str) -> None:
    assert find_mistake(_exercise(name), lambda *arguments: None) is not None
