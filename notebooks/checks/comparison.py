"""Checks of the exercises of the comparison."""

from typing import Any

import numpy as np

from . import exercise
from ._arrays import Generator, size
from ._common import compare_bits, compare_log_means, log_probs
from ._compare import Answer, Mistake, compare, compare_function

# --- the Fréchet distance
# -----------------------------------------------------------------------------------------------

_FRECHET = "it is ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 √(Σ₁ Σ₂))"


@exercise(points=3)
def check_frechet_distance(answer: Answer, rng: Generator) -> None:
    """Compares it with its formula, and normals of which the features depend on each other."""
    draws = []
    for _ in range(2):
        features = size(rng, 3, 6)
        factors, means = rng.normal(size=(2, features, features)), rng.normal(size=(2, features))
        covariance, image = factors @ factors.transpose(0, 2, 1) + np.eye(features)
        draws.append((means[0], covariance, means[1], image))
    compare_function(answer, draws, _frechet_outcomes, tolerance=1e-3)
    itself = answer(means[0], covariance, means[0], covariance)[0]
    compare([(itself, 0.0, {})], f"the distance of a normal to itself is not 0; {_FRECHET}", 1e-2)
    singular = "of a singular Σ, rounding makes eigenvalues negative, and Cholesky fails; clip at 0"
    for _ in range(4):
        # Features that depend on each other: the covariance has no full rank.
        direction, scale = rng.normal(size=features), rng.uniform(1.5, 3)
        flat = np.outer(direction, direction)
        try:
            value = answer(means[0], flat, means[0], scale**2 * flat)[0]
        except Mistake as mistake:
            raise Mistake(f"{singular} ({mistake})") from mistake
        compare([(value, (scale - 1) ** 2 * np.trace(flat), {})], singular, 2e-2)


def _frechet_outcomes(mean_1: Any, covariance_1: Any, mean_2: Any, covariance_2: Any) -> Any:
    """The distance and its typical mistakes."""
    distance, product = np.linalg.norm(mean_1 - mean_2), covariance_1 @ covariance_2
    whole = distance**2 + np.trace(covariance_1 + covariance_2)
    root = np.sqrt(np.linalg.eigvals(product).real).sum()
    elementwise = np.sqrt(np.abs(np.diag(product))).sum()
    return {
        _FRECHET: whole - 2 * root,
        "the root is taken of each entry of Σ₁ Σ₂, not of a matrix": whole - 2 * elementwise,
        "the trace is that of Σ₁ Σ₂ itself; take that of its root": whole - 2 * np.trace(product),
        "the root is taken of the trace": whole - 2 * np.sqrt(np.trace(product)),
        "the root has the wrong sign": whole + 2 * root,
        "the term with the matrix square root is missing": whole,
        "the distance of the means is not squared": whole - distance**2 + distance - 2 * root,
        "the means do not matter; the first term is ‖μ₁ − μ₂‖²": whole - distance**2 - 2 * root,
    }


# --- coverage
# -----------------------------------------------------------------------------------------------


@exercise(points=3)
def check_coverage(answer: Answer, rng: Generator) -> None:
    """Compares it with its definition on sets of images that neither fill nor miss all balls."""
    draws = []
    for _ in range(8):
        dimensions, neighbours = size(rng, 2, 4), size(rng, 2, 5)
        samples = rng.normal(size=(size(rng, 30, 50), dimensions), scale=1.3) + 1
        real = rng.normal(size=(size(rng, 60, 80), dimensions), scale=2)
        draws.append((samples, real, neighbours))
    compare_function(answer, draws, _coverage_outcomes)


def _coverage_outcomes(samples: np.ndarray, real: np.ndarray, neighbours: int) -> dict[str, float]:
    """Coverage, and what is mixed up with it, by their definitions."""
    across = np.linalg.norm(real[:, None] - samples[None], axis=-1)
    # The distance to itself comes first.
    among = np.sort(np.linalg.norm(real[:, None] - real[None], axis=-1), axis=1)
    radii = among[:, neighbours, None]
    in_ball = across <= radii
    right = in_ball.any(1).mean()
    smaller, larger = (across <= among[:, [neighbours + step]] for step in (-1, 1))
    return {
        "it is the share of real images with a sample nearer than their k-th other one": right,
        "this is precision; take the share of real images": in_ball.any(0).mean(),
        "this counts the samples in each ball": in_ball.sum() / len(samples),
        "each image is its own nearest neighbour": smaller.any(1).mean(),
        "the balls reach to neighbour k + 1": larger.any(1).mean(),
        "the radius is squared, the other distance is not": (across <= radii**2).any(1).mean(),
        "this is the number of real images; return their share": in_ball.any(1).sum(),
    }


# --- likelihoods
# -----------------------------------------------------------------------------------------------


@exercise(points=2)
def check_nats_to_bits_per_dim(answer: Answer, rng: Generator) -> None:
    """Compares images of several shapes."""
    shapes = [[size(rng, 2, 30), size(rng, 2, 30), channels] for channels in (1, 3)] + [[1] * 3]
    compare_bits(answer, [(log_probs(rng, shape), shape) for shape in shapes], "H · W · C")


@exercise(points=2)
def check_average_over_draws(answer: Answer, rng: Generator) -> None:
    """Checks a log of means near 0, and of weights far below and above."""
    compare_log_means(answer, rng, np.float64, "draws")


_DYNAMIC, _STATIC = (f"bernoulli, binarization {kind}" for kind in ("dynamic", "static"))
_RULE = "return one ranking for each kind of events, best first"


def _likelihoods(rng: Generator) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What `tfgen-evaluate` could write of models of MNIST, and their ranks.

    By −ELBO, binarized images have another order. Of bytes, nats and bits/dim disagree where a
    model has no `nll`.
    """
    nll, bits = np.sort(rng.uniform(80, 95, 5)), np.sort(rng.uniform(1, 6, 4))
    names = [f"model-{number}" for number in rng.permutation(10)]
    dynamic, static, of_bytes, others = names[:3], names[3:5], names[5:8], names[8:]
    models: dict[str, Any] = dict.fromkeys(others)
    for index, name in enumerate(dynamic + static):
        events = _DYNAMIC if name in dynamic else _STATIC
        models[name] = {"events": events, "nll": nll[index], "negative_elbo": 99.0 - index}
    for index, name in enumerate(of_bytes):
        models[name] = {"events": "bytes", "bits_per_dim": bits[index]}
        if index != 1:
            models[name] |= {"nll": bits[index] * 784 * np.log(2), "negative_elbo": 4347.0 - index}
    shuffled = {name: models[name] for name in rng.permutation(names).tolist()}
    return shuffled, {_DYNAMIC: dynamic, _STATIC: static, "bytes": of_bytes}


@exercise(points=2)
def check_rank_by_likelihood(answer: Answer, rng: Generator) -> None:
    """Models of bytes and of binarized images have no common order, and the GAN has no place."""
    for _ in range(2):
        models, ranks = _likelihoods(rng)
        value, _ = answer(models)
        rankings = list(value.values()) if isinstance(value, dict) else [value]
        if any(isinstance(names, dict) for names in rankings):
            raise Mistake(f"a ranking must be a list of names, not a dictionary: {_RULE}")
        if any(not isinstance(name, str) for names in rankings for name in names or [None]):
            raise Mistake(f"a ranking has something besides names of models; {_RULE}")
        if any(models.get(name, {}) is None for names in rankings for name in names):
            raise Mistake("a model without a likelihood (None) is ranked; leave it out")
        for names in rankings:
            events = {models[name]["events"] for name in names if name in models}
            if len(events) > 1:
                raise Mistake(f"bytes, or static and dynamic images, are ranked together; {_RULE}")
        if not isinstance(value, dict) or value.keys() != ranks.keys():
            raise Mistake(f"the keys are not the three kinds of events; {_RULE}")
        if value == {events: names[::-1] for events, names in ranks.items()}:
            raise Mistake("the worst model comes first; fewer nats, or bits, are better")
        if any(sorted(value[events]) != sorted(names) for events, names in ranks.items()):
            raise Mistake(f"a model is missing or named twice; {_RULE}")
        if all(value[events] == ranks[events][::-1] for events in (_DYNAMIC, _STATIC)):
            raise Mistake("−ELBO decides, which has the gap of the encoder, too; rank by nll")
        if value != ranks:
            raise Mistake("the order is not by bits_per_dim for bytes, by nll for binarized images")
