"""A mean with its error; distances between two sets of features: FID and KID."""

import math
from typing import NamedTuple

import numpy as np

from tfgen.errors import UsageError, WorkError

# Features in a block of the kernel distance, as in Binkowski et al. 2018.
BLOCK = 1000


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
        raise WorkError(
            f"{len(wrong)} of {len(values)} images have no finite value, so there is no mean; "
            f"the first is image {wrong[0]} with {values[wrong[0]]:g}"
        )
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
    running = RunningMoments(features.shape[1])
    running.add(features)
    return running.moments()


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
        least = len(self._mean) + 1
        if self.n < least:
            raise UsageError(
                f"{self.n} images are too few for a covariance of {len(self._mean)} features; "
                f"the least is {least}"
            )
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
    return float(difference @ difference + trace - 2 * cross)


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


def kid(
    features: np.ndarray, reference: np.ndarray, *, block: int = BLOCK, seed: int = 0
) -> Estimate:
    """Kernel distance and its standard error (Binkowski et al. 2018).

    The mean of `kernel_mmd` over blocks that share no image. They are independent draws, so the
    error is that of their mean. For equal distributions it is 0 in expectation; it may be negative.

    Args:
        features: of samples, `[N, D]`.
        reference: of real images, `[M, D]`.
        block: images of each set in a block; at most half of the smaller set.
        seed: of the order in which images are assigned to blocks.

    Raises:
        UsageError: a set has fewer than four images, or a block fewer than two.
    """
    fewest = min(len(features), len(reference))
    if fewest < 4 or block < 2:
        raise UsageError(f"{fewest} images in blocks of {block} are too few for a kernel distance")
    block = min(block, fewest // 2)
    rng = np.random.default_rng(seed)
    order, reference_order = rng.permutation(len(features)), rng.permutation(len(reference))
    parts = [slice(start, start + block) for start in range(0, fewest - block + 1, block)]
    distances = [
        kernel_mmd(features[order[part]], reference[reference_order[part]]) for part in parts
    ]
    error = np.std(distances, ddof=1) / np.sqrt(len(distances))
    return Estimate(float(np.mean(distances)), float(error))


def kernel_mmd(features: np.ndarray, reference: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy (Gretton et al. 2012).

    The kernel is (x·y / D + 1)³.

    Args:
        features: `[N, D]`.
        reference: `[N, D]`.
    """
    n = len(features)
    features, reference = features.astype(np.float64), reference.astype(np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    within = sum(
        k.sum() - np.trace(k) for k in (kernel(features, features), kernel(reference, reference))
    )
    return float(within / (n * (n - 1)) - 2 * kernel(features, reference).mean())
