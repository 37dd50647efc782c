"""Typical mistakes in the exercises of the comparison, each named by its check."""

import math

import numpy as np
import pytest

from notebooks.checks import Mistake
from notebooks.checks.comparison import (
    check_average_over_draws,
    check_coverage,
    check_frechet_distance,
    check_nats_to_bits_per_dim,
    check_rank_by_likelihood,
)

pytestmark = [pytest.mark.quick, pytest.mark.newest]


def root(matrix, least=0.0):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, least))) @ vectors.T


def cross(covariance_1, covariance_2):
    """tr √(Σ₁ Σ₂)."""
    half = root(covariance_1)
    return np.trace(root(half @ covariance_2 @ half))


def frechet(trace_of_root=cross, factor=2, of_means=lambda d: d @ d, finish=lambda value: value):
    def frechet_distance(mean_1, covariance_1, mean_2, covariance_2):
        traces = np.trace(covariance_1) + np.trace(covariance_2)
        traces -= factor * trace_of_root(covariance_1, covariance_2)
        return finish(of_means(mean_1 - mean_2) + traces)

    return frechet_distance


def unguarded(covariance_1, covariance_2):
    with np.errstate(invalid="ignore"):
        half = root(covariance_1, -np.inf)
        return np.trace(root(half @ covariance_2 @ half, -np.inf))


def cholesky(covariance_1, covariance_2):
    factor = np.linalg.cholesky(covariance_1)
    return np.trace(root(factor.T @ covariance_2 @ factor))


FRECHET = {
    "root is taken of each entry of Σ₁ Σ₂": frechet(
        lambda a, b: np.trace(np.sqrt(np.abs(a @ b))),
    ),
    "roots are taken of the entries of Σ₁ and Σ₂": frechet(
        lambda a, b: np.trace(np.sqrt(np.abs(a)) @ np.sqrt(np.abs(b)))
    ),
    "only if Σ₁ and Σ₂ commute": frechet(lambda a, b: np.trace(root(a) @ root(b))),
    "that of Σ₁ Σ₂ itself": frechet(lambda a, b: np.trace(a @ b)),
    "root is taken of the trace": frechet(lambda a, b: math.sqrt(np.trace(a @ b))),
    "factor 2": frechet(factor=1),
    "wrong sign": frechet(factor=-2),
    "term with the matrix square root is missing": frechet(factor=0),
    "means is not squared": frechet(of_means=np.linalg.norm),
    "means do not matter": frechet(of_means=lambda d: 0.0),
    "square root of the Fréchet distance": frechet(finish=math.sqrt),
    "complex": frechet(finish=lambda value: value + 0j),
    "eigenvalues slightly negative": frechet(unguarded),
    "no Cholesky factor": frechet(cholesky),
}


def distances(first, second):
    return np.linalg.norm(first[:, None] - second[None], axis=-1)


def radii(points, neighbours, of=None):
    return np.sort(distances(points, points if of is None else of), axis=1)[:, neighbours]


COVERAGE = {
    "this is recall": lambda s, r, k: (distances(r, s) <= radii(s, k)).any(1).mean(),
    "this is precision": lambda s, r, k: (distances(r, s) <= radii(r, k)[:, None]).any(0).mean(),
    "this is density": lambda s, r, k: (
        (distances(r, s) <= radii(r, k)[:, None]).sum() / (k * len(s))
    ),
    "its own nearest neighbour": lambda s, r, k: (
        (distances(r, s) <= radii(r, k - 1)[:, None]).any(1).mean()
    ),
    "k-th nearest sample": lambda s, r, k: (
        (distances(r, s) <= radii(r, k - 1, s)[:, None]).any(1).mean()
    ),
    "share of real images": lambda s, r, k: 0.5,
}


def scaled(factor):
    def nats_to_bits_per_dim(log_prob, image_shape):
        return factor(*image_shape) * log_prob

    return nats_to_bits_per_dim


LN_2 = math.log(2)
BITS = {
    "division by ln 2 is forgotten": scaled(lambda h, w, c: -1 / (h * w * c)),
    "multiplies by ln 2": scaled(lambda h, w, c: -LN_2 / (h * w * c)),
    "sign": scaled(lambda h, w, c: 1 / (h * w * c * LN_2)),
    "bits per image": scaled(lambda h, w, c: -1 / LN_2),
    "nats per image": scaled(lambda h, w, c: -1),
    "divides by the pixels": scaled(lambda h, w, c: -1 / (h * w * LN_2)),
    "adds log₂ 256": lambda log_prob, shape: 8 - log_prob / (math.prod(shape) * LN_2),
    "subtracts log₂ 256": lambda log_prob, shape: -8 - log_prob / (math.prod(shape) * LN_2),
    "averages over images": lambda log_prob, shape: -log_prob.mean() / (math.prod(shape) * LN_2),
}


def stable(log_weights):
    return np.logaddexp.reduce(log_weights, axis=0)


DRAWS = {
    "mean of the logs": lambda w: w.mean(0),
    "1/K is forgotten": stable,
    "subtracted twice": lambda w: stable(w) - 2 * math.log(len(w)),
    "log of the mean is missing": lambda w: np.exp(w).mean(0),
    "axis 1": lambda w: np.log(np.exp(w).mean(1)),
    "averages over images too": lambda w: np.log(np.exp(w).mean()),
    "largest weight": lambda w: w.max(0),
    "underflow": lambda w: np.log(np.exp(w).mean(0)),
}


def scores(likelihoods, by="nll"):
    """Each model's NLL or −ELBO in nats, or its bits/dim."""
    known = {name: item for name, item in likelihoods.items() if item}
    return {
        name: item["bits_per_dim"] if item["events"] == "bytes" else item[by]
        for name, item in known.items()
    }


def ranked(by="nll", reverse=False, group=lambda item: item["events"]):
    def rank_by_likelihood(likelihoods):
        values = scores(likelihoods, by)
        rankings = {}
        for name in sorted(values, key=values.get, reverse=reverse):
            rankings.setdefault(group(likelihoods[name]), []).append(name)
        return rankings

    return rank_by_likelihood


def in_one_unit(likelihoods):
    """Divides the nats of binarized images by 784 ln 2."""
    values = {
        name: value if value < 10 else value / (784 * LN_2)
        for name, value in scores(likelihoods).items()
    }
    return sorted(values, key=values.get)


def by_any_unit(likelihoods):
    """Ranks bytes by nats, or else by bits/dim."""
    rankings = {}
    known = {name: item for name, item in likelihoods.items() if item}
    for name in sorted(known, key=lambda name: known[name].get("nll") or 1.5):
        rankings.setdefault(known[name]["events"], []).append(name)
    return rankings


RANKS = {
    "nats of binarized images are ranked with bits": in_one_unit,
    "static and dynamic": ranked(group=lambda item: item["events"].split(",")[0]),
    "worst model comes first": ranked(reverse=True),
    "the gap of the encoder": ranked(by="negative_elbo"),
    "not ranked by bits/dim": by_any_unit,
    "keys": ranked(group=lambda item: item["events"].upper()),
    "GAN is ranked": lambda likelihoods: {**ranked()(likelihoods), "none": ["GAN"]},
}


@pytest.mark.parametrize(
    ("check", "words", "function"),
    [
        pytest.param(check, words, function, id=f"{check.__name__}: {words}")
        for check, mistakes in (
            (check_frechet_distance, FRECHET),
            (check_coverage, COVERAGE),
            (check_nats_to_bits_per_dim, BITS),
            (check_average_over_draws, DRAWS),
            (check_rank_by_likelihood, RANKS),
        )
        for words, function in mistakes.items()
    ],
)
def test_mistake_is_named(check, words, function):
    with np.errstate(all="ignore"), pytest.raises(Mistake) as mistake:
        check(function)
    assert words in str(mistake.value)
    assert len(str(mistake.value)) <= 300


def right_coverage(samples, real, neighbours):
    return (distances(real, samples) <= radii(real, neighbours)[:, None]).any(1).mean()


@pytest.mark.parametrize(
    ("check", "function"),
    [
        (check_frechet_distance, frechet()),
        (check_coverage, right_coverage),
        (check_nats_to_bits_per_dim, scaled(lambda h, w, c: -1 / (h * w * c * LN_2))),
        (check_average_over_draws, lambda w: stable(w) - math.log(len(w))),
        (check_rank_by_likelihood, ranked()),
    ],
)
def test_right_answer_passes(check, function):
    check(function)
