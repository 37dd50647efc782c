"""Test images of the data sets that are at hand: nothing is downloaded."""

import re
import threading
from pathlib import Path

import numpy as np

_NAME = re.compile(r"(?P<base>[a-z]\w*)(/(?P<config>\w[\w.-]*))?(:\d+\.\d+\.\d+)?")
# What comes with tfgen, or is made from it.
_EMBEDDED = ("mnist", "colored_mnist", "stacked_mnist")


class DataImages:
    """Test images of data sets.

    Args:
        data_dir: folder of prepared data sets; None: only what comes with tfgen is at hand.
    """

    def __init__(self, data_dir: Path | None = None):
        self.data_dir = data_dir
        self._lock = threading.Lock()

    def is_at_hand(self, name: str) -> bool:
        """Whether a data set can be read without a download."""
        return name in _EMBEDDED or self._is_prepared(name)

    def _is_prepared(self, name: str) -> bool:
        match = _NAME.fullmatch(name)
        if match is None or self.data_dir is None:
            return False
        folder = self.data_dir / match["base"] / (match["config"] or "")
        return any(folder.glob("*.*.*/features.json"))

    def read(self, name: str, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The first test images of a data set.

        Args:
            name: its name.
            n: number of images; fewer if there are not so many.

        Returns:
            `uint8[n, H, W, C]`, and their labels, `int64[n]`, or None.

        Raises:
            UsageError: the data set is damaged.
        """
        from tfgen.data.load import divide, find_prepared, is_derived, load

        folder = self.data_dir if self._is_prepared(name) else None
        with self._lock:  # TFDS is not made for several threads
            if is_derived(name, folder):
                test = load(name).test.take(0, n)
                return np.array(test.images), test.labels
            prepared = find_prepared(name, folder)
            split, start, end = divide(prepared.name, prepared.counts)["test"]
            images: list[np.ndarray] = []
            labels: list[np.ndarray] = []
            position = 0
            for batch, batch_labels in prepared.batches(split):
                part = slice(max(0, start - position), min(start + n, end) - position)
                position += len(batch)
                images.append(batch[part])
                if batch_labels is not None:
                    labels.append(batch_labels[part])
                if position >= min(start + n, end):
                    break
        classes = np.concatenate(labels) if labels else None
        return np.concatenate(images), prepared.check_labels(split, classes)
