"""The frozen classifier that looks at images, and what is measured on what it sees."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfgen import registry
from tfgen.data import Dataset
from tfgen.errors import UsageError
from tfgen.evaluation.coverage import NEIGHBOURS, coverage, nearest
from tfgen.evaluation.distances import fid, kid
from tfgen.evaluation.modes import captured_modes
from tfgen.evaluation.progress import Advance, silent
from tfgen.publishing import versions

# Images that the classifier sees at once.
BATCH = 500
# Samples that come nearest to training images.
PICTURED = 8
# Share of held-out images whose distance to their nearest training image counts as a copy's.
_COPIES = 0.01


@dataclass(frozen=True)
class Seen:
    """What a classifier finds in N images.

    Attributes:
        features: `float32[N, D]`.
        classes: the likeliest of each, `int64[N]`.
    """

    features: np.ndarray
    classes: np.ndarray


class Judge:
    """A published classifier. Images of several times its channels it sees one after the other.

    Their features are put side by side, and their classes spell a number, as those of Stacked MNIST
    do.

    Args:
        version: of a classifier.

    Raises:
        UsageError: it is no classifier.
        WorkError: it is damaged.
    """

    def __init__(self, version: versions.Version):
        self._version = versions.Sampler(version)
        signatures = self._version.manifest["signatures"]
        if "features" not in signatures:
            raise UsageError(
                f"{version.path} is no classifier; train one with: tfgen-train classifier"
            )
        self._image_shape = tuple(signatures["features"]["inputs"]["images"]["shape"][1:])
        outputs = signatures["features"]["outputs"]
        self._units, self._classes = (
            int(outputs[name]["shape"][-1]) for name in ("features", "logits")
        )

    def describe(self) -> dict[str, Any]:
        """Name, version, and a hash of all its files: numbers of different hashes do not
        compare."""
        files = json.dumps(self._version.manifest["files"], sort_keys=True)
        return {
            "name": self._version.name,
            "version": self._version.number,
            "sha256": hashlib.sha256(files.encode()).hexdigest(),
        }

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Refuses images that it was not made for.

        Raises:
            UsageError: their size or channels are others.
        """
        if shape[:2] != self._image_shape[:2] or shape[2] % self._image_shape[2]:
            raise UsageError(
                f"classifier {self._version.name} sees images of {self._image_shape}, not of {shape}; train "
                "one on that data set and name it with --classifier"
            )

    def dimensions(self, shape: tuple[int, ...]) -> int:
        """Length of a feature vector of such images."""
        return self._units * (shape[2] // self._image_shape[2])

    def num_modes(self, shape: tuple[int, ...]) -> int:
        """Classes that such images may have."""
        return int(self._classes ** (shape[2] // self._image_shape[2]))

    def see(self, images: np.ndarray, advance: Advance = silent) -> Seen:
        """Features and classes of `uint8[N, H, W, C]`."""
        depth = self._image_shape[2]
        features, classes = [], []
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            looks = [
                self._version.call(
                    "features", images=np.ascontiguousarray(part[..., first : first + depth])
                )
                for first in range(0, part.shape[3], depth)
            ]
            features.append(np.concatenate([look["features"] for look in looks], axis=1))
            number = np.zeros(len(part), np.int64)
            for look in looks:
                number = number * self._classes + look["logits"].argmax(1)
            classes.append(number)
            advance(len(part))
        return Seen(np.concatenate(features), np.concatenate(classes))


def plain_dataset(name: str) -> str:
    """The data set whose classifier sees a data set: stacked images are seen channel by channel."""
    return name.removeprefix("stacked_")


def default_classifier(dataset: str) -> str:
    """Name of a data set's classifier."""
    entry = registry.family("classifier")
    return registry.default_name(
        entry.name, plain_dataset(dataset), entry.presets[entry.default_preset].model
    )


def open_judge(dataset: str, name: str | None, saved_models: Path) -> Judge:
    """The classifier of a name, or the data set's own.

    A shipped one is preferred to what was trained here under its name, so that numbers compare; its
    folder may be given in place of a name.

    Raises:
        UsageError: there is none.
        WorkError: it is damaged.
    """
    if (
        name is not None
        and (path := Path(name)).name.isdecimal()
        and (path / versions.MANIFEST).is_file()
    ):
        return Judge(versions.Version(path.parent.name, int(path.name), path))
    name = name or default_classifier(dataset)
    shipped = versions.shipped_folder()
    # Its first version alone: in a checkout the folder has what was trained there as well.
    if versions.SHIPPED in versions.version_numbers(shipped / name):
        return Judge(versions.find(name, shipped, versions.SHIPPED))
    try:
        return Judge(versions.find(name, saved_models))
    except UsageError as error:
        raise UsageError(
            f"there is no classifier {name!r} to judge samples by ({error}); "
            f"train it with: tfgen-train classifier --dataset {plain_dataset(dataset)}"
        ) from error


def judged(seen: Seen, reference: Seen, num_modes: int) -> dict[str, Any]:
    """All figures of samples beside real images, for JSON.

    Args:
        seen: the samples.
        reference: the real images.
        num_modes: classes there may be.

    Raises:
        UsageError: there are too few images.
    """
    kernel = kid(seen.features, reference.features)
    modes = captured_modes(seen.classes, num_modes) if len(seen.classes) >= num_modes else None
    found: dict[str, Any] = {
        "fid": fid(seen.features, reference.features),
        "kid": kernel.value,
        "kid_error": kernel.error,
        **coverage(seen.features, reference.features)._asdict(),
    }
    if modes is not None:
        found |= {"modes": modes.captured, "modes_kl": modes.kl, "class_entropy": modes.entropy}
        if num_modes <= 100:
            found["classes"] = modes.histogram.tolist()
    return found


def copies(samples: np.ndarray, held_out: np.ndarray, train: np.ndarray) -> dict[str, Any]:
    """How near samples come to training images, by pixels, beside how near held-out images do.

    Args:
        samples: `uint8[N, H, W, C]`.
        held_out: real images that were not trained on.
        train: those that were.

    Returns:
        The median distance of both, grey values of 0…1; the share of samples nearer to a training
        image than the nearest 1 % of held-out ones are, 0.01 for images like these and more for
        copies, but for smooth ones as well; the places of the nearest samples and of their training
        images.
    """
    near, floor = nearest(samples, train), nearest(held_out, train)
    order = np.argsort(near.distance)[:PICTURED]
    return {
        "distance": float(np.median(near.distance)) / 255,
        "distance_of_held_out": float(np.median(floor.distance)) / 255,
        "share_nearer": float((near.distance < np.quantile(floor.distance, _COPIES)).mean()),
        "nearest": [[int(place), int(near.place[place])] for place in order],
    }


def noise(n: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Images of uniform bytes, the ceiling of all distances: `uint8[n, *shape]`."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def check_enough(judge: Judge, dataset: Dataset, n: int) -> None:
    """Refuses too few samples before any are drawn.

    Raises:
        UsageError: fewer than a covariance or neighbours need.
    """
    features = judge.dimensions(dataset.image_shape)
    if n <= max(features, NEIGHBOURS):
        raise UsageError(
            f"n = {n} is too small for the covariance of {features} features; the least is "
            f"{max(features, NEIGHBOURS) + 1}"
        )
