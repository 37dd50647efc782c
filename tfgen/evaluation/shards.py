"""Evaluate shards of `tfgen-sample`, which are read once, a batch at a time."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.data.shards import Manifest, read_manifest, read_shards
from tfgen.errors import UsageError
from tfgen.evaluation.distances import RunningMoments, frechet_distance, moments
from tfgen.evaluation.features import Extractor, ImageFeatures
from tfgen.evaluation.job import Advance, silent
from tfgen.evaluation.metrics import class_metrics
from tfgen.evaluation.modes import counted_modes
from tfgen.evaluation.sources import SampleSource, drawn, title

# Images that are decoded, and of which features are extracted, at once.
BATCH = 500


def find_shards(folder: Path) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        UsageError: shards are missing.
        WorkError: the manifest is damaged, or a shard is missing or has another size.
    """
    manifest = read_manifest(folder)
    for shard in manifest.shards:
        shard.check(folder, hashes=False)  # which reading compares
    return manifest


def open_shards(folder: Path, manifest: Manifest, most: int, seed: int) -> SampleSource:
    """Open a folder of shards for evaluation; reads no shard.

    If there are more than `most` images, the metrics that need single images use a random subset of
    that size, in order.

    Args:
        folder: of the shards.
        manifest: what `find_shards` returned for it.
        most: number of images that are evaluated one by one.
        seed: of the draw.
    """
    request = manifest.request
    shards = json.dumps([shard.to_json() for shard in manifest.shards], sort_keys=True)
    return SampleSource(
        title=title(folder),
        path=folder,
        kind="images",
        weights_sha256=hashlib.sha256(shards.encode()).hexdigest(),
        image_shape=tuple(request.image_shape),
        num_classes=request.num_classes,
        training=request.training,
        indices=drawn(request.n, most, seed),
        reading={"available": request.n, "request": request.to_json()},
    )


class ShardSummary:
    """What is computed of all images of a folder, in memory that does not depend on their number.

    Args:
        source: the folder.
        extractor: of features.

    Attributes:
        images: those that are evaluated one by one, `uint8[n, H, W, C]`.
        features: of these images, `float32[n, D]`.
        classes: of these images, `int64[n]`; None of an extractor without classes.
        moments: of the features of all images.
        histogram: images of each class, `int64[K]`; K is 0 without classes.
        agreeing: images whose class is their label; None where this has no meaning.
    """

    def __init__(self, source: SampleSource, extractor: Extractor):
        assert source.indices is not None
        shape, n = source.image_shape, len(source.indices)
        dimensions, num_modes = extractor.dimensions(shape), extractor.num_modes(shape)
        self._source, self._indices, self._extractor = source, source.indices, extractor
        self.images = np.empty((n, *shape), np.uint8)
        self.features = np.empty((n, dimensions), np.float32)
        self.classes = np.empty(n, np.int64) if num_modes else None
        self.moments = RunningMoments(dimensions)
        self.histogram = np.zeros(num_modes, np.int64)
        has_same_classes = num_modes and num_modes == source.num_classes
        self.agreeing = 0 if has_same_classes else None

    def read(self, advance: Advance = silent) -> None:
        """Reads all shards once, and checks each by its hash.

        Args:
            advance: called with the number of images that were just done.

        Raises:
            WorkError: a shard is missing or damaged.
        """
        start = 0
        for batch in read_shards(self._source.path, BATCH):
            stop = start + len(batch.images)
            computed = self._extractor.extract(batch.images)
            self.moments.add(computed.features)
            rows = slice(*np.searchsorted(self._indices, (start, stop)))
            columns = self._indices[rows] - start
            self.images[rows] = batch.images[columns]
            self.features[rows] = computed.features[columns]
            if computed.classes is not None and self.classes is not None:
                self.classes[rows] = computed.classes[columns]
                self.histogram += np.bincount(computed.classes, minlength=len(self.histogram))
            if self.agreeing is not None:
                self.agreeing += int((np.asarray(computed.classes) == batch.labels).sum())
            advance(stop - start)
            start = stop

    @property
    def image_features(self) -> ImageFeatures:
        """Features and classes of the images that are evaluated one by one."""
        return ImageFeatures(self.features, self.classes)

    def metrics(self, reference: np.ndarray) -> dict[str, Any]:
        """The metrics of all images, for JSON.

        Args:
            reference: features of real images, `[M, D]`.

        Returns:
            `n`, the number of images; `fid`, unless there are too few images for the covariance;
            the metrics of classes, if there are some; for a conditional model with the classes of
            the extractor `label_accuracy`, the share of images whose class is their label.
        """
        n = self.moments.n
        metrics: dict[str, Any] = {"n": n}
        with contextlib.suppress(UsageError):  # too few images for the covariance
            metrics["fid"] = frechet_distance(self.moments.moments(), moments(reference))
        if 0 < len(self.histogram) <= n:
            metrics |= class_metrics(counted_modes(self.histogram))
        if self.agreeing is not None:
            metrics["label_accuracy"] = self.agreeing / n
        return metrics
