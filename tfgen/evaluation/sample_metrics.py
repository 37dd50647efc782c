"""The metrics of samples, with real images as the reference."""

from typing import Any

import numpy as np

from tfgen.evaluation.coverage import coverage, nearest
from tfgen.evaluation.distances import fid, kid
from tfgen.evaluation.features import ImageFeatures
from tfgen.evaluation.modes import ModeCounts, captured_modes

# Number of samples that `copies` names, those nearest to a training image.
PICTURED = 8
# Share of held-out images that are as near to a training image as a copy would be.
_COPIES = 0.01
# With more modes than these, the histogram of the modes is left out.
_MAX_HISTOGRAM = 100


def sample_metrics(
    samples: ImageFeatures, reference: ImageFeatures, num_modes: int
) -> dict[str, Any]:
    """All metrics of samples that are computed from features and classes, for JSON.

    Args:
        samples: of the samples.
        reference: of real images.
        num_modes: number of classes; 0 without classes.

    Returns:
        The metrics by name. `fid` is missing if the images are too few for the covariance of the
        features, metrics of classes if there are none, or fewer samples than classes.

    Raises:
        UsageError: there are too few images for the other metrics.
    """
    metrics: dict[str, Any] = {}
    if min(len(samples.features), len(reference.features)) > samples.features.shape[1]:
        metrics["fid"] = fid(samples.features, reference.features)
    kernel_distance = kid(samples.features, reference.features)
    metrics |= {
        "kid": kernel_distance.value,
        "kid_error": kernel_distance.error,
        **coverage(samples.features, reference.features)._asdict(),
    }
    if samples.classes is not None and len(samples.classes) >= num_modes:
        metrics |= class_metrics(captured_modes(samples.classes, num_modes))
    return metrics


def class_metrics(modes: ModeCounts) -> dict[str, Any]:
    """What an evaluation holds of the classes of samples, for JSON."""
    metrics = {"modes": modes.captured, "modes_kl": modes.kl, "class_entropy": modes.entropy}
    few = len(modes.histogram) <= _MAX_HISTOGRAM
    return metrics | ({"classes": modes.histogram.tolist()} if few else {})


def copies(samples: np.ndarray, held_out: np.ndarray, train: np.ndarray) -> dict[str, Any]:
    """Distances of samples and of held-out images to training images, by pixels.

    Args:
        samples: `uint8[N, H, W, C]`.
        held_out: real images that were not trained on, `uint8[M, H, W, C]`.
        train: training images, `uint8[K, H, W, C]`.

    Returns:
        `distance` and `distance_of_held_out`: median distances, for pixels in 0…1. `share_nearer`:
        share of samples that are nearer to a training image than the nearest 1 % of held-out
        images; 0.01 for images like these, higher for copies and for smooth images. `nearest`:
        indices of the samples that are nearest to a training image, each with the index of that
        image.
    """
    of_samples, of_held_out = nearest(samples, train), nearest(held_out, train)
    order = np.argsort(of_samples.distances)[:PICTURED]
    threshold = np.quantile(of_held_out.distances, _COPIES)
    # The data set may hold images twice; then the threshold is 0, and copies are not below it.
    is_copy = of_samples.distances == 0
    return {
        "distance": float(np.median(of_samples.distances)) / 255,
        "distance_of_held_out": float(np.median(of_held_out.distances)) / 255,
        "share_nearer": float((is_copy | (of_samples.distances < threshold)).mean()),
        "nearest": [[int(index), int(of_samples.indices[index])] for index in order],
    }


def noise(n: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Images of uniform noise, the ceiling of all distances: `uint8[n, *shape]`."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)
