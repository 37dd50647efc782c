"""What the metrics of samples are computed from: the features of images, and who extracts them."""

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.coverage import NEIGHBOURS
from tfgen.evaluation.progress import Advance, silent


@dataclass(frozen=True)
class ImageFeatures:
    """What an extractor computes from N images.

    Attributes:
        features: `float32[N, D]`.
        classes: the most likely class of each image, `int64[N]`; None of an extractor that is no
            classifier.
    """

    features: np.ndarray
    classes: np.ndarray | None


class Extractor(abc.ABC):
    """A network that extracts features.

    Attributes:
        name: for tables.
        key: under which an evaluation holds the description, `classifier` or `features`.
    """

    name: str
    key = "features"

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """Name, and a hash of all that decides the features; metrics compare only if it is equal.

        For JSON; the hash is under `sha256`.
        """

    @abc.abstractmethod
    def check_images(self, shape: tuple[int, ...]) -> None:
        """Refuse images that the network cannot take.

        Args:
            shape: height, width, channels.

        Raises:
            UsageError: it takes other ones.
        """

    @abc.abstractmethod
    def dimensions(self, shape: tuple[int, ...]) -> int:
        """Length of the feature vector of images of `shape`, `(height, width, channels)`."""

    def num_modes(self, shape: tuple[int, ...]) -> int:
        """Number of classes of images of `shape`, `(height, width, channels)`; 0: no classes."""
        return 0

    def check_count(self, n: int, shape: tuple[int, ...]) -> None:
        """Refuse too few images for the metrics, before any sample is drawn.

        Args:
            n: number of images.
            shape: height, width, channels.

        Raises:
            UsageError: the covariance of the features would be singular, or there are fewer
                neighbours than the metrics need.
        """
        features = self.dimensions(shape)
        least = max(features, NEIGHBOURS) + 1
        if n < least:
            reason = f" for the covariance of {features} features" if n <= features else ""
            raise UsageError(f"n = {n} is too small{reason}; the least is {least}")

    @abc.abstractmethod
    def extract(self, images: np.ndarray, advance: Advance = silent) -> ImageFeatures:
        """Features of `uint8[N, H, W, C]`, and their classes if there are some.

        Args:
            images: that `check_images` accepts.
            advance: called with the number of images that were just done.
        """
