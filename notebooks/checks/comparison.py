"""Checks of the exercises of the comparison."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import Mistake, exercise

_Function = Callable[..., Any]
_LN_2 = math.log(2)


def _is_close(answer: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether an answer has the expected shape and values, relative to their size."""
    answer, expected = np.asarray(answer), np.asarray(expected)
    if answer.shape != expected.shape or answer.dtype.kind not in "fiu":
        return False
    return bool(np.allclose(answer, expected, rtol=tolerance, atol=tolerance))


def _diagnose(answer: Any, expected: Any, mistakes: Sequence[tuple[Any, str]], rule: str) -> None:
    """Raises the mistake whose result the answer equals, or the rule; returns if it is right.

    Args:
        answer: what the student's function returned.
        expected: the right result.
        mistakes: results of typical mistakes, and what to say about each.
        rule: what would be right, for any other answer.
    """
    if _is_close(answer, expected):
        return
    for result, sentence in mistakes:
        if _is_close(answer, result):
            raise Mistake(sentence)
    if np.iscomplexobj(answer):
        raise Mistake(f"the result is complex; {rule}")
    if np.shape(answer) != np.shape(expected):
        raise Mistake(
            f"the result has shape {list(np.shape(answer))} instead of {list(np.shape(expected))}; "
            f"{rule}"
        )
    raise Mistake(rule)


# --- the Fréchet distance
# -----------------------------------------------------------------------------------------------

_FRECHET = "it is ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 √(Σ₁ Σ₂))"


@exercise(points=3)
def check_frechet_distance(frechet_distance: _Function) -> None:
    """Compares it with normals whose optimal transport is known.

    If T is symmetric and positive definite, x ↦ T x is the optimal map from N(0, Σ) to N(0, T Σ T).
    So the distance is tr((T − I) Σ (T − I)), without any root of a matrix.
    """
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(4, 4))
    covariance = factor @ factor.T + np.eye(4)
    transport = np.diag([0.5, 1.0, 1.5, 2.0]) + 0.3 * np.ones((4, 4))
    mean_1, mean_2 = np.array([1.0, 0, 2, 0]), np.array([0.0, 1, 0, 4])
    image = transport @ covariance @ transport
    change = transport - np.eye(4)
    expected = np.sum((mean_1 - mean_2) ** 2) + np.trace(change @ covariance @ change)
    answer = frechet_distance(mean_1, covariance, mean_2, image)
    _diagnose(answer, expected, _frechet_mistakes(mean_1, covariance, mean_2, image), _FRECHET)
    if not _is_close(frechet_distance(mean_1, covariance, mean_1, covariance), 0.0, 1e-5):
        raise Mistake(f"the distance of a normal to itself is not 0; {_FRECHET}")
    # Features that depend on each other: the covariance has no full rank.
    flat = np.outer([1.0, 2, 0, 1], [1.0, 2, 0, 1])
    try:
        is_right = _is_close(frechet_distance(mean_1, flat, mean_1, 4 * flat), np.trace(flat), 1e-5)
    except np.linalg.LinAlgError:
        is_right = False
    if not is_right:
        raise Mistake(
            "it fails where a covariance is singular: rounding makes eigenvalues slightly "
            "negative, and there is no Cholesky factor; take the roots of eigenvalues, or 0"
        )


def _frechet_mistakes(
    mean_1: np.ndarray, covariance_1: np.ndarray, mean_2: np.ndarray, covariance_2: np.ndarray
) -> list[tuple[Any, str]]:
    distance = np.linalg.norm(mean_1 - mean_2)
    traces = np.trace(covariance_1) + np.trace(covariance_2)
    product = covariance_1 @ covariance_2
    root = float(np.sum(np.sqrt(np.abs(np.linalg.eigvals(product)))))
    roots = np.trace(_root(covariance_1) @ _root(covariance_2))
    elementwise = np.sum(np.sqrt(np.abs(np.diag(product))))
    of_entries = np.trace(np.sqrt(np.abs(covariance_1)) @ np.sqrt(np.abs(covariance_2)))
    whole = distance**2 + traces
    return [
        (
            whole - 2 * elementwise,
            "the root is taken of each entry of Σ₁ Σ₂; the trace of a matrix square root is the "
            "sum of the roots of the eigenvalues of Σ₁ Σ₂",
        ),
        (
            whole - 2 * of_entries,
            "the roots are taken of the entries of Σ₁ and Σ₂, which is no matrix square root",
        ),
        (
            whole - 2 * roots,
            "tr(√Σ₁ √Σ₂) stands in for tr √(Σ₁ Σ₂); they are equal only if Σ₁ and Σ₂ commute",
        ),
        (
            whole - 2 * np.trace(product),
            "the trace is that of Σ₁ Σ₂ itself; take the trace of its matrix square root",
        ),
        (
            whole - 2 * math.sqrt(np.trace(product)),
            "the root is taken of the trace; take the trace of the matrix square root",
        ),
        (whole - root, f"the factor 2 of the root is missing; {_FRECHET}"),
        (whole + 2 * root, f"the root has the wrong sign; {_FRECHET}"),
        (whole, f"the term with the matrix square root is missing; {_FRECHET}"),
        (
            distance + traces - 2 * root,
            "the distance of the means is not squared; the first term is ‖μ₁ − μ₂‖²",
        ),
        (traces - 2 * root, "the means do not matter to it; the first term is ‖μ₁ − μ₂‖²"),
        (
            math.sqrt(whole - 2 * root),
            "it is the square root of the Fréchet distance as FID defines it; leave the root out",
        ),
    ]


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


# --- coverage
# -----------------------------------------------------------------------------------------------

_COVERAGE = (
    "coverage is the share of real images that have a sample within the distance to their k-th "
    "nearest other real image"
)
_COVERAGE_MISTAKES = {
    "recall": "this is recall: the balls are around samples; coverage has them around real images",
    "precision": "this is precision, the share of samples that lie in a ball; coverage is the "
    "share of real images whose ball holds a sample",
    "density": "this is density: it counts every ball that holds a sample; coverage asks of each "
    "real image whether any sample is in its ball",
    "self": "each real image counts as its own nearest neighbour, so the balls reach only to "
    "neighbour k − 1; leave the distance 0 to itself out",
    "between": "the balls reach to the k-th nearest sample, so each holds k samples by "
    "construction; let them reach to the k-th nearest other real image",
}


@exercise(points=3)
def check_coverage(coverage: _Function) -> None:
    """Compares it with points on a line, counted by hand, and with its expectation."""
    # Radii for k = 1: 1, 1, 2, 3, 4, 5. Samples are in the balls of 0, 1, 3 and 6.
    real = np.array([0.0, 1, 3, 6, 10, 15])[:, None]
    samples = np.array([0.5, 0.7, 4.5, 30])[:, None]
    _check_coverage_of(coverage, samples, real, 1, 4 / 6)
    rng = np.random.default_rng(1)
    samples, real = rng.normal(size=(40, 3)) + 0.8, 1.5 * rng.normal(size=(60, 3))
    _check_coverage_of(coverage, samples, real, 3, _variants(samples, real, 3)["coverage"])
    # Of equal distributions: the N − 1 other real images and M samples are in random order by
    # distance, and a ball is empty of samples if the k nearest of them all are real.
    count, neighbours, repeats = 30, 5, 60
    empty = math.prod((count - i) / (2 * count - i) for i in range(1, neighbours + 1))
    draws = rng.normal(size=(repeats, 2, count, 2))
    values = [float(coverage(samples, real, neighbours)) for samples, real in draws]
    # Five standard errors of the mean.
    if abs(np.mean(values) - (1 - empty)) > 5 * np.std(values) / math.sqrt(repeats):
        raise Mistake(
            f"of samples with the distribution of real images it is {np.mean(values):.3f} on "
            f"average, not {1 - empty:.3f}; {_COVERAGE}"
        )


def _check_coverage_of(
    coverage: _Function, samples: np.ndarray, real: np.ndarray, neighbours: int, expected: float
) -> None:
    answer = coverage(samples, real, neighbours)
    variants = _variants(samples, real, neighbours)
    mistakes = [(variants[name], sentence) for name, sentence in _COVERAGE_MISTAKES.items()]
    _diagnose(answer, expected, mistakes, _COVERAGE)


def _variants(samples: np.ndarray, real: np.ndarray, neighbours: int) -> dict[str, float]:
    """Coverage and what is mixed up with it, by their definitions."""
    across = np.linalg.norm(real[:, None] - samples[None], axis=-1)
    among = np.sort(np.linalg.norm(real[:, None] - real[None], axis=-1), axis=1)
    among_samples = np.sort(np.linalg.norm(samples[:, None] - samples[None], axis=-1), axis=1)
    # The distance to itself comes first.
    in_real_ball = across <= among[:, neighbours, None]
    in_sample_ball = across <= among_samples[:, neighbours]
    return {
        "coverage": float(in_real_ball.any(1).mean()),
        "recall": float(in_sample_ball.any(1).mean()),
        "precision": float(in_real_ball.any(0).mean()),
        "density": float(in_real_ball.sum() / (neighbours * len(samples))),
        "self": float((across <= among[:, neighbours - 1, None]).any(1).mean()),
        "between": 1.0,
    }


# --- likelihoods
# -----------------------------------------------------------------------------------------------

_BITS = "it is −log p / (H · W · C · ln 2)"


@exercise(points=2)
def check_nats_to_bits_per_dim(nats_to_bits_per_dim: _Function) -> None:
    """Uniform bytes have 8 bits/dim, and fair binary pixels 1 bit/dim, whatever the shape."""
    cases = (((28, 28, 1), 256, 8.0), ((4, 5, 3), 256, 8.0), ((7, 2, 3), 2, 1.0))
    for shape, values, bits in cases:
        dimensions, nats = math.prod(shape), math.log(values)
        # The second image is likelier by a factor of `values`: one pixel is certain.
        log_prob = np.array([-dimensions * nats, -(dimensions - 1) * nats])
        expected = bits * np.array([1, 1 - 1 / dimensions])
        pixels = shape[0] * shape[1]
        mistakes = [
            (
                expected * _LN_2,
                "the division by ln 2 is forgotten: nats per dimension are not bits/dim",
            ),
            (
                expected * _LN_2**2,
                "it multiplies by ln 2; 1 bit is ln 2 nats, so nats are divided by ln 2",
            ),
            (-expected, "the sign is wrong: bits/dim is −log p, so that fewer bits are better"),
            (expected * dimensions, "these are bits per image; divide by the H · W · C dimensions"),
            (-log_prob, f"these are nats per image; {_BITS}"),
            (
                expected * dimensions / pixels,
                "it divides by the pixels; each of the C channels of a pixel is a dimension",
            ),
            (
                expected + 8,
                "it adds log₂ 256 = 8 bits, as if log p were a density of pixels in 0…1; here log "
                "p is already that of bytes",
            ),
            (
                expected - 8,
                "it subtracts log₂ 256 = 8 bits, as if log p were a density of pixels in 0…1; here "
                "log p is already that of bytes",
            ),
            (expected.mean(), "it averages over images; return one value for each"),
        ]
        _diagnose(nats_to_bits_per_dim(log_prob, shape), expected, mistakes, _BITS)


_LOG_MEAN = "it is log (1/K Σ exp(log w)), over the first axis"


@exercise(points=2)
def check_average_over_draws(average_over_draws: _Function) -> None:
    """Compares it with weights of powers of two, of which the mean is known."""
    log_weights = np.log(np.array([[1.0, 8.0], [1.0, 16.0], [1.0, 0.5], [5.0, 7.5]]))
    expected = np.log([2.0, 8.0])
    summed = expected + math.log(4)
    mistakes = [
        (
            log_weights.mean(0),
            "this is the mean of the logs, the bound of one draw on average; take the log of the "
            "mean, which is a tighter bound",
        ),
        (summed, "1/K is forgotten: this is the log of the sum of the weights; subtract log K"),
        (expected - math.log(4), "log K is subtracted twice; the mean has one factor 1/K"),
        (np.array([2.0, 8.0]), "the log of the mean is missing; return it in nats"),
        (
            np.log(np.exp(log_weights).mean(1)),
            "it averages over the images, axis 1; the draws of an image are on axis 0",
        ),
        (
            np.log(np.exp(log_weights).mean()),
            "it averages over images too; return one value for each",
        ),
        (log_weights.max(0), "this is the largest weight of each image; all K of them count"),
    ]
    _diagnose(average_over_draws(log_weights), expected, mistakes, _LOG_MEAN)
    # As of images with 784 pixels: exp of these is 0, or infinite, in float64.
    for shift in (-3000.0, 3000.0):
        with np.errstate(all="ignore"):
            answer = average_over_draws(log_weights + shift)
        if not _is_close(answer, expected + shift, 1e-9):
            raise Mistake(
                f"weights of e^{shift:.0f} underflow or overflow: their exp is 0 or infinite; "
                "subtract the largest log weight of each image first, and add it again at the end"
            )


# What `tfgen-evaluate` could write of seven models of MNIST. For those of bytes, `nll` is
# bits_per_dim · 784 · ln 2, where there is one.
_LIKELIHOODS: dict[str, dict[str, Any] | None] = {
    "broad": {"events": "bernoulli, binarization dynamic", "nll": 90.0, "negative_elbo": 91.0},
    "flow": {"events": "bytes", "bits_per_dim": 1.5, "dequantizations": 8},
    "sharp": {"events": "bernoulli, binarization dynamic", "nll": 80.0, "negative_elbo": 99.0},
    "VAE of bytes": {"events": "bytes", "bits_per_dim": 1.25, "nll": 679.3, "negative_elbo": 700.0},
    "fixed": {"events": "bernoulli, binarization static", "nll": 85.0, "negative_elbo": 86.0},
    "uniform": {"events": "bytes", "bits_per_dim": 8.0, "nll": 4347.0, "negative_elbo": 4347.0},
    "GAN": None,
}
_RANKS = {
    "bernoulli, binarization dynamic": ["sharp", "broad"],
    "bytes": ["VAE of bytes", "flow", "uniform"],
    "bernoulli, binarization static": ["fixed"],
}
_RULE = "return one ranking for each kind of events, best first"


@exercise(points=2)
def check_rank_by_likelihood(rank_by_likelihood: _Function) -> None:
    """Models of bytes and of binarized images have no common order, and the GAN has no place."""
    answer = rank_by_likelihood(dict(_LIKELIHOODS))
    rankings = list(answer.values()) if isinstance(answer, dict) else [answer]
    rankings = [list(names) for names in rankings]
    if any("GAN" in names for names in rankings):
        raise Mistake("the GAN is ranked, but it has no likelihood; leave out what is None")
    for names in rankings:
        events = {likelihood["events"] for name in names if (likelihood := _LIKELIHOODS.get(name))}
        if "bytes" in events and len(events) > 1:
            raise Mistake(
                "nats of binarized images are ranked with bits of bytes; they are likelihoods of "
                f"different data, in whatever unit: {_RULE}"
            )
        if len(events) > 1:
            raise Mistake(
                "static and dynamic binarization are ranked together; they are different images: "
                f"{_RULE}"
            )
    if not isinstance(answer, dict) or answer.keys() != _RANKS.keys():
        raise Mistake(f"the keys are not the three kinds of events; {_RULE}")
    answer = {events: list(names) for events, names in answer.items()}
    if answer == {events: names[::-1] for events, names in _RANKS.items()}:
        raise Mistake("the worst model comes first; fewer nats, or bits, are better")
    if answer["bernoulli, binarization dynamic"] == ["broad", "sharp"]:
        raise Mistake(
            "−ELBO decides; the NLL is the tighter bound on the likelihood, and −ELBO also has the "
            "gap of the encoder: rank binarized images by nll"
        )
    if answer != _RANKS:
        raise Mistake(
            "models of bytes are not ranked by bits/dim: nats of an image and bits of a pixel are "
            f"different units; rank bytes by bits_per_dim, and {_RULE}"
        )
