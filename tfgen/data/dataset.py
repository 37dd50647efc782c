"""A data set in memory: its splits, and what tells it from every other one."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
        images: uint8[N,H,W,C].
        labels: int64[N], or None.
    """

    images: np.ndarray
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
        name: what TFDS calls it.
        version: its TFDS version.
        train: the images to train on.
        validation: taken from the end of the stored train images.
        test: never trained on.
        num_classes: number of classes, None without labels.
        fingerprint: SHA-256 (hex) of all pixels, labels and shapes, split by split.
    """

    name: str
    version: str
    train: Split
    validation: Split
    test: Split
    num_classes: int | None
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


def fingerprint(splits: Iterable[Split]) -> str:
    """SHA-256 (hex) of all pixels, labels and shapes, split by split."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(f"{split.images.shape} {split.labels is not None};".encode())
        digest.update(np.ascontiguousarray(split.images).data)
        if split.labels is not None:
            # The same on machines of either byte order.
            digest.update(np.ascontiguousarray(split.labels, "<i8").data)
    return digest.hexdigest()
