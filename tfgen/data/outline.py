"""What a data set holds, without decoding it."""

import math
from dataclasses import dataclass
from pathlib import Path

from tfgen.data import cache
from tfgen.data.dataset import Dataset
from tfgen.data.load import divide, find_prepared, is_derived, load
from tfgen.settings.training import TrainOn


@dataclass(frozen=True)
class Outline:
    """Shapes and counts of a data set.

    Attributes:
        name: its TFDS name.
        image_shape: height, width, channels.
        num_classes: number of classes, None without labels.
        train: number of images to train on by default.
        validation: number of images taken from the end of the stored training images.
        test: number of images that are never trained on.
        in_memory: whether the pixels are held in memory; else they are mapped from the cache.
        cache_bytes: bytes that decoding it will still write into the cache.
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int | None
    train: int
    validation: int
    test: int
    in_memory: bool = True
    cache_bytes: int = 0

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.image_shape)

    def count_training(self, train_on: TrainOn = "train") -> int:
        """Number of images to train on; see `Dataset.training_split`."""
        return self.train + (self.validation if train_on == "all" else 0)

    @classmethod
    def of(cls, dataset: Dataset) -> "Outline":
        """The outline of a loaded data set."""
        return cls(
            name=dataset.name,
            image_shape=dataset.image_shape,
            num_classes=dataset.num_classes,
            train=len(dataset.train),
            validation=len(dataset.validation),
            test=len(dataset.test),
            in_memory=cache.pixel_folder(dataset.train.images) is None,
        )


def outline(name: str, data_dir: Path | None = None) -> Outline:
    """The outline of a data set, which is downloaded if it is missing.

    A data set that is made from another one is small, and is made for this.

    Args:
        name: as `tfgen.data.load` takes it.
        data_dir: as `tfgen.data.load` takes it.

    Raises:
        UsageError: the name is unknown, or the folder is damaged or holds another data set.
        WorkError: the data set is not in the folder and could not be downloaded.
    """
    if is_derived(name, data_dir):
        return Outline.of(load(name, data_dir))
    prepared = find_prepared(name, data_dir)
    places = divide(prepared.name, prepared.counts)
    sizes = {split: end - start for split, (_, start, end) in places.items()}
    in_memory = prepared.nbytes <= cache.MAX_IN_MEMORY
    is_decoded = in_memory or cache.is_cached(prepared)
    return Outline(
        name=prepared.name,
        image_shape=prepared.image_shape,
        num_classes=prepared.num_classes,
        **sizes,
        in_memory=in_memory,
        cache_bytes=0 if is_decoded else cache.disk_bytes(prepared),
    )
