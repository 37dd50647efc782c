"""How samples and real images lie among each other in feature space, and whether samples are
copies."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfgen.errors import UsageError

NEIGHBOURS = 5
# Entries of a matrix of distances that are in memory at a time.
_ENTRIES = 2**25


class Coverage(NamedTuple):
    """Of samples beside real images, each in 0…1 but for `density`, whose expectation is 1 between
    equals.

    Attributes:
        precision: share of samples within the real images' neighbourhoods (Kynkäänniemi et al.
            2019).
        recall: share of real images within the samples' neighbourhoods.
        density: real neighbourhoods that a sample lies in, over the number expected (Naeem et al.
            2020).
        coverage: share of real images that have a sample in their neighbourhood.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def coverage(samples: np.ndarray, real: np.ndarray, neighbours: int = NEIGHBOURS) -> Coverage:
    """Precision, recall, density and coverage, in float64, without a matrix of all distances in
    memory.

    A neighbourhood is the closed ball around an image that reaches to its k-th nearest of the same
    set.

    Args:
        samples: features, `[N, D]`.
        real: features, `[M, D]`.
        neighbours: k.

    Raises:
        UsageError: there are too few of either for k neighbours.
    """
    samples, real = (np.asarray(each, np.float64) for each in (samples, real))
    sample_radii, real_radii = (radii(each, neighbours) for each in (samples, real))
    precise, density, recalled, nearest = (
        0,
        0,
        np.zeros(len(real), bool),
        np.full(len(real), np.inf),
    )
    for rows, squared in _distances(samples, real):
        within = squared <= real_radii
        precise += int(within.any(1).sum())
        density += int(within.sum())
        recalled |= (squared <= sample_radii[rows, None]).any(0)
        nearest = np.minimum(nearest, squared.min(0))
    n = len(samples)
    return Coverage(
        precise / n,
        float(recalled.mean()),
        density / (neighbours * n),
        float((nearest <= real_radii).mean()),
    )


def radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """Squared distance of each to its k-th nearest of the others, `float64[N]`.

    Raises:
        UsageError: there are no k others, or k is not positive.
    """
    if neighbours < 1:
        raise UsageError(f"neighbours = {neighbours} is too small; the least is 1")
    if len(features) <= neighbours:
        raise UsageError(
            f"{len(features)} images are too few for {neighbours} neighbours; the least is {neighbours + 1}"
        )
    found = np.empty(len(features))
    for rows, squared in _distances(features, features):
        # Itself is no neighbour, though its distance may have been rounded to more than a twin's.
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        found[rows] = np.partition(squared, neighbours - 1, axis=1)[:, neighbours - 1]
    return found


class Nearest(NamedTuple):
    """The nearest of a set to each of another: places in it, `int[N]`, and distances,
    `float64[N]`."""

    place: np.ndarray
    distance: np.ndarray


def nearest(images: np.ndarray, others: np.ndarray) -> Nearest:
    """The nearest of `others` to each of `images` by their pixels.

    Args:
        images: `[N, …]`, of any scale.
        others: `[M, …]`, of the same.

    Returns:
        Place in `others`, and Euclidean distance.
    """
    flat, against = (
        np.asarray(each, np.float32).reshape(len(each), -1) for each in (images, others)
    )
    place, squared = np.empty(len(flat), int), np.empty(len(flat))
    for rows, found in _distances(flat, against):
        place[rows] = found.argmin(1)
    for start in range(0, len(flat), 1000):
        rows = slice(start, start + 1000)
        # Anew, in float64: the squares' differences cancel where images are near to each other.
        squared[rows] = ((flat[rows].astype(np.float64) - against[place[rows]]) ** 2).sum(1)
    return Nearest(place, np.sqrt(squared))


def _distances(rows: np.ndarray, columns: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared Euclidean distances of all rows to all columns, some rows at a time."""
    squares = np.einsum("ij,ij->i", columns, columns)
    size = max(1, _ENTRIES // max(1, len(columns)))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        squared = part @ columns.T
        squared *= -2
        squared += np.einsum("ij,ij->i", part, part)[:, None]
        squared += squares
        yield slice(start, start + len(part)), np.maximum(squared, 0, out=squared)
