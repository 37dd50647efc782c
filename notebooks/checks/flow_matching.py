"""The checks of notebook 5, flow matching, whose tensors are float64."""

from typing import Any

import numpy as np

from .._runner import Tensor, Toy
from . import exercise
from ._arrays import by_numpy, size
from ._compare import Answer, Mistake, compare, compare_gradients, numbers, parts

_Rng = np.random.Generator
_STAND_IN = {"straight_path": "lambda x0, x1, t: (x0 + 3.0 * x1, 2.0 * x1 - x0)"}
_AXIS = "t multiplies the entries; give it the shape [B, 1], so that it multiplies examples"


def _batch(rng: _Rng, rank: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise, data and times. All axes have one length, so that a wrong one is no error."""
    length = size(rng, 3, 5)
    x0, x1 = rng.normal(size=(2, *[length] * rank))
    return x0, x1, rng.uniform(0.1, 0.9, length)


def _velocity(rng: _Rng, dimensions: int) -> Toy:
    """A velocity of points `[B, D]` at times `[B]`; its Jacobian is not symmetric."""
    into, out = rng.normal(size=(2, dimensions, dimensions)) / 2
    inputs = {"into": into, "out": Tensor(out), "shift": rng.normal(size=dimensions)}
    return Toy("lambda x, t: xp.sin(x @ into + 2 * t[:, None]) @ out + 0.3 * x + shift", inputs)


# --- 5.a ------------------------------------------------------------------------------


def _path(x0: np.ndarray, x1: np.ndarray, t: np.ndarray) -> np.ndarray:
    t = t.reshape(-1, *[1] * (x1.ndim - 1))
    return (1 - t) * x0 + t * x1


@exercise(points=2)
def check_straight_path(answer: Answer, rng: _Rng) -> None:
    """Compares points and images, at a time for each example."""
    cases = []
    for rank in (2, 4):
        x0, x1, t = _batch(rng, rank)
        value, gradients = answer(Tensor(x0), Tensor(x1), Tensor(t))
        right, velocity = _path(x0, x1, t), x1 - x0
        mistakes = {
            "the ends are swapped: t = 0 is noise, t = 1 is data": (_path(x1, x0, t), -velocity),
            "the noise keeps its size; multiply it by 1 − t": (x0 + _path(0 * x0, x1, t), velocity),
            _AXIS: ((1 - t) * x0 + t * x1, velocity),
            "the velocity has the wrong sign; it leads to the data": (right, -velocity),
            "the velocity is dx_t/dt, not x1 − x_t, the way to go": (right, x1 - right),
            "the velocity is dx_t/dt, not x_t − x0, the way so far": (right, right - x0),
        }
        cases.append((parts(value, "x_t", "its velocity"), (right, velocity), mistakes))
    compare(cases, "x_t must be (1 − t) x0 + t x1, for images, too, and the velocity dx_t/dt")
    compare_gradients(gradients[0], _path, (x0, x1, t), ("x0", "x1", "t"), "x_t")


# --- 5.b ------------------------------------------------------------------------------


def _mixture(x: Any, t: Any, centres: Any, stddev: float, at: Any = None, **by: float) -> Any:
    """The marginal velocity, or with modes at `at` times c_k, and weights or slope times `by`."""
    t = t[:, None, None]
    variance = (1 - t) ** 2 + (stddev * t) ** 2
    seen = x[:, None] - (t if at is None else at) * centres
    logits = -np.sum(seen**2, axis=2, keepdims=True) / (2 * variance) * by.get("weights", 1)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    slope = (stddev**2 * t - (1 - t)) / variance * by.get("slope", 1)
    means = centres + slope * (x[:, None] - t * centres)
    return (weights * means).sum(axis=1) / weights.sum(axis=1)


@exercise(points=3)
def check_marginal_velocity(answer: Answer, rng: _Rng) -> None:
    """Compares with the closed form, near the modes and far from them."""
    cases = []
    for _ in range(2):
        x, _, t = _batch(rng)
        others = t, rng.normal(size=(size(rng, 3, 7), len(t))), rng.uniform(0.3, 0.6)
        tensors = *map(Tensor, others[:2]), others[2]
        value, gradients = answer(Tensor(x), *tensors)
        right = _mixture(x, *others)
        mistakes = {
            "the modes are at t c_k at time t, not at c_k": _mixture(x, *others, at=1),
            "all modes have the same weight; near ones count more": _mixture(x, *others, weights=0),
            "½ is missing in the exponent of the weights": _mixture(x, *others, weights=2),
            "the term a (x − t c_k) is missing": _mixture(x, *others, slope=0),
            "the slope a has the wrong sign": _mixture(x, *others, slope=-1),
            "stddev is taken for the variance": _mixture(x, *others[:2], others[2] ** 0.5),
            "this is E[x1 | x], not E[x1 − x0 | x]": x + (1 - t[:, None]) * right,
        }
        cases.append((value, right, mistakes))
    compare(cases, "the result must be Σ_k w_k (c_k + a (x − t c_k)), where the w_k add up to 1")
    compare_gradients(gradients[0][:1], lambda x: _mixture(x, *others), (x,), ("x",))
    value = answer(Tensor(400 * x), *tensors)[0]
    if not np.isfinite(numbers(value)).all():
        raise Mistake("far from all modes, each exponential rounds to 0; use tf.nn.softmax")
    compare([(value, _mixture(400 * x, *others), {})], "the result is wrong far from all modes")


# --- 5.c ------------------------------------------------------------------------------


@exercise(points=2, stand_ins=_STAND_IN)
def check_flow_matching_loss(answer: Answer, rng: _Rng, stood_in: bool = False) -> None:
    """Compares with a network, whose weights the gradient must reach."""
    cases = []
    for _ in range(2):
        x0, x1, t = _batch(rng)
        toy = _velocity(rng, len(t))
        value, gradients = answer(toy, Tensor(x0), Tensor(x1), Tensor(t))
        v, weights = by_numpy(toy), toy.inputs["out"].values
        x_t, target = (x0 + 3 * x1, 2 * x1 - x0) if stood_in else (_path(x0, x1, t), x1 - x0)
        squares = (v(x_t, t) - target) ** 2
        mistakes = {
            "the error is summed over the entries; take the mean": squares.sum(axis=1).mean(),
            "the error is summed; take the mean over batch and entries": squares.sum(),
            "the target has the wrong sign; it is x1 − x0": np.mean((v(x_t, t) + target) ** 2),
            "the target is x1 − x0, not the data": np.mean((v(x_t, t) - x1) ** 2),
            "the network gets the data; give it x_t": np.mean((v(x1, t) - target) ** 2),
            "the network gets the time 1 − t; give it t": np.mean((v(x_t, 1 - t) - target) ** 2),
        }
        cases.append((value, squares.mean(), mistakes))
    compare(cases, "the loss must be the mean of (velocity(x_t, t) − (x1 − x0))²")

    def loss(weights: np.ndarray) -> Any:
        network = by_numpy(Toy(toy.source, toy.inputs | {"out": weights}))
        return np.mean((network(x_t, t) - target) ** 2)

    compare_gradients(gradients[0][:1], loss, (weights,), ("the network",), "the loss")


# --- 5.d and 5.e ----------------------------------------------------------------------


@exercise(points=2)
def check_midpoint_step(answer: Answer, rng: _Rng) -> None:
    """Compares a step ahead and a step back."""
    cases = []
    for h in rng.uniform(0.3, 0.6, 2) * [1, -1]:
        x, _, t = _batch(rng)
        toy, half = _velocity(rng, len(t)), h / 2
        v = by_numpy(toy)
        value, gradients = answer(toy, Tensor(x), Tensor(t), float(h))
        first, end = v(x, t), v(x + h * v(x, t), t + h)
        middle = x + half * first
        mistakes = {
            "this is Euler's step; take the velocity in the middle": x + h * first,
            "this is Heun's step; take the velocity in the middle": x + half * (first + end),
            "the middle is h/2 · v(x, t) away, not h": x + h * v(x + h * first, t + half),
            "the middle is at the time t + h/2, not at t": x + h * v(middle, t),
            "the velocity is that at x, later; move x, too": x + h * v(x, t + half),
            "the step begins in the middle; begin at x": middle + h * v(middle, t + half),
        }
        cases.append((value, x + h * v(middle, t + half), mistakes))
    compare(cases, "the result must be x + h · v(x + h/2 · v(x, t), t + h/2)")
    by_x = gradients[0][1:2]
    compare_gradients(by_x, lambda x: x + h * v(x + half * v(x, t), t + half), (x,), ("x",))


@exercise(points=3)
def check_probe_divergence(answer: Answer, rng: _Rng) -> None:
    """Compares with Jacobians by differences; the probes are no signs."""
    cases = []
    for _ in range(2):
        x, probe, t = _batch(rng)
        toy = _velocity(rng, len(t))
        v, units = by_numpy(toy), 1e-5 * np.eye(len(t))
        jacobian = np.stack([(v(x + u, t) - v(x - u, t)) / 2e-5 for u in units], axis=2)
        product = np.einsum("bi,bij->bj", probe, jacobian)
        right, diagonal = np.sum(product * probe, axis=1), np.einsum("bii->bi", jacobian)
        mistakes = {
            "pass the probe as output_gradients, too": np.einsum("bij,bj->b", jacobian, probe),
            "multiply the gradient by the probe, too": product.sum(axis=1),
            "this is the divergence itself; use the probe": diagonal.sum(axis=1),
            "this is the sum of all derivatives; use the probe": jacobian.sum(axis=(1, 2)),
            "this is ε · v; v must be differentiated": np.sum(probe * v(x, t), axis=1),
            "sum over the entries; do not average": right / len(t),
        }
        cases.append((answer(toy, Tensor(x), Tensor(t), Tensor(probe))[0], right, mistakes))
    compare(cases, "the result must be εᵀ (∂v/∂x) ε for each example")


# --- 5.f ------------------------------------------------------------------------------


def _terms(x: np.ndarray, v: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, ...]:
    noise = x - t * v
    return noise, x + (1 - t) * v, -noise / (1 - t)


@exercise(points=2)
def check_diffusion_terms(answer: Answer, rng: _Rng) -> None:
    """Compares with the solution of (1 − t) x0 + t x1 = x and x1 − x0 = v."""
    cases = []
    for _ in range(2):
        x, v, t = _batch(rng)
        value, gradients = answer(Tensor(x), Tensor(v), Tensor(t))
        column = t[:, None]
        noise, data, score = right = _terms(x, v, column)
        back = x - (1 - column) * v
        mistakes = {
            "noise and data are swapped; return E[x0 | x] first": (data, noise, score),
            "going back to the noise takes the time t": (back, data, -back / (1 - column)),
            "going on to the data takes the time 1 − t, not t": (noise, 2 * x - noise, score),
            "the score has the wrong sign; it points away from the noise": (noise, data, -score),
            "divide by 1 − t, not by (1 − t)²": (noise, data, score / (1 - column)),
            "the score is not divided by 1 − t": (noise, data, -noise),
            _AXIS: _terms(x, v, t),
        }
        cases.append((parts(value, "E[x0 | x]", "E[x1 | x]", "the score"), right, mistakes))
    compare(cases, "the means must solve (1 − t) x̂0 + t x̂1 = x, x̂1 − x̂0 = v; the score follows")
    compare_gradients(gradients[2][:2], lambda x, v: _terms(x, v, column)[2], (x, v), ("x", "v"))
