"""Distances between the distributions of two sets of features: FID and KID."""

from typing import NamedTuple

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.estimate import Estimate

# Features of one block of the kernel distance, as Binkowski et al. and others after them have it.
BLOCK = 1000


class Moments(NamedTuple):
    """Mean `float64[D]` and covariance `float64[D, D]` of a set of features."""

    mean: np.ndarray
    covariance: np.ndarray


def moments(features: np.ndarray) -> Moments:
    """Mean and unbiased covariance of features `[N, D]`.

    Raises:
        UsageError: fewer features than dimensions and one more: the covariance would be singular.
    """
    needed = features.shape[1] + 1
    if len(features) < needed:
        raise UsageError(
            f"{len(features)} images are too few for a covariance of {features.shape[1]} features; "
            f"the least is {needed}"
        )
    features = features.astype(np.float64)
    # Of a single feature NumPy gives a number.
    return Moments(features.mean(0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(one: Moments, other: Moments) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 √(Σ₁ Σ₂)), between normal distributions (Dowson & Landau 1982).

    The trace of the root is the sum of the roots of the eigenvalues of √Σ₁ Σ₂ √Σ₁, which is
    symmetric: no root of a general matrix is taken, nor a complex one thrown away.
    """
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ other.covariance @ root)
    cross = np.sqrt(np.maximum(product, 0)).sum()
    difference = one.mean - other.mean
    trace = np.trace(one.covariance) + np.trace(other.covariance)
    return float(difference @ difference + trace - 2 * cross)


def fid(features: np.ndarray, reference: np.ndarray) -> float:
    """Fréchet distance between the normals of the same moments (Heusel et al. 2017, there of
    Inception's).

    Args:
        features: of samples, `[N, D]`.
        reference: of real images, `[M, D]`.

    Raises:
        UsageError: there are too few.
    """
    return frechet_distance(moments(features), moments(reference))


def kid(
    features: np.ndarray, reference: np.ndarray, *, block: int = BLOCK, seed: int = 0
) -> Estimate:
    """Kernel distance (Binkowski et al. 2018, "Demystifying MMD GANs"), and its standard error.

    The mean of `kernel_mmd` over blocks that have no image in common, so they are independent draws
    and the error is that of their mean. It is 0 in expectation between equal distributions, and may
    be negative.

    Args:
        features: of samples, `[N, D]`.
        reference: of real images, `[M, D]`.
        block: features of either side in a block; with fewer than two such, two blocks of half of
            all.
        seed: of the order in which features fall into blocks.

    Raises:
        UsageError: fewer than four of either, or than two in a block.
    """
    if block < 2:
        raise UsageError(f"block = {block} is too small; the least is 2")
    fewest = min(len(features), len(reference))
    if fewest < 4:
        raise UsageError(f"{fewest} images are too few for a kernel distance; the least is 4")
    block = min(block, fewest // 2)
    rng = np.random.default_rng(seed)
    one, other = (rng.permutation(len(each)) for each in (features, reference))
    parts = [slice(start, start + block) for start in range(0, fewest - block + 1, block)]
    distances = [kernel_mmd(features[one[part]], reference[other[part]]) for part in parts]
    return Estimate(
        float(np.mean(distances)), float(np.std(distances, ddof=1) / np.sqrt(len(distances)))
    )


def kernel_mmd(one: np.ndarray, other: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x·y / D + 1)³ (Gretton et al.
    2012).

    Args:
        one: features, `[N, D]`.
        other: as many, `[N, D]`.

    Raises:
        UsageError: they are not as many, or fewer than two.
    """
    n = len(one)
    if n != len(other) or n < 2:
        raise UsageError(
            f"sets of {n} and {len(other)} do not do; they must be as large, and at least of 2"
        )
    one, other = one.astype(np.float64), other.astype(np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    within = sum(k.sum() - np.trace(k) for k in (kernel(one, one), kernel(other, other)))
    return float(within / (n * (n - 1)) - 2 * kernel(one, other).mean())
