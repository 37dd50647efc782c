"""The checks of notebook 3, the normalizing flow.

Truths are closed forms (densities of linear maps, uniform bytes) and determinants of Jacobians by
automatic differentiation. All tensors are float64.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from . import Mistake, exercise

# Rounding of float64 is far below this, the mistakes of the exercises are far above.
_TOLERANCE = 1e-6
_LOG_2PI = math.log(2 * math.pi)


def _array(value: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value as an array, which must have the shape.

    Raises:
        Mistake: the value is None, or its shape is wrong.
    """
    if value is None:
        raise Mistake(f"{name} is None; return it as a tensor of shape {list(shape)}")
    array = np.asarray(value, np.float64)
    if array.shape != shape:
        raise Mistake(f"{name} has the shape {list(array.shape)}; it must be {list(shape)}")
    return array


def _pair(value: Any, first: str, second: str) -> tuple[Any, Any]:
    """The two values that a function must return.

    Raises:
        Mistake: it returns something else.
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise Mistake(f"the function must return two values, {first} and {second}")
    return value[0], value[1]


def _is_close(answer: np.ndarray, truth: Any) -> bool:
    truth = np.broadcast_to(np.asarray(truth, np.float64), answer.shape)
    return np.allclose(answer, truth, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)


def _compare(answer: np.ndarray, truth: Any, mistakes: Mapping[str, Any], general: str) -> None:
    """Accepts the truth.

    Args:
        answer: what the student's function returned.
        truth: what is right.
        mistakes: what each typical mistake would return, by the sentence that names it.
        general: the sentence for all other wrong answers.

    Raises:
        Mistake: the answer is wrong.
    """
    if _is_close(answer, truth):
        return
    for sentence, wrong in mistakes.items():
        if _is_close(answer, wrong):
            raise Mistake(sentence)
    raise Mistake(general)


def _normal(z: Any) -> np.ndarray:
    """log N(z; 0, 1) of each entry, nats."""
    return -0.5 * (np.square(np.asarray(z)) + _LOG_2PI)


# --- 3.a ------------------------------------------------------------------------------


@exercise(points=2)
def check_log_prob_of_map(log_prob_of_map: Callable[..., Any]) -> None:
    """Compares with closed forms: a rising, a falling and a curved map."""
    x = np.linspace(-1.5, 1.5, 7)
    maps: dict[str, tuple[Callable[[Any], Any], np.ndarray, np.ndarray]] = {
        "x = 2 z + 1": (lambda x: (x - 1) / 2, (x - 1) / 2, np.full(7, 0.5)),
        "x = arsinh(4 z)": (lambda x: tf.sinh(x) / 4, np.sinh(x) / 4, np.cosh(x) / 4),
        "x = −3 z": (lambda x: -x / 3, -x / 3, np.full(7, -1 / 3)),
    }
    for name, (inverse, z, slope) in maps.items():
        answer = _array(log_prob_of_map(tf.constant(x), inverse), "log p(x)", x.shape)
        log_slope, log_abs = np.log(np.where(slope > 0, slope, np.nan)), np.log(np.abs(slope))
        mistakes = {
            "the log-determinant is missing: log p(z) alone is the density of z, not of x; add "
            "log |∂z/∂x|": _normal(z),
            "the log-determinant has the wrong sign: the derivative of f⁻¹ is ∂z/∂x, and its "
            "logarithm is added, not subtracted": _normal(z) - log_abs,
            "the absolute value is missing: a falling map has a negative derivative, which has no "
            "logarithm; take log |∂z/∂x|": _normal(z) + log_slope,
            "the prior is evaluated at x; evaluate it at z = f⁻¹(x)": _normal(x) + log_abs,
            "½ ln 2π is missing in log N(z; 0, 1), so the density does not integrate to 1": (
                _normal(z) + _LOG_2PI / 2 + log_abs
            ),
            "|∂z/∂x| is added to log p(z); add its logarithm": _normal(z) + np.abs(slope),
            "the density is returned; return its logarithm": np.exp(_normal(z) + log_abs),
        }
        _compare(answer, _normal(z) + log_abs, mistakes, f"log p(x) is wrong for {name}")


# --- 3.b ------------------------------------------------------------------------------


@exercise(points=2)
def check_dequantize(dequantize: Callable[..., Any]) -> None:
    """The points must lie in the cells of their bytes, and the cells have the volume 256^(−M)."""
    images, size = np.array([[0, 1, 128], [7, 254, 255]], np.uint8), 3
    u = np.array([[0.0, 0.25, 0.5], [0.75, 0.125, 0.875]])
    answer = dequantize(tf.constant(images), tf.constant(u))
    points, log_dets = _pair(answer, "y", "the log-determinant")
    y, log_det = _array(points, "y", (2, 3)), _array(log_dets, "the log-determinant", (2,))
    bytes_ = images.astype(np.float64)
    scales = {
        "y is divided by 255, so the byte 255 leaves [0, 1); there are 256 values, so divide by "
        "256": (bytes_ + u) / 255,
        "the noise is missing, so the points are as discrete as the bytes; divide x + u by 256, in "
        "the dtype of u": (bytes_ / 256),
        "the noise is added after the division, so bytes overlap; divide x + u by 256": (
            bytes_ / 256 + u
        ),
        "y is not divided by 256; it must be in [0, 1)": bytes_ + u,
    }
    _compare(y, (bytes_ + u) / 256, scales, "y is wrong; it must be (x + u) / 256")
    volume = size * math.log(256)
    mistakes = {
        "the log-determinant of the division is missing: each pixel's division by 256 adds "
        "−ln 256": 0.0,
        "the log-determinant has the wrong sign: dividing by 256 shrinks volumes, so it is "
        "−M ln 256": volume,
        "the log-determinant is that of one pixel; an image has M of them, so it is −M ln 256": (
            -volume / size
        ),
        "the log-determinant is in bits; it must be in nats, −M ln 256": -8.0 * size,
        "the log-determinant is that of a division by 255": -size * math.log(255),
    }
    _compare(log_det, -volume, mistakes, "the log-determinant is wrong; it must be −M ln 256")


# --- 3.c ------------------------------------------------------------------------------


@exercise(points=1)
def check_bits_per_dim(bits_per_dim: Callable[..., Any]) -> None:
    """Uniform bytes have 8 bits/dim, and one of two equally likely images has 1 bit in all."""
    for size in (1, 3, 784):
        log_prob = -np.array([size * math.log(256), math.log(2)])
        answer = _array(bits_per_dim(tf.constant(log_prob), size), "the result", (2,))
        nats = -log_prob / size
        mistakes = {
            "ln 2 is missing: this is nats per dimension; divide by ln 2 for bits": nats,
            "the result is multiplied by ln 2; a nat is 1 / ln 2 bits, so divide": (
                nats * math.log(2)
            ),
            "M is missing: these are the bits of a whole image; divide by M": -log_prob
            / math.log(2),
            "the sign is wrong: a probability below 1 takes a positive number of bits": -nats
            / math.log(2),
            "the logarithm has base 10; a bit is ln 2 nats": nats / math.log10(2),
        }
        _compare(
            answer, nats / math.log(2), mistakes, "the result is wrong; it is −log p / (M ln 2)"
        )


# --- 3.d ------------------------------------------------------------------------------


def _linear_layer(matrix: np.ndarray, shift: np.ndarray) -> Callable[[Any], Any]:
    """h ↦ A h + b and log |det A|."""
    log_det = np.linalg.slogdet(matrix)[1]

    def layer(h: Any) -> tuple[tf.Tensor, tf.Tensor]:
        h = tf.convert_to_tensor(h)
        return tf.matmul(h, matrix, transpose_b=True) + shift, tf.fill(tf.shape(h)[:1], log_det)

    return layer


def _through(x: np.ndarray, maps: Any) -> np.ndarray:
    for matrix, shift in maps:
        x = x @ matrix.T + shift
    return x


@exercise(points=3)
def check_log_prob_of_chain(log_prob_of_chain: Callable[..., Any]) -> None:
    """A chain of linear maps has a normal density with known mean and covariance."""
    rng = np.random.default_rng(0)
    scales = [1.5, 2.5, 3.5]
    maps = [(a * np.eye(3) + 0.3 * rng.normal(size=(3, 3)), rng.normal(size=3)) for a in scales]
    x = rng.normal(size=(5, 3))
    layers = [_linear_layer(matrix, shift) for matrix, shift in maps]
    latents, log_probs = _pair(log_prob_of_chain(tf.constant(x), layers), "z", "log p(x)")
    z, log_prob = _array(latents, "z", x.shape), _array(log_probs, "log p(x)", (5,))
    true_z = _through(x, maps)
    wrong_z = {
        "the layers are applied in the reverse order; the first of the list comes first": _through(
            x, maps[::-1]
        ),
        "z is the input x: each layer's output must be the next layer's input": x,
        "only the last layer reaches z: each layer's output must be the next layer's input": (
            _through(x, maps[-1:])
        ),
    }
    _compare(z, true_z, wrong_z, "z is wrong; apply the layers one after the other")
    log_dets = [np.linalg.slogdet(matrix)[1] for matrix, _ in maps]
    prior, total = _normal(true_z).sum(axis=1), sum(log_dets)
    mistakes = {
        "the log-determinants have the wrong sign: each is that of the map from x to z, so it is "
        "added": prior - total,
        "only the last layer's log-determinant is added; add those of all layers": prior
        + log_dets[-1],
        "only the first layer's log-determinant is added; add those of all layers": prior
        + log_dets[0],
        "the log-determinants are missing": prior,
        "the prior is evaluated at x; evaluate it at z": _normal(x).sum(axis=1) + total,
        "the prior is averaged over the dimensions; the logarithm of a product of M densities is "
        "a sum": _normal(true_z).mean(axis=1) + total,
        "½ ln 2π is missing for each dimension of z": prior + 1.5 * _LOG_2PI + total,
        "½ ln 2π is counted once; the prior has M dimensions": prior + _LOG_2PI + total,
        "the log-determinants are averaged over the layers; add them": prior + total / 3,
    }
    general = "log p(x) is wrong; it is log N(z; 0, I) plus the sum of the log-determinants"
    _compare(log_prob, prior + total, mistakes, general)


# --- 3.e and 3.f ----------------------------------------------------------------------

_MASK = np.array([1.0, 0.0, 1.0, 0.0, 0.0])
_SIZE = len(_MASK)


def _network(fixed: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """s and t, `[B, M]` each, different in each entry and dependent on all inputs."""
    rng = np.random.default_rng(1)
    weights = tf.constant(rng.normal(size=(_SIZE, 2 * _SIZE)))
    outputs = tf.tanh(tf.matmul(tf.convert_to_tensor(fixed), weights)) + np.linspace(
        0.2, 1.1, 2 * _SIZE
    )
    return outputs[:, :_SIZE], outputs[:, _SIZE:]


def _generate(z: np.ndarray, mask: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coupling from latents to data whose network sees `seen`, and the log-scales."""
    s, t = (part.numpy() for part in _network(seen))
    return mask * z + (1 - mask) * (z * np.exp(s) + t), s


def _log_det_mistakes(s: np.ndarray, sign: int) -> dict[str, np.ndarray]:
    """What mistakes in a coupling's log-determinant give; `sign` is 1 from latents to data."""
    right, per_entry = (1 - _MASK) * s, sign * s
    own = "s" if sign == 1 else "−s"
    return {
        f"the log-determinant has the wrong sign; in this direction it is the sum of {own} over "
        "the changed entries": -sign * right.sum(axis=1),
        "the log-determinant sums s over all entries; the entries that stay as they are have the "
        "derivative 1, so leave them out": per_entry.sum(axis=1),
        "the log-determinant sums s over the entries that stay as they are, so the mask is the "
        "wrong way round in it": (_MASK * per_entry).sum(axis=1),
        "the log-determinant is averaged over the entries; sum it": sign * right.mean(axis=1),
        "exp(s) is summed; the logarithm of a product of exp(s) is the sum of s": (
            (1 - _MASK) * np.exp(per_entry)
        ).sum(axis=1),
        "the determinant is returned; return its logarithm": np.exp(sign * right.sum(axis=1)),
        "the log-determinant is summed over the batch too; each image has its own": np.full(
            len(s), sign * right.sum()
        ),
        "the log-determinant is missing": np.zeros(len(s)),
    }


def _points() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(4, _SIZE))


@exercise(points=3)
def check_coupling_forward(coupling_forward: Callable[..., Any]) -> None:
    """Compares the log-determinant with that of the Jacobian by automatic differentiation."""
    z = _points()
    with tf.GradientTape(persistent=True) as tape:
        inputs = tf.constant(z)
        tape.watch(inputs)
        answer = coupling_forward(inputs, tf.constant(_MASK), _network)
        outputs, log_dets = _pair(answer, "x", "the log-determinant")
        x = _array(outputs, "x", z.shape)
        columns = tf.unstack(outputs, axis=1)
    log_det = _array(log_dets, "the log-determinant", (4,))
    true_x, s = _generate(z, _MASK, _MASK * z)
    swapped = 1 - _MASK
    mistakes = {
        "the mask is the wrong way round: entries where it is 1 must stay as they are": _generate(
            z, swapped, swapped * z
        )[0],
        "the network sees the entries that are changed, so the Jacobian is not triangular; give "
        "it mask · z alone": _generate(z, _MASK, z)[0],
        "the network sees the changed entries in place of the fixed ones; give it mask · z": (
            _generate(z, _MASK, swapped * z)[0]
        ),
        "the shift is added before the scaling; x is z · exp(s) + t": _MASK * z
        + swapped * (z + _network(_MASK * z)[1].numpy()) * np.exp(s),
        "this is the inverse, (z − t) · exp(−s); from latents to data it is z · exp(s) + t": (
            _MASK * z + swapped * (z - _network(_MASK * z)[1].numpy()) * np.exp(-s)
        ),
        "z is scaled by s; scale it by exp(s), which is never zero": _MASK * z
        + swapped * (z * s + _network(_MASK * z)[1].numpy()),
        "all entries are changed; those where the mask is 1 must stay as they are": _generate(
            z, np.zeros(_SIZE), _MASK * z
        )[0],
    }
    _compare(x, true_x, mistakes, "x is wrong; it is z where the mask is 1, else z · exp(s) + t")
    rows = [tape.gradient(column, inputs) for column in columns]
    if any(row is None for row in rows):
        raise Mistake("x has no gradient by z; compute it with TensorFlow's functions")
    truth = np.linalg.slogdet(np.stack(rows, axis=1))[1]
    general = "the log-determinant is not that of the Jacobian ∂x/∂z; sum s over the changed part"
    _compare(log_det, truth, _log_det_mistakes(s, 1), general)


@exercise(points=3)
def check_coupling_inverse(coupling_inverse: Callable[..., Any]) -> None:
    """The answer must undo the coupling, and its log-determinant be the negative one."""
    true_z, swapped = _points(), 1 - _MASK
    x, s = _generate(true_z, _MASK, _MASK * true_z)
    t = _network(_MASK * x)[1].numpy()
    answer = coupling_inverse(tf.constant(x), tf.constant(_MASK), _network)
    latents, log_dets = _pair(answer, "z", "the log-determinant")
    z, log_det = _array(latents, "z", x.shape), _array(log_dets, "the log-determinant", (4,))
    wrong_s, wrong_t = (part.numpy() for part in _network(swapped * x))
    seen_s, seen_t = (part.numpy() for part in _network(x))
    not_inverse = "this is not the inverse of z · exp(s) + t: "
    mistakes = {
        "the mask is the wrong way round: entries where it is 1 must stay as they are": swapped * x
        + _MASK * (x - wrong_t) * np.exp(-wrong_s),
        f"{not_inverse}it is the coupling itself, applied once more": _generate(
            x, _MASK, _MASK * x
        )[0],
        f"{not_inverse}subtract t first, then divide by exp(s)": _MASK * x
        + swapped * (x * np.exp(-s) - t),
        f"{not_inverse}after t is subtracted, divide by exp(s), do not multiply": _MASK * x
        + swapped * (x - t) * np.exp(s),
        f"{not_inverse}subtract t, do not add it": _MASK * x + swapped * (x + t) * np.exp(-s),
        f"{not_inverse}the shift is not undone; subtract t": _MASK * x + swapped * x * np.exp(-s),
        f"{not_inverse}the scaling is not undone; divide by exp(s)": _MASK * x + swapped * (x - t),
        "the network sees all of x, but it saw mask · z on the way; give it mask · x": _MASK * x
        + swapped * (x - seen_t) * np.exp(-seen_s),
    }
    _compare(z, true_z, mistakes, f"{not_inverse}z does not come back; solve for z")
    general = "the log-determinant is not that of ∂z/∂x; it is minus that of the coupling"
    _compare(log_det, -(swapped * s).sum(axis=1), _log_det_mistakes(s, -1), general)
