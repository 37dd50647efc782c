"""Precision, recall, density, coverage in feature space; nearest images by pixels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfgen.data.mapped import blocks
from tfgen.errors import UsageError

NEIGHBOURS = 5
# Entries of a distance matrix that are in memory at a time.
_ENTRIES = 2**25
# Pixels of candidates that are in memory at a time, in float32.
_VALUES = 2**27


class Coverage(NamedTuple):
    """How samples and real images overlap; each value is in 0…1, except `density`.

    Attributes:
        precision: share of samples within the neighbourhood of a real image (Kynkäänniemi et al.
            2019, "Improved precision and recall metric for assessing generative models").
        recall: share of real images within the neighbourhood of a sample.
        density: real neighbourhoods that contain a sample, relative to the expected number (Naeem
            et al. 2020, "Reliable fidelity and diversity metrics for generative models"); 1 in
            expectation for equal distributions.
        coverage: share of real images with a sample in their neighbourhood.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def coverage(samples: np.ndarray, real: np.ndarray, neighbours: int = NEIGHBOURS) -> Coverage:
    """Precision, recall, density and coverage, in float64.

    Kynkäänniemi et al. 2019 define the first two, Naeem et al. 2020 the last two; see `Coverage`.

    The neighbourhood of an image is the closed ball that reaches to its k-th nearest neighbour in
    the same set. Distances are computed in blocks; the whole matrix is never in memory.

    Args:
        samples: features, `[N, D]`.
        real: features, `[M, D]`.
        neighbours: k.

    Raises:
        UsageError: a set has fewer than k + 1 images, or k is not positive.
    """
    samples, real = samples.astype(np.float64), real.astype(np.float64)
    sample_radii, real_radii = squared_radii(samples, neighbours), squared_radii(real, neighbours)
    precise, contained = 0, 0
    recalled, nearest_squared = np.zeros(len(real), bool), np.full(len(real), np.inf)
    for rows, squared in _squared_distances(samples, real):
        within = squared <= real_radii
        precise += int(within.any(1).sum())
        contained += int(within.sum())
        recalled |= (squared <= sample_radii[rows, None]).any(0)
        nearest_squared = np.minimum(nearest_squared, squared.min(0))
    n, covered = len(samples), nearest_squared <= real_radii
    density = contained / (neighbours * n)
    return Coverage(precise / n, float(recalled.mean()), density, float(covered.mean()))


def squared_radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """Squared distance to the k-th nearest neighbour in the set, `float64[N]`.

    Args:
        features: `[N, D]`.
        neighbours: k.

    Raises:
        UsageError: there are fewer than k + 1 images, or k is not positive.
    """
    if not 0 < neighbours < len(features):
        raise UsageError(f"{len(features)} images have no {neighbours} neighbours each")
    radii = np.empty(len(features))
    for rows, squared in _squared_distances(features, features):
        # An image is no neighbour of itself. By rounding, it may be further away than its copy.
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(squared, neighbours - 1, axis=1)[:, neighbours - 1]
    return radii


class Nearest(NamedTuple):
    """The nearest candidates of N images.

    Attributes:
        indices: of the candidates, `int[N]`.
        distances: from the images, `float64[N]`.
        second: distances to the second nearest candidates, `float64[N]`; infinite if there is one.
    """

    indices: np.ndarray
    distances: np.ndarray
    second: np.ndarray

    @property
    def is_copy(self) -> np.ndarray:
        """Whether an image looks copied from a candidate, `bool[N]`.

        The nearest candidate is less than a third as far as the second nearest (Yoon et al. 2023,
        "Diffusion probabilistic models generalize when they fail to memorize"). A blurred image,
        which is about as near to many candidates, does not. A candidate may be there twice.
        """
        return (self.distances == 0) | (3 * self.distances < self.second)


def nearest(images: np.ndarray, candidates: np.ndarray) -> Nearest:
    """The nearest candidate of each image, by the Euclidean distance of pixels.

    Args:
        images: `[N, …]`, of any scale.
        candidates: `[M, …]`, of the same shape and scale, in memory or mapped from a file.
    """
    rows_flat = np.asarray(images, np.float32).reshape(len(images), -1)
    indices, least = np.zeros(len(images), int), np.full(len(images), np.inf)
    second = least.copy()
    start = 0
    for part in blocks(candidates, max(1, _VALUES // max(1, rows_flat.shape[1]))):
        columns_flat = np.asarray(part, np.float32).reshape(len(part), -1)
        for rows, squared in _squared_distances(rows_flat, columns_flat):
            columns = squared.argmin(1)
            order = np.arange(len(squared))
            values = squared[order, columns]
            squared[order, columns] = np.inf
            is_nearer = values < least[rows]
            runner_up = np.where(is_nearer, least[rows], values)
            second[rows] = np.minimum(np.minimum(second[rows], runner_up), squared.min(1))
            indices[rows] = np.where(is_nearer, start + columns, indices[rows])
            least[rows] = np.where(is_nearer, values, least[rows])
        start += len(part)
    distances = np.empty(len(images))
    for start in range(0, len(images), 1000):
        rows = slice(start, start + 1000)
        # Again in float64: in the sum of squares, small distances cancel.
        part = rows_flat[rows].astype(np.float64)
        part -= np.asarray(candidates[indices[rows]], np.float32).reshape(part.shape)
        distances[rows] = (part**2).sum(1)
    return Nearest(indices, np.sqrt(distances), np.sqrt(second))


def _squared_distances(rows: np.ndarray, columns: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared Euclidean distances of rows to all columns, a block of rows at a time."""
    squares = np.einsum("ij,ij->i", columns, columns)
    size = max(1, _ENTRIES // max(1, len(columns)))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        squared = part @ columns.T
        squared *= -2
        squared += np.einsum("ij,ij->i", part, part)[:, None]
        squared += squares
        yield slice(start, start + len(part)), np.maximum(squared, 0, out=squared)
