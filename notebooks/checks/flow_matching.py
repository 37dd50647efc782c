"""The checks of notebook 5, flow matching, whose tensors are float64."""

from typing import Any

import numpy as np

from .._runner import Tensor, Toy
from . import exercise
from ._arrays import Generator, by_numpy, size
from ._compare import Answer, compare, compare_function, compare_gradients, first

_STAND_IN = {"straight_path": "lambda x0, x1, t: (x0 + 3.0 * x1, 2.0 * x1 - x0)"}
_AXIS = "t multiplies the entries; give it the shape [B, 1], so that it multiplies examples"


def _batch(rng: Generator, rank: int = 2) -> list[Tensor]:
    """Noise, data and times. All axes have one length, so that a wrong one is no error."""
    length = size(rng, 3, 5)
    # At the last time, 1e-5 more in a denominator is seen.
    times = np.append(rng.uniform(0.1, 0.9, length - 1), 0.995)
    return [*map(Tensor, rng.normal(size=(2, *[length] * rank))), Tensor(times)]


def _velocity_and_batch(rng: Generator) -> list[Any]:
    """A velocity of points `[B, D]` at times `[B]`, of which the Jacobian is not symmetric, and a
    batch."""
    source = "lambda x, t: xp.sin(x @ into + 2 * t[:, None]) @ out + 0.3 * x + shift"
    batch = _batch(rng)
    length = len(batch[0].values)
    into, out = rng.normal(size=(2, length, length)) / 2
    return [Toy(source, {"into": into, "out": out, "shift": rng.normal(size=length)}), *batch]


# --- 5.a ------------------------------------------------------------------------------


def _path(x0: np.ndarray, x1: np.ndarray, t: np.ndarray) -> np.ndarray:
    t = t.reshape(-1, *[1] * (x1.ndim - 1))
    return (1 - t) * x0 + t * x1


@exercise(points=2)
def check_straight_path(answer: Answer, rng: Generator) -> None:
    """Compares points and images, at a time for each example."""

    def outcomes(x0: np.ndarray, x1: np.ndarray, t: np.ndarray) -> list[dict[str, Any]]:
        return [
            {
                "x_t must be (1 − t) x0 + t x1, for images, too": _path(x0, x1, t),
                "the ends are swapped, or t and 1 − t: t = 0 is noise": _path(x1, x0, t),
                "the noise keeps its size; multiply it by 1 − t": x0 + _path(0 * x0, x1, t),
                _AXIS: (1 - t) * x0 + t * x1,
            },
            {
                "the velocity must be dx_t/dt": x1 - x0,
                "the velocity has the wrong sign; it leads to the data": x0 - x1,
            },
        ]

    draws = [_batch(rng, rank) for rank in (2, 4)]
    compare_function(answer, draws, outcomes, ("x0", "x1", "t"), ("x_t", "its velocity"))


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
def check_marginal_velocity(answer: Answer, rng: Generator) -> None:
    """Compares with the closed form, near the modes and far from them."""

    def outcomes(x: Any, t: Any, centres: Any, stddev: float) -> dict[str, Any]:
        return {
            "it must be Σ w_k (c_k + a (x − t c_k)), Σ w_k = 1": _mixture(x, t, centres, stddev),
            "the modes are at t c_k at time t, not at c_k": _mixture(x, t, centres, stddev, at=1),
            "½ is missing in the exponent": _mixture(x, t, centres, stddev, weights=2),
            "the term a (x − t c_k) is missing": _mixture(x, t, centres, stddev, slope=0),
            "stddev is taken for the variance": _mixture(x, t, centres, stddev**0.5),
            "t and 1 − t are swapped": _mixture(x, 1 - t, centres, stddev),
        }

    draws: list[list[Any]] = []
    for stddev in (rng.uniform(0.03, 0.06), rng.uniform(0.3, 0.6)):
        x, _, t = _batch(rng)
        centres = rng.normal(size=(size(rng, 3, 7), len(t.values)))
        draws.append([x, t, Tensor(centres), stddev])
    compare_function(answer, draws, outcomes, ("x", "", "", ""))
    draws[-1][0] = Tensor(400 * x.values)
    far = "far from all modes, each exponential rounds to 0; use tf.nn.softmax"
    compare([(answer(*draws[-1])[0], first(outcomes(*map(by_numpy, draws[-1]))), {})], far)


# --- 5.c ------------------------------------------------------------------------------


@exercise(points=2, stand_ins=_STAND_IN)
def check_flow_matching_loss(answer: Answer, rng: Generator, stood_in: bool = False) -> None:
    """Compares with a network, whose weights the gradient must reach."""

    def outcomes(v: Any, x0: Any, x1: Any, t: Any) -> dict[str, Any]:
        x_t, target = (x0 + 3 * x1, 2 * x1 - x0) if stood_in else (_path(x0, x1, t), x1 - x0)
        squares = (v(x_t, t) - target) ** 2
        return {
            "the loss must be the mean of (velocity(x_t, t) − (x1 − x0))²": squares.mean(),
            "the error is summed over the entries; take the mean": squares.sum(axis=1).mean(),
            "the error is summed; take the mean over batch and entries": squares.sum(),
            "the network gets the data; give it x_t": np.mean((v(x1, t) - target) ** 2),
            "the network gets the time 1 − t; give it t": np.mean((v(x_t, 1 - t) - target) ** 2),
            "t and 1 − t are swapped in x_t": np.mean((v(_path(x1, x0, t), t) - target) ** 2),
        }

    draws = [_velocity_and_batch(rng) for _ in range(2)]
    compare_function(answer, draws, outcomes)
    toy, *batch = draws[-1]
    inputs, weights = [by_numpy(item) for item in batch], toy.inputs["out"]

    def loss(weights: np.ndarray) -> Any:
        return first(outcomes(by_numpy(Toy(toy.source, toy.inputs | {"out": weights})), *inputs))

    trained = Toy(toy.source, toy.inputs | {"out": Tensor(weights)})
    gradients = answer(trained, *batch)[1][0][:1]
    compare_gradients(gradients, loss, (weights,), ("the network",), "the loss")


# --- 5.d and 5.e ----------------------------------------------------------------------


@exercise(points=2)
def check_midpoint_step(answer: Answer, rng: Generator) -> None:
    """Compares a step ahead and a step back."""

    def outcomes(v: Any, x: Any, t: Any, h: float) -> dict[str, Any]:
        half, start = h / 2, v(x, t)
        middle = x + half * start
        return {
            "it must be x + h · v(x + h/2 · v(x, t), t + h/2)": x + h * v(middle, t + half),
            "this is Euler's step; take the velocity in the middle": x + h * start,
            "the middle is h/2 · v(x, t) away, not h": x + h * v(x + h * start, t + half),
            "the middle is at the time t + h/2, not at t": x + h * v(middle, t),
            "the velocity is that at x, later; move x, too": x + h * v(x, t + half),
        }

    draws = []
    for h in rng.uniform(0.3, 0.6, 2) * [1, -1]:
        velocity, x, _, t = _velocity_and_batch(rng)
        draws.append((velocity, x, t, float(h)))
    compare_function(answer, draws, outcomes, ("", "x", "", ""))


@exercise(points=3)
def check_probe_divergence(answer: Answer, rng: Generator) -> None:
    """Compares with Jacobians by differences; the probes are no signs."""

    def outcomes(v: Any, x: Any, t: Any, probe: Any) -> dict[str, Any]:
        units = 1e-5 * np.eye(len(t))
        jacobian = np.stack([(v(x + u, t) - v(x - u, t)) / 2e-5 for u in units], axis=2)
        product = np.einsum("bi,bij->bj", probe, jacobian)
        right = np.sum(product * probe, axis=1)
        return {
            "the result must be εᵀ (∂v/∂x) ε for each example": right,
            "pass the probe as output_gradients, too": np.einsum("bij,bj->b", jacobian, probe),
            "multiply the gradient by the probe, too": product.sum(axis=1),
            "this is the sum of all derivatives; use the probe": jacobian.sum(axis=(1, 2)),
            "this is ε · v; v must be differentiated": np.sum(probe * v(x, t), axis=1),
            "sum over the entries; do not average": right / len(t),
        }

    batches = (_velocity_and_batch(rng) for _ in range(2))
    draws = [(velocity, x, t, probe) for velocity, x, probe, t in batches]
    compare_function(answer, draws, outcomes)


# --- 5.f ------------------------------------------------------------------------------


@exercise(points=2)
def check_diffusion_terms(answer: Answer, rng: Generator) -> None:
    """Compares with the solution of (1 − t) x0 + t x1 = x and x1 − x0 = v."""

    def outcomes(x: np.ndarray, v: np.ndarray, t: np.ndarray) -> list[dict[str, Any]]:
        s = t[:, None]
        noise, data, score = x - s * v, x + (1 - s) * v, -(x - s * v) / (1 - s)
        return [
            {
                "E[x0 | x] must solve (1 − t) x̂0 + t x̂1 = x, x̂1 − x̂0 = v": noise,
                "noise and data are swapped; return E[x0 | x] first": data,
                "going back to the noise takes the time t, not 1 − t": x - (1 - s) * v,
                _AXIS: x - t * v,
            },
            {
                "E[x1 | x] must solve (1 − t) x̂0 + t x̂1 = x, x̂1 − x̂0 = v": data,
                "going on to the data takes the time 1 − t, not t": x + s * v,
            },
            {
                "the score must be −E[x0 | x] / (1 − t)": score,
                "the score has the wrong sign; it points away from the noise": -score,
                "divide by 1 − t, not by (1 − t)²": score / (1 - s),
                "the score is not divided by 1 − t": -noise,
            },
        ]

    values = "E[x0 | x]", "E[x1 | x]", "the score"
    compare_function(answer, [_batch(rng) for _ in range(2)], outcomes, ("x", "v", ""), values)
