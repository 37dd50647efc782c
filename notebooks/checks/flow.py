"""The checks of notebook 3, the normalizing flow, whose tensors are float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._runner import Tensor, Toy
from . import (
    Answer,
    Case,
    by_numpy,
    compare,
    compare_gradients,
    exercise,
    numbers,
    parts,
    size,
)

_Rng = np.random.Generator
_LOG_2PI = math.log(2 * math.pi)
_LOG_DET = "the log-determinant"


def _normal(z: np.ndarray) -> np.ndarray:
    """log N(z; 0, 1) of each entry, nats."""
    return -0.5 * (np.square(z) + _LOG_2PI)


# --- 3.a ------------------------------------------------------------------------------


@exercise(points=2)
def check_log_prob_of_map(answer: Answer, rng: _Rng) -> None:
    """Compares with closed forms: a rising, a curved and a falling map."""
    cases: list[Case] = []
    for source, derivative in (
        ("lambda x: (x - shift) / scale", lambda x, scale: np.full(len(x), 1 / scale)),
        ("lambda x: xp.sinh(x) / scale", lambda x, scale: np.cosh(x) / scale),
        ("lambda x: (shift - x) / scale", lambda x, scale: np.full(len(x), -1 / scale)),
    ):
        x, scale = rng.uniform(-1.5, 1.5, size(rng, 5, 9)), rng.uniform(2, 4)
        inverse = Toy(source, {"shift": rng.uniform(0.5, 1.5), "scale": scale})
        z, slope = by_numpy(inverse)(x), derivative(x, scale)
        prior, log_abs = _normal(z), np.log(np.abs(slope))
        log_slope = np.where(slope > 0, log_abs, np.nan)
        mistakes = {
            "the log-determinant is missing: add log |∂z/∂x|": prior,
            "the log-determinant has the wrong sign: log |∂z/∂x| is added": prior - log_abs,
            "the absolute value is missing: a falling map has ∂z/∂x < 0": prior + log_slope,
            "the prior is evaluated at x; evaluate it at z = f⁻¹(x)": _normal(x) + log_abs,
            "½ ln 2π is missing in log N(z; 0, 1)": prior + _LOG_2PI / 2 + log_abs,
            "|∂z/∂x| is added to log p(z); add its logarithm": prior + np.abs(slope),
            "the density is returned; return its logarithm": np.exp(prior + log_abs),
            "the derivative is that at the first point; each has its own": prior + log_abs[0],
        }
        cases.append((answer(Tensor(x), inverse)[0], prior + log_abs, mistakes))
    compare(cases, "log p(x) must be log N(z; 0, 1) + log |∂z/∂x| at z = f⁻¹(x), for each x")


# --- 3.b and 3.c ----------------------------------------------------------------------


def _network(rng: _Rng, dimensions: int) -> Toy:
    """s and t, `[B, M]` each, different in each entry and dependent on all inputs."""
    weights, shifts = rng.normal(size=(2, dimensions, dimensions)), rng.uniform(0.2, 1.1, (2, 1))
    return Toy(
        "lambda h: (xp.tanh(h @ a) + b, xp.tanh(h @ c) + d)",
        dict(zip("abcd", (weights[0], shifts[0], weights[1], shifts[1]), strict=True)),
    )


def _mask(rng: _Rng, dimensions: int) -> np.ndarray:
    """As many ones as zeros, or one less, in random order."""
    return rng.permutation(np.arange(dimensions) % 2).astype(float)


def _log_det_mistakes(s: np.ndarray, mask: np.ndarray, sign: int) -> dict[str, Any]:
    """What mistakes in a coupling's log-determinant give; `sign` is 1 from latents to data."""
    right, per_entry = sign * (1 - mask) * s, sign * s
    total, own = right.sum(axis=1), "s" if sign == 1 else "−s"
    return {
        f"the log-determinant has the wrong sign; here it is the sum of {own}": -total,
        "the log-determinant sums s over all entries; leave out unchanged ones": per_entry.sum(1),
        "the mask is the wrong way round in the log-determinant": (mask * per_entry).sum(axis=1),
        "the log-determinant is averaged over the entries; sum it": right.mean(axis=1),
        "exp(s) is summed; sum s": ((1 - mask) * np.exp(per_entry)).sum(axis=1),
        "the determinant is returned; return its logarithm": np.exp(total),
        "the log-determinant is summed over the batch too": np.full(len(s), total.sum()),
        "the log-determinant is one number, summed over the batch": total.sum(),
        "the log-determinant is missing": np.zeros(len(s)),
    }


def _check_coupling(
    answer: Answer,
    rng: _Rng,
    outputs: Callable[[np.ndarray, np.ndarray, Callable[..., Any]], dict[str, Any]],
    sign: int,
) -> None:
    """Checks a coupling.

    Args:
        answer: the coupling.
        rng: source of the inputs.
        outputs: what the coupling and its mistakes return, by their sentences; "" is right.
        sign: 1 from latents to data, −1 back.

    Raises:
        Mistake: the coupling is wrong.
    """
    output, source = ("x", "z") if sign == 1 else ("z", "x")
    values, log_dets = [], []
    for _ in range(2):
        dimensions = size(rng, 4, 7)
        mask, network = _mask(rng, dimensions), _network(rng, dimensions)
        inputs, function = rng.normal(size=(size(rng, 3, 5), dimensions)), by_numpy(network)
        value, gradients = answer(Tensor(inputs), Tensor(mask), network)
        own, own_log_det = parts(value, output, _LOG_DET)
        mistakes = outputs(inputs, mask, function)
        values.append((own, mistakes.pop(""), mistakes))
        s = function(mask * inputs)[0]
        right = sign * ((1 - mask) * s).sum(axis=1)
        log_dets.append((own_log_det, right, _log_det_mistakes(s, mask, sign)))
    formula = "z · exp(s) + t" if sign == 1 else "(x − t) · exp(−s)"
    compare(values, f"{output} must be {source} where the mask is 1, else {formula}")
    name = "∂x/∂z" if sign == 1 else "∂z/∂x"
    compare(log_dets, f"the log-determinant of {name} must be {sign:+} · Σ s over changed entries")

    def log_det(h: np.ndarray) -> Any:
        return sign * ((1 - mask) * function(mask * h)[0]).sum(axis=1)

    def changed(h: np.ndarray) -> Any:
        return outputs(h, mask, function)[""]

    compare_gradients(gradients[0][:1], changed, (inputs,), (source,), output)
    compare_gradients(gradients[1][:1], log_det, (inputs,), (source,), _LOG_DET)


@exercise(points=3)
def check_coupling_forward(answer: Answer, rng: _Rng) -> None:
    """Compares with z · exp(s) + t."""

    def outputs(z: np.ndarray, mask: np.ndarray, network: Callable[..., Any]) -> dict[str, Any]:
        swapped, (s, t) = 1 - mask, network(mask * z)

        def generate(fixed: np.ndarray, seen: np.ndarray) -> Any:
            s, t = network(seen)
            return fixed * z + (1 - fixed) * (z * np.exp(s) + t)

        same = mask * z
        return {
            "": generate(mask, same),
            "the mask is the wrong way round: where it is 1, z stays": generate(
                swapped, swapped * z
            ),
            "the network sees all of z, so the Jacobian is not triangular": generate(mask, z),
            "the network sees the changed entries; give it mask · z": generate(mask, swapped * z),
            "the shift is added before the scaling": same + swapped * (z + t) * np.exp(s),
            "this is the inverse; x is z · exp(s) + t": same + swapped * (z - t) * np.exp(-s),
            "z is scaled by s; scale it by exp(s), never 0": same + swapped * (z * s + t),
            "all entries are changed; where the mask is 1, z stays": generate(0 * mask, same),
            "the entries that stay are missing; add mask · z": generate(mask, same) - same,
        }

    _check_coupling(answer, rng, outputs, 1)


@exercise(points=3)
def check_coupling_inverse(answer: Answer, rng: _Rng) -> None:
    """Compares with what undoes z · exp(s) + t."""

    def outputs(x: np.ndarray, mask: np.ndarray, network: Callable[..., Any]) -> dict[str, Any]:
        swapped, (s, t) = 1 - mask, network(mask * x)
        (wrong_s, wrong_t), (seen_s, seen_t) = network(swapped * x), network(x)
        back = "this is not the inverse of z · exp(s) + t: "
        changed = {
            "": (x - t) * np.exp(-s),
            f"{back}it is the coupling itself, applied once more": x * np.exp(s) + t,
            f"{back}subtract t first, then divide by exp(s)": x * np.exp(-s) - t,
            f"{back}after t is subtracted, divide by exp(s), do not multiply": (x - t) * np.exp(s),
            f"{back}subtract t, do not add it": (x + t) * np.exp(-s),
            f"{back}the shift is not undone; subtract t": x * np.exp(-s),
            f"{back}the scaling is not undone; divide by exp(s)": x - t,
            "the network sees all of x, but it saw mask · z": (x - seen_t) * np.exp(-seen_s),
        }
        return {sentence: mask * x + swapped * part for sentence, part in changed.items()} | {
            "the mask is the wrong way round: where it is 1, x stays": (
                swapped * x + mask * (x - wrong_t) * np.exp(-wrong_s)
            )
        }

    _check_coupling(answer, rng, outputs, -1)


# --- 3.d ------------------------------------------------------------------------------


@exercise(points=2)
def check_dequantize(answer: Answer, rng: _Rng) -> None:
    """The points must lie in the cells of their bytes, and the cells have the volume 256^(−M)."""
    points, log_dets = [], []
    for _ in range(2):
        shape = size(rng, 2, 4), size(rng, 3, 9)
        images, u = rng.integers(0, 256, shape).astype(np.uint8), rng.random(shape)
        images[0, :2] = 0, 255
        y, log_det = parts(answer(Tensor(images), Tensor(u))[0], "y", _LOG_DET)
        scales = {
            "y is divided by 255; there are 256 values, so divide by 256": (images + u) / 255,
            "the noise is missing; y is (x + u) / 256, in the dtype of u": images / 256,
            "the noise is added after the division; divide x + u by 256": images / 256 + u,
            "y is not divided by 256; it must be in [0, 1)": images + u,
        }
        points.append((y, (images + u) / 256, scales))
        volume, ones = shape[1] * math.log(256), np.ones(len(u))
        mistakes = {
            "the log-determinant is missing: division by 256 adds −ln 256 per pixel": 0 * ones,
            "the log-determinant has the wrong sign: it is −M ln 256": volume * ones,
            "the log-determinant is that of one pixel; it is −M ln 256": -math.log(256) * ones,
            "the log-determinant is in bits; it is −M ln 256 nats": -8 * shape[1] * ones,
            "it is that of a division by 255": -shape[1] * math.log(255) * ones,
            "the log-determinant is one number; return one for each image": -volume,
        }
        log_dets.append((log_det, -volume * ones, mistakes))
    compare(points, "y must be (x + u) / 256", 1e-5)
    compare(log_dets, "the log-determinant must be −M ln 256")


# --- 3.e ------------------------------------------------------------------------------


@exercise(points=1)
def check_bits_per_dim(answer: Answer, rng: _Rng) -> None:
    """Compares images of several sizes."""
    cases: list[Case] = []
    for dimensions in (1, size(rng, 2, 9), size(rng, 500, 900)):
        log_prob = -dimensions * rng.uniform(0.5, 5, size(rng, 2, 5))
        nats = -log_prob / dimensions
        bits = nats / math.log(2)
        mistakes = {
            "ln 2 is missing: these are nats per dimension; divide by ln 2": nats,
            "it is multiplied by ln 2; a nat is 1 / ln 2 bits": nats * math.log(2),
            "M is missing: these are the bits of an image; divide by M": bits * dimensions,
            "the sign is wrong: a probability below 1 takes a positive number of bits": -bits,
            "the logarithm has base 10; a bit is ln 2 nats": nats / math.log10(2),
            "images are averaged; return one number for each": bits.mean(),
        }
        value = answer(Tensor(log_prob), dimensions)[0]
        cases.append((value, bits, mistakes))
    compare(cases, "the result must be −log p / (M ln 2)")


# --- 3.f ------------------------------------------------------------------------------

# h ↦ A (exp(c h) − 1) / c + b and its log |det|, which differs from image to image.
_LAYER = "lambda h: ((xp.exp(c * h) - 1) / c @ matrix + shift, (c * h @ ones)[:, 0] + log_det)"


def _layer(rng: _Rng, dimensions: int) -> Toy:
    matrix = np.eye(dimensions) * rng.uniform(0.6, 0.9) + rng.normal(
        scale=0.1, size=(dimensions, dimensions)
    )
    constants = {
        "c": 0.3,
        "ones": np.ones((dimensions, 1)),
        "shift": rng.normal(size=dimensions) / 2,
        "matrix": matrix,
    }
    return Toy(_LAYER, constants | {"log_det": np.linalg.slogdet(matrix)[1]})


def _chain(x: np.ndarray, layers: list[Toy]) -> tuple[np.ndarray, list[np.ndarray]]:
    log_dets = []
    for layer in layers:
        x, log_det = by_numpy(layer)(x)
        log_dets.append(log_det)
    return x, log_dets


@exercise(points=3)
def check_log_prob_of_chain(answer: Answer, rng: _Rng) -> None:
    """Compares with chains of random length, whose log-determinants differ between images."""
    latents, log_probs = [], []
    for depth, dimensions in zip((3, 4), map(int, rng.permutation(range(2, 6))), strict=False):
        x = rng.normal(size=(size(rng, 6, 9), dimensions))
        layers = [_layer(rng, dimensions) for _ in range(depth)]
        value, gradients = answer(Tensor(x), layers)
        own_z, own_log_prob = parts(value, "z", "log p(x)")
        z, log_dets = _chain(x, layers)
        wrong_z = {
            "the layers are applied in the reverse order": _chain(x, layers[::-1])[0],
            "z is the input x; each layer's output is the next one's input": x,
            "only the last layer reaches z": _chain(x, layers[-1:])[0],
            "the last layer is left out": _chain(x, layers[:-1])[0],
        }
        latents.append((own_z, z, wrong_z))
        prior, total = _normal(z).sum(axis=1), np.sum(log_dets, axis=0)
        right, half = prior + total, _LOG_2PI / 2
        mistakes = {
            "the log-determinants have the wrong sign: they are those from x to z": prior - total,
            "only the last layer's log-determinant is added; add all": prior + log_dets[-1],
            "only the first layer's log-determinant is added; add all": prior + log_dets[0],
            "the log-determinants are missing": prior,
            "the prior is evaluated at x; take z": _normal(x).sum(axis=1) + total,
            "the prior is averaged over the dimensions; sum it": _normal(z).mean(axis=1) + total,
            "½ ln 2π is missing for each dimension of z": right + dimensions * half,
            "½ ln 2π is counted once, not M times": right + (dimensions - 1) * half,
            "½ ln 2π is counted B times, not M": right + (dimensions - len(x)) * half,
            "the log-determinants are averaged over the layers; add them": prior + total / depth,
            "the log-determinants are averaged over the batch": prior + total.mean(),
            "the log-determinants are summed over the batch": prior + total.sum(),
        }
        log_probs.append((own_log_prob, right, mistakes))
    compare(latents, "z is wrong; apply the layers one after the other")
    general = "log p(x) must be log N(z; 0, I) plus the sum of the log-determinants"
    off = [numbers(own) - right for own, right, _ in log_probs if np.shape(own) == right.shape]
    if all(np.ptp(part) < 1e-4 for part in off):
        general = f"M is not the number of dimensions of z in ½ M ln 2π; {general}"
    compare(log_probs, general)

    def log_prob(x: np.ndarray) -> Any:
        z, log_dets = _chain(x, layers)
        return _normal(z).sum(axis=1) + np.sum(log_dets, axis=0)

    compare_gradients(gradients[1], log_prob, (x,), ("x",), "log p(x)")
