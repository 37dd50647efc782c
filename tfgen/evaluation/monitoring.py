"""Compares samples with held-out images during training, and notices when a training fails."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.distances import frechet_distance, moments
from tfgen.evaluation.features import FEATURES, PER_FEATURE, RandomNetwork

# Samples of a comparison, and held-out images that they are compared with, at most.
SAMPLES, REFERENCE = 500, 2000
# The colours of an image are averaged over this many parts of each side, or fewer.
_PARTS = (4, 2, 1)
# Smaller differences of features are rounding errors.
_ALIKE_IMAGES = 1e-6
# Diversity is lost after 2 epochs below 50 % of the best epoch's, recovered above 75 %. If the best
# epoch's samples were all alike, there is none to lose.
_LOST, _LOST_EPOCHS, _BACK = 0.5, 2, 0.75
# Samples are alike below this diversity; after 20 such epochs they have never become diverse.
_ALIKE, _ALIKE_EPOCHS = 0.1, 20
# Epochs over which the scores of a discriminator are added up.
_SCORE_EPOCHS = 5
# A discriminator knows the training images by heart if this share of what it learned holds for them
# alone.
_BY_HEART = 0.8
# Scores of samples in training and in validation may differ by this share of what separates samples
# from training images. Beyond it, batch normalization or dropout changes the scores too much.
_SCORE_MISMATCH = 0.5
_SCORES = ("real_score", "fake_score", "val_real_score", "val_fake_score")


class SampleComparison:
    """Distance and diversity of samples, relative to held-out images.

    The features are those of `RandomNetwork`, which sees edges and textures but no colours, and the
    mean colours of 4 × 4 parts of the image. Each of the two groups is divided by its standard
    deviation over the held-out images. With few images there are fewer features, one for four
    images.

    Args:
        images: held-out images, `uint8[N, H, W, C]`; the first 2000 are used.
        labels: their classes, `int[N]`, if the samples are to have classes; else None.
        n: number of samples; at most N.

    Attributes:
        n: number of samples to compare, at most N.
        labels: the classes of the samples, `int[n]`, or None.

    Raises:
        UsageError: the images are neither grey nor RGB, fewer than two, or all alike, or there is
            not one label for each.
    """

    def __init__(self, images: np.ndarray, labels: Any = None, n: int = SAMPLES):
        images = np.asarray(images[:REFERENCE])
        self.n = min(n, len(images))
        if self.n < 2:
            raise UsageError(f"{self.n} images are too few to compare samples with; the least is 2")
        self._classes = None if labels is None else np.asarray(labels[:REFERENCE])
        if self._classes is not None and len(self._classes) != len(images):
            raise UsageError(f"{len(self._classes)} labels do not fit {len(images)} images")
        self.labels = None if self._classes is None else self._classes[: self.n]
        count = max(1, min(self.n // PER_FEATURE, FEATURES + _PARTS[0] ** 2 * images.shape[3]))
        fitting = [parts for parts in _PARTS if 2 * parts**2 * images.shape[3] <= count]
        self._parts = max(fitting, default=0)
        colours = self._parts**2 * images.shape[3]
        self._network = RandomNetwork(PER_FEATURE * (count - colours))
        self._network.check_images(images.shape[1:])
        groups = self._groups(images)
        deviations = [math.sqrt(group.var(0).mean()) if group.size else 0.0 for group in groups]
        self._scales = [deviation if deviation > _ALIKE_IMAGES else 1.0 for deviation in deviations]
        reference = self.features(images)
        self._moments = moments(reference)
        self._spread = mean_distance(reference, self._classes)
        if self._spread < _ALIKE_IMAGES:
            raise UsageError("the images to compare samples with are all alike")

    def features(self, images: np.ndarray) -> np.ndarray:
        """The features `float64[N, D]` of `uint8[N, H, W, C]`."""
        groups = zip(self._groups(images), self._scales, strict=True)
        return np.concatenate([group / scale for group, scale in groups], 1)

    def compare(self, samples: np.ndarray) -> dict[str, float]:
        """The values of an epoch's logs.

        Args:
            samples: `uint8[n, H, W, C]`, of the classes `labels`.

        Returns:
            `val_distance`: the Fréchet distance (`tfgen.evaluation.distances.fid`), divided by the
            number of features. 0 is best; copies of the mean of the held-out images have about 1.
            `diversity`: mean distance of two samples, divided by that of two held-out images. It is
            1 for samples that differ as much as these, and 0 if all are equal. With classes, the
            two images are of one class.
        """
        features = self.features(samples)
        distance = frechet_distance(moments(features), self._moments) / features.shape[1]
        diversity = mean_distance(features, self.labels) / self._spread
        return {"val_distance": distance, "diversity": diversity}

    def _groups(self, images: np.ndarray) -> list[np.ndarray]:
        """The features of the network, and the colours, `float64[N, D]` each."""
        features = self._network.extract(images).features.astype(np.float64)
        return [features, part_colours(images, self._parts)]


def part_colours(images: np.ndarray, parts: int) -> np.ndarray:
    """The mean colours of parts × parts rectangles of each image.

    Args:
        images: `uint8[N, H, W, C]`.
        parts: number of rectangles along each side; an image has no more of them than pixels.

    Returns:
        `float64[N, D]` in 0…1; D is parts² · C, or less for smaller images.
    """
    n, height, width = images.shape[:3]
    if not parts:
        return np.zeros((n, 0))
    rows, columns = (np.unique(np.arange(parts) * side // parts) for side in (height, width))
    sums = np.add.reduceat(np.add.reduceat(images, rows, 1, np.int64), columns, 2)
    areas = np.diff(rows, append=height)[:, None] * np.diff(columns, append=width)
    return (sums / (255 * areas[..., None])).reshape(n, -1)


def mean_distance(features: np.ndarray, labels: np.ndarray | None = None) -> float:
    """The mean Euclidean distance of two images in a set.

    Args:
        features: `[N, D]`, N at least 2.
        labels: classes `int[N]`; only pairs of one class count, if there are any.
    """
    centred = features - features.mean(0)
    squares = (centred**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * centred @ centred.T, 0))
    pairs = ~np.eye(len(features), dtype=bool)
    if labels is not None:
        alike = pairs & (np.asarray(labels)[:, None] == labels)
        pairs = alike if alike.any() else pairs
    return float(distances[pairs].mean())


class TrainingWatch:
    """Notices from the logs of its epochs that a training fails; says so once for each failure.

    Args:
        distance: the name of the logged distance between samples and real images.

    Attributes:
        best_epoch: the epoch with the smallest distance so far; None before the first one.
    """

    def __init__(self, distance: str = "val_distance") -> None:
        self.best_epoch: int | None = None
        self._distance = distance
        self._best, self._best_diversity = math.inf, 0.0
        self._low_epochs = self._alike_epochs = 0
        self._is_lost = self._is_by_heart = False
        self._scores: deque[list[float]] = deque(maxlen=_SCORE_EPOCHS)

    def update(self, epoch: int, logs: Mapping[str, Any]) -> list[str]:
        """The failures that the logs of an epoch show and those before did not, in words.

        Args:
            epoch: the epoch, counted from 1.
            logs: its logged values. A failure shows only if the values that tell it are there:
                the distance and `diversity`, and the scores of a discriminator, as `tfgen.GAN`
                logs them.
        """
        faults = []
        if self._distance in logs and "diversity" in logs:
            distance, diversity = float(logs[self._distance]), float(logs["diversity"])
            if distance < self._best:
                self._best, self._best_diversity, self.best_epoch = distance, diversity, epoch
            faults.append(self._lost_diversity(diversity))
        if all(name in logs for name in _SCORES):
            self._scores.append([float(np.ravel(logs[name])[0]) for name in _SCORES])
            faults.append(self._learned_by_heart())
        return [f"epoch {epoch}: {fault}" for fault in faults if fault]

    def _lost_diversity(self, diversity: float) -> str:
        """What is wrong with the samples, if anything is.

        Their diversity is compared with that of the best epoch, not with the largest: at the start
        of a training the samples may be noise, which is diverse.
        """
        share = diversity / self._best_diversity if self._best_diversity >= _ALIKE else 1.0
        self._low_epochs = self._low_epochs + 1 if share < _LOST else 0
        self._alike_epochs = self._alike_epochs + 1 if diversity < _ALIKE else 0
        has_fallen, was_lost = self._low_epochs >= _LOST_EPOCHS, self._is_lost
        is_low = has_fallen or self._alike_epochs >= _ALIKE_EPOCHS
        self._is_lost = is_low or (was_lost and (share < _BACK or diversity < _ALIKE))
        if was_lost or not is_low:
            return ""
        now = f"{diversity:.2f} of the real images'"
        fault = f"have been almost alike for {_ALIKE_EPOCHS} epochs ({now})"
        if has_fallen:
            before = f"{self._best_diversity:.2f} at epoch {self.best_epoch}"
            fault = f"have lost their diversity ({now}; {before})"
        return f"the samples {fault}: the generator may have collapsed"

    def _learned_by_heart(self) -> str:
        """What is wrong with the discriminator, if anything is.

        The criterion has no unit, as the scores of a critic have none. With the scores D of
        training images, held-out images and samples it is 1 − (D_held-out − D_samples) /
        (D_training − D_samples), which is r_v of Karras et al. 2020 ("Training generative
        adversarial networks with limited data"): 0 without overfitting, 1 if held-out images score
        as low as samples. The numerator is of validation, the denominator of training.
        """
        real, fake, held_out, fake_later = np.array(self._scores).T
        separation, mismatch = (real - fake).sum(), np.abs(fake_later - fake).sum()
        if len(real) < _SCORE_EPOCHS or mismatch > _SCORE_MISMATCH * separation:
            return ""
        share = (held_out - fake_later).sum() / separation if separation > 0 else 1.0
        if self._is_by_heart or 1 - share <= _BY_HEART:
            return ""
        self._is_by_heart = True
        fault = "the discriminator has learned the training images by heart"
        return f"{fault}: augment them, or train on more images"
