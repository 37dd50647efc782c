"""A mean with its error; distances between two sets of features: FID and KID."""

import math
from typing import NamedTuple

import numpy as np

from tfgen.errors import UsageError, WorkError

# Rows of the kernel's matrix that are in memory at a time.
_ROWS = 1000


class Estimate(NamedTuple):
    """A mean and its standard error."""

    value: float
    error: float


def mean(values: np.ndarray) -> Estimate:
    """The mean of values of independent images, `[N]`.

    Raises:
        WorkError: a value is not finite.
    """
    values = values.astype(np.float64)
    if len(wrong := np.flatnonzero(~np.isfinite(values))):
        first = f"the first is image {wrong[0]} with {values[wrong[0]]:g}"
        raise WorkError(f"{len(wrong)} of {len(values)} images have no finite value; {first}")
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))


class Moments(NamedTuple):
    """Mean and covariance of a set of features, as the FID takes them (Heusel et al. 2017).

    Attributes:
        mean: `float64[D]`.
        covariance: `float64[D, D]`.
    """

    mean: np.ndarray
    covariance: np.ndarray


def moments(features: np.ndarray) -> Moments:
    """Mean and unbiased covariance of `features`, `[N, D]`, for the FID (Heusel et al. 2017).

    Raises:
        UsageError: N is at most D, so the covariance would be singular.
    """
    _check_count(*features.shape)  # before the memory of a large covariance is taken
    running = RunningMoments(features.shape[1])
    running.add(features)
    return running.moments()


def _check_count(n: int, dimensions: int) -> None:
    if n <= dimensions:
        least = dimensions + 1
        raise UsageError(f"{n} images are too few for {dimensions} features; the least is {least}")


class RunningMoments:
    """The moments of features that come a batch at a time, in float64 and constant memory.

    Each batch is centred at its own mean, and the sums of products are merged as in Chan, Golub &
    LeVeque 1983 ("Algorithms for computing the sample variance"). So nothing cancels where the mean
    is large beside the standard deviation, as it does in E[xxᵀ] − μμᵀ.

    Args:
        dimensions: number of features, D.

    Attributes:
        n: number of images so far.
    """

    def __init__(self, dimensions: int):
        self.n = 0
        self._mean = np.zeros(dimensions)
        # The sum of (x − μ)(x − μ)ᵀ.
        self._products = np.zeros((dimensions, dimensions))

    def add(self, features: np.ndarray) -> None:
        """Takes a batch of features, `[N, D]`, into account."""
        size = len(features)
        if not size:
            return
        features = features.astype(np.float64)
        mean = features.mean(0)
        features -= mean
        self._products += features.T @ features
        difference, total = mean - self._mean, self.n + size
        self._products += np.outer(difference, difference) * (self.n * size / total)
        self._mean += difference * (size / total)
        self.n = total

    def moments(self) -> Moments:
        """Mean and unbiased covariance of all features.

        Raises:
            UsageError: there are at most D images, so the covariance would be singular.
        """
        _check_count(self.n, len(self._mean))
        return Moments(self._mean.copy(), self._products / (self.n - 1))


def frechet_distance(first: Moments, second: Moments) -> float:
    """Fréchet distance of two normal distributions (Dowson & Landau 1982).

    It is ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 √(Σ₁ Σ₂)). The trace of the root is the sum of the roots of
    the eigenvalues of √Σ₁ Σ₂ √Σ₁, which is symmetric. So the root of a general matrix, which may be
    complex, is never needed.

    Args:
        first: μ₁ and Σ₁.
        second: μ₂ and Σ₂.
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second.covariance @ root)
    cross = np.sqrt(np.maximum(product, 0)).sum()
    difference = first.mean - second.mean
    trace = np.trace(first.covariance) + np.trace(second.covariance)
    # By rounding, the distance of equal distributions may be slightly negative.
    return max(0.0, float(difference @ difference + trace - 2 * cross))


def fid(features: np.ndarray, reference: np.ndarray) -> float:
    """Fréchet distance of normals fitted to the features (Heusel et al. 2017).

    The paper's features come from Inception; values compare only for the same kind of features.

    Args:
        features: of samples, `[N, D]`.
        reference: of real images, `[M, D]`.

    Raises:
        UsageError: a set has at most D images.
    """
    return frechet_distance(moments(features), moments(reference))


def kid(features: np.ndarray, reference: np.ndarray) -> Estimate:
    """Kernel distance and its standard error (Binkowski et al. 2018).

    The unbiased squared maximum mean discrepancy (Gretton et al. 2012) of all images, with the
    kernel (x·y / D + 1)³. For equal distributions it is 0 in expectation; it may be negative.

    Its variance has a part of first order, 4 ζ / n of each set, and one of second order, of the
    kernel centred by rows and columns; for equal distributions, only the second is not 0. The
    jackknife estimates the first plus twice the second (Efron & Stein 1981); therefore an estimate
    of the second is subtracted. A negative estimate of the first is replaced by 0, so the error is
    up to a quarter too large if the distributions are equal.

    Args:
        features: of samples, `[N, D]`.
        reference: of real images, `[M, D]`.

    Raises:
        UsageError: a set has fewer than two images.
    """
    sizes = len(features), len(reference)
    if min(sizes) < 2:
        raise UsageError(f"{min(sizes)} images are too few for a kernel distance; the least is 2")
    points = np.concatenate([features, reference]).astype(np.float64)
    # Sums of the kernel and of its square, of each image with all others of each set.
    sums = np.empty((2, len(points), 2))
    for start in range(0, len(points), _ROWS):
        rows = slice(start, start + _ROWS)
        kernel = points[rows] @ points.T / points.shape[1] + 1
        kernel *= kernel * kernel
        np.fill_diagonal(kernel[:, start:], 0)
        sums[0, rows] = np.add.reduceat(kernel, (0, sizes[0]), axis=1)
        kernel *= kernel
        sums[1, rows] = np.add.reduceat(kernel, (0, sizes[0]), axis=1)

    def means(values: np.ndarray) -> np.ndarray:
        """Means over the images of each set, `[2, 2]`."""
        return np.stack([part.mean(0) for part in np.split(values, sizes[:1])])

    others = np.subtract(sizes, np.eye(2))
    averages, squares = sums / np.repeat(others, sizes, axis=0)
    mean, square = means(averages), means(averages**2)
    centred = means(squares) - square - square.T + mean**2
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    second = float((2 * centred / pairs).sum())
    parts = np.split(averages[:, 0] - averages[:, 1], sizes[:1])
    jackknife = sum(4 * float(part.var(ddof=1)) / len(part) for part in parts)
    value = 2 * float(np.trace(mean)) - float(mean.sum())
    return Estimate(value, math.sqrt(max(jackknife - second, second)))
