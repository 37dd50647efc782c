"""The checks of notebook 3, the normalizing flow, whose tensors are float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._runner import Tensor, Toy
from . import exercise
from ._arrays import Generator, size
from ._common import compare_bits, log_probs
from ._compare import Answer, compare_function, first, is_close, shifted

_LOG_2PI = math.log(2 * math.pi)
_LOG_DET = "the log-determinant"


def _normal(z: np.ndarray) -> np.ndarray:
    """log N(z; 0, 1) of each entry, nats."""
    return -0.5 * (np.square(z) + _LOG_2PI)


# --- 3.a ------------------------------------------------------------------------------


@exercise(points=2)
def check_log_prob_of_map(answer: Answer, rng: Generator) -> None:
    """Compares with closed forms: a rising, a curved and a falling map."""

    def outcomes(x: np.ndarray, inverse: Callable[..., Any]) -> dict[str, Any]:
        z, slope = inverse(x), (inverse(x + 1e-5) - inverse(x - 1e-5)) / 2e-5
        prior, log_abs = _normal(z), np.log(np.abs(slope))
        log_slope = np.where(slope > 0, log_abs, np.nan)
        return {
            "log p(x) must be log N(z; 0, 1) + log |∂z/∂x| at z = f⁻¹(x)": prior + log_abs,
            "the log-determinant is missing: add log |∂z/∂x|": prior,
            "the log-determinant has the wrong sign: log |∂z/∂x| is added": prior - log_abs,
            "the absolute value is missing: a falling map has ∂z/∂x < 0": prior + log_slope,
            "the prior is evaluated at x; evaluate it at z = f⁻¹(x)": _normal(x) + log_abs,
            "½ ln 2π is missing in log N(z; 0, 1)": prior + _LOG_2PI / 2 + log_abs,
            "|∂z/∂x| is added to log p(z); add its logarithm": prior + np.abs(slope),
            "the derivative is that at the first point; each has its own": prior + log_abs[0],
        }

    draws = []
    maps = "(x - shift) / scale", "xp.sinh(x) / scale", "(shift - x) / scale"
    for map_, unit in zip(maps, (1, 1, 1e6), strict=True):  # a slope near 1e-7
        constants = {"shift": rng.uniform(0.5, 1.5), "scale": unit * rng.uniform(2, 4)}
        x = rng.uniform(-1.5, 1.5, size(rng, 5, 9))
        draws.append((Tensor(x), Toy(f"lambda x: {map_}", constants)))
    compare_function(answer, draws, outcomes)


# --- 3.b and 3.c ----------------------------------------------------------------------


def _check_coupling(answer: Answer, rng: Generator, outcomes: Any, sign: int) -> None:
    """Checks a coupling.

    Args:
        answer: the coupling.
        rng: source of the inputs.
        outcomes: computes the changed entries and their typical mistakes, by sentences, from the
            input, s and t.
        sign: 1 from latents to data, −1 back.

    Raises:
        Mistake: the coupling is wrong.
    """

    source, output = ("z", "x")[::sign]

    def tables(h: np.ndarray, mask: np.ndarray, network: Callable[..., Any]) -> list[Any]:
        def couple(mask: np.ndarray, seen: np.ndarray) -> dict[str, Any]:
            changed = outcomes(h, *network(seen))
            return {name: mask * h + (1 - mask) * part for name, part in changed.items()}

        swapped, unmasked = couple(1 - mask, (1 - mask) * h), couple(mask, h)
        couplings = couple(mask, mask * h) | {
            f"the mask is the wrong way round: where it is 1, {source} stays": first(swapped),
            f"the network sees all of {source}, so the Jacobian is not triangular": first(unmasked),
        }
        own, per_entry = "s" if sign == 1 else "−s", sign * network(mask * h)[0]
        right = (1 - mask) * per_entry
        total = right.sum(axis=1)
        log_dets = {
            f"the log-determinant must be the sum of {own} over the changed entries": total,
            f"the log-determinant has the wrong sign; here it is the sum of {own}": -total,
            "s is summed over all entries; leave out unchanged ones": per_entry.sum(axis=1),
            "the log-determinant is averaged over the entries; sum it": right.mean(axis=1),
            "the log-determinant is summed over the batch too": np.full(len(h), total.sum()),
            "the log-determinant is one number, summed over the batch": total.sum(),
        }
        return [couplings, log_dets]

    draws: list[Any] = []
    for dimensions in (size(rng, 4, 7) for _ in range(2)):
        # As many ones as zeros, or one less, in random order.
        mask = rng.permutation(np.arange(dimensions) % 2).astype(float)
        # s and t, [B, M] each, different in each entry and dependent on all inputs.
        weights, shifts = rng.normal(size=(2, dimensions, dimensions)), rng.uniform(0.2, 1.1, 2)
        constants = dict(zip("acbd", (*weights, *shifts), strict=True))
        constants["b"] -= 8 * (not draws)  # exp(s) near 1e-5
        network = Toy("lambda h: (xp.tanh(h @ a) + b, xp.tanh(h @ c) + d)", constants)
        inputs = rng.normal(size=(size(rng, 3, 5), dimensions))
        draws.append((Tensor(inputs), Tensor(mask), network))
    compare_function(answer, draws, tables, (source, "", ""), (output, _LOG_DET))


@exercise(points=3)
def check_coupling_forward(answer: Answer, rng: Generator) -> None:
    """Compares with z · exp(s) + t."""

    def outcomes(z: np.ndarray, s: np.ndarray, t: np.ndarray) -> dict[str, Any]:
        return {
            "x must be z where the mask is 1, else z · exp(s) + t": z * np.exp(s) + t,
            "the shift is added before the scaling": (z + t) * np.exp(s),
            "this is the inverse; x is z · exp(s) + t": (z - t) * np.exp(-s),
            "z is scaled by s; scale it by exp(s), never 0": z * s + t,
        }

    _check_coupling(answer, rng, outcomes, 1)


@exercise(points=3)
def check_coupling_inverse(answer: Answer, rng: Generator) -> None:
    """Compares with what undoes z · exp(s) + t."""

    def outcomes(x: np.ndarray, s: np.ndarray, t: np.ndarray) -> dict[str, Any]:
        back = "this is not the inverse of z · exp(s) + t: "
        return {
            "z must be x where the mask is 1, else (x − t) · exp(−s)": (x - t) * np.exp(-s),
            f"{back}it is the coupling itself, applied once more": x * np.exp(s) + t,
            f"{back}subtract t first, then divide by exp(s)": x * np.exp(-s) - t,
            f"{back}after t is subtracted, divide by exp(s), do not multiply": (x - t) * np.exp(s),
            f"{back}the shift is not undone; subtract t": x * np.exp(-s),
        }

    _check_coupling(answer, rng, outcomes, -1)


# --- 3.d ------------------------------------------------------------------------------


@exercise(points=2)
def check_dequantize(answer: Answer, rng: Generator) -> None:
    """The points must lie in the cells of their bytes, and the cells have the volume 256^(−M)."""

    def outcomes(images: np.ndarray, u: np.ndarray) -> list[dict[str, Any]]:
        volume, ones = u.shape[1] * math.log(256), np.ones(len(u))
        return [
            {
                "y must be (x + u) / 256": (images + u) / 256,
                "y is divided by 255; there are 256 values, so divide by 256": (images + u) / 255,
                "the noise is missing; y is (x + u) / 256, in the dtype of u": images / 256,
                "y has noise of its own; use the u that is passed": lambda y: (
                    y if is_close(np.floor(256 * y), images) else np.nan
                ),
                "the noise is added after the division; divide x + u by 256": images / 256 + u,
            },
            {
                "the log-determinant must be −M ln 256": -volume * ones,
                "the log-determinant is missing: division by 256 adds −ln 256 per pixel": 0 * ones,
                "the log-determinant has the wrong sign: it is −M ln 256": volume * ones,
                "the log-determinant is that of one pixel; it is −M ln 256": -math.log(256) * ones,
                "the log-determinant is in bits; it is −M ln 256 nats": -8 * u.shape[1] * ones,
            },
        ]

    draws = []
    for shape in ((size(rng, 2, 4), size(rng, 3, 9)) for _ in range(2)):
        images = rng.integers(0, 256, shape).astype(np.uint8)
        images[0, :2] = 0, 255
        draws.append((Tensor(images), Tensor(rng.random(shape))))
    compare_function(answer, draws, outcomes, values=("y", _LOG_DET), tolerance=1e-5)


# --- 3.e ------------------------------------------------------------------------------


@exercise(points=1)
def check_bits_per_dim(answer: Answer, rng: Generator) -> None:
    """Compares images of several sizes."""
    sizes = 1, size(rng, 2, 9), size(rng, 500, 900)
    compare_bits(answer, [(Tensor(log_probs(rng, count)), count) for count in sizes], "M")


# --- 3.f ------------------------------------------------------------------------------

# h ↦ A (exp(c h) − 1) / c + b and its log |det|, which differs from image to image.
_LAYER = "lambda h: ((xp.exp(c * h) - 1) / c @ matrix + shift, (c * h @ ones)[:, 0] + log_det)"


def _layer(rng: Generator, dimensions: int) -> Toy:
    scales, shift = rng.uniform(0.6, 0.9), rng.normal(size=dimensions) / 2
    matrix = scales * np.eye(dimensions) + rng.normal(size=(dimensions, dimensions)) / 10
    # With more curvature, a chain can reach numbers at which float32 has no exact gradient.
    constants = {"c": 0.1, "ones": np.ones((dimensions, 1)), "shift": shift, "matrix": matrix}
    return Toy(_LAYER, constants | {"log_det": np.linalg.slogdet(matrix)[1]})


def _chain(x: np.ndarray, layers: list[Callable[..., Any]]) -> tuple[np.ndarray, list[np.ndarray]]:
    log_dets = []
    for layer in layers:
        x, log_det = layer(x)
        log_dets.append(log_det)
    return x, log_dets


@exercise(points=3)
def check_log_prob_of_chain(answer: Answer, rng: Generator) -> None:
    """Compares with chains of random length, whose log-determinants differ between images."""

    def outcomes(x: np.ndarray, layers: list[Callable[..., Any]]) -> list[dict[str, Any]]:
        z, log_dets = _chain(x, layers)
        prior, total, dimensions = _normal(z).sum(axis=1), np.sum(log_dets, axis=0), x.shape[1]
        right, half, mean = prior + total, _LOG_2PI / 2, total / len(layers)
        return [
            {
                "z is wrong; apply the layers one after the other": z,
                "the layers are applied in the reverse order": _chain(x, layers[::-1])[0],
            },
            {
                "log p(x) must be log N(z; 0, I) plus the sum of the log-determinants": right,
                "the log-determinants have the wrong sign: they lead from x to z": prior - total,
                "only the last layer's log-determinant is added; add all": prior + log_dets[-1],
                "the log-determinants are missing": prior,
                "the prior is averaged over the dimensions; sum it": _normal(z).mean(1) + total,
                "½ ln 2π is missing for each dimension of z": right + dimensions * half,
                "½ is missing: each dimension of z has ½ ln 2π": right - dimensions * half,
                "½ ln 2π is counted once, not M times": right + (dimensions - 1) * half,
                "½ ln 2π is counted B times, not M": right + (dimensions - len(x)) * half,
                "the log-determinants are averaged over the layers; add them": prior + mean,
                "the log-determinants are averaged over the batch": prior + total.mean(),
                "M is not the number of dimensions of z in ½ M ln 2π": shifted(right, half),
            },
        ]

    draws = []
    for depth, dimensions in zip((3, 4), map(int, rng.permutation(range(2, 6))), strict=False):
        x = Tensor(rng.normal(size=(size(rng, 6, 9), dimensions)))
        draws.append((x, [_layer(rng, dimensions) for _ in range(depth)]))
    compare_function(answer, draws, outcomes, ("x", ""), ("z", "log p(x)"))
