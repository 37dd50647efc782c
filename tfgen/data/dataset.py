"""A data set: splits of images with labels, and its fingerprint."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfgen.data.mapped import blocks, read_rows
from tfgen.settings.training import TrainOn

# With fewer training images, a message says what to expect.
_FEW_IMAGES = 100
# At most so many training images, equally spaced, are read for their background.
_BACKGROUNDS = 200


@dataclass(frozen=True)
class Split:
    """Images and their labels, in the order in which they are stored.

    Attributes:
        images: uint8[N,H,W,C]; a read-only `np.memmap` if the pixels are larger than memory allows.
        labels: int64[N], or None.
    """

    images: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def take(self, start: int, stop: int) -> "Split":
        """The rows from `start` up to `stop`, which is excluded; copies no image."""
        labels = None if self.labels is None else self.labels[start:stop]
        return Split(self.images[start:stop], labels)


@dataclass(frozen=True)
class Dataset:
    """A data set, in memory or mapped from files.

    Attributes:
        name: its TFDS name.
        version: its TFDS version.
        train: the images to train on by default.
        validation: taken from the end of the stored training images.
        test: never trained on.
        num_classes: number of classes, None without labels.
        fingerprint: SHA-256 (hex) of all pixels, labels and shapes, split by split.
        class_names: names of the classes by label; None if they have none but their numbers.
        joined: train followed by validation, where they are stored like that; else None.
        description: what the images show, and their licence; empty if it is unknown.
    """

    name: str
    version: str
    train: Split
    validation: Split
    test: Split
    num_classes: int | None
    fingerprint: str
    class_names: tuple[str, ...] | None = None
    joined: Split | None = None
    description: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.train.image_shape

    def training_split(self, train_on: TrainOn = "train") -> Split:
        """The images to train on.

        Args:
            train_on: `train`, or `all` for the training images followed by the validation images.
        """
        if train_on == "train":
            return self.train
        if self.joined is not None:
            return self.joined
        splits = (self.train, self.validation)
        labels = [split.labels for split in splits if split.labels is not None]
        images = np.concatenate([split.images for split in splits])
        return Split(images, np.concatenate(labels) if labels else None)

    def count_training(self, train_on: TrainOn = "train") -> int:
        """Number of images in `training_split(train_on)`."""
        return len(self.train) + (len(self.validation) if train_on == "all" else 0)

    def to_json(self) -> dict[str, Any]:
        """Name, version, fingerprint, description, background and names of classes, for JSON.

        `background` is the mean brightness of the border of training images, one pixel wide, from
        0 (black) to 1 (white).
        """
        names = {} if self.class_names is None else {"class_names": list(self.class_names)}
        keys = "name", "version", "fingerprint", "description"
        identity = {key: getattr(self, key) for key in keys}
        count = len(self.train)
        images = read_rows(self.train.images, np.arange(0, count, -(-count // _BACKGROUNDS)))
        is_border = np.ones(self.image_shape[:2], bool)
        is_border[1:-1, 1:-1] = False
        background = round(float(images[:, is_border].mean()) / 255, 3)
        return {**identity, "background": background, **names}


def note_few(images: int) -> list[str]:
    """A line on what to expect of so few training images; none if they are not few."""
    if images >= _FEW_IMAGES:
        return []
    text = f"{images} training images are few: samples may copy or blend them, and validation is"
    return [f"{text} uncertain; to get new pictures, train on several hundred images or more"]


def count_classes(splits: Iterable[Split]) -> int | None:
    """Number of classes: the largest label + 1; None without labels."""
    largest = [int(split.labels.max()) for split in splits if split.labels is not None]
    return max(largest) + 1 if largest else None


def fingerprint(splits: Iterable[Split]) -> str:
    """SHA-256 (hex) of all pixels, labels and shapes, split by split."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(f"{split.images.shape} {split.labels is not None};".encode())
        for block in blocks(split.images):
            digest.update(block.data)
        if split.labels is not None:
            # Little-endian, so that the hash does not depend on the machine's byte order.
            digest.update(np.ascontiguousarray(split.labels, "<i8").data)
    return digest.hexdigest()
