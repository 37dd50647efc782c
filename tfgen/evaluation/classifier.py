"""The classifier that the metrics of samples take features from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen import registry
from tfgen.errors import UsageError, size_text
from tfgen.evaluation.features import Extractor, ImageFeatures
from tfgen.models.base import ImageModel
from tfgen.publishing import versions
from tfgen.publishing.export import weights_sha256
from tfgen.publishing.sampler import Sampler
from tfgen.publishing.versions import Version


class FeatureClassifier(Extractor):
    """A classifier as an extractor of features.

    Images with a multiple of its channels are passed to it part by part: the features of the parts
    are concatenated, and their classes are the digits of one number, as in Stacked MNIST.

    Args:
        source: a published version, opened or not, a `tfgen.Classifier`, or another model that
            offers the signature `features`.

    Raises:
        UsageError: it is of another model.
        WorkError: the version is damaged.
    """

    key, batch_size = "classifier", 500

    def __init__(self, source: Any):
        source = Sampler(source) if isinstance(source, Version) else source
        self._features: Callable[[np.ndarray], Mapping[str, Any]]
        if isinstance(source, Sampler) and source.has_signature("features"):
            spec = source.signature("features").inputs["images"]
            self._features = lambda images: source.call("features", images=images)
        elif isinstance(source, ImageModel) and "features" in source.signatures():
            function, (spec,) = source.signatures()["features"]
            self._features = lambda images: function(tf.constant(images))
        else:
            title = getattr(source, "title", f"a {type(source).__name__}")
            raise UsageError(f"{title} is not a classifier; train one with: tfgen-train classifier")
        self.name, self._source = source.name, source
        self._image_shape = tuple(side or 0 for side in spec.shape[1:])
        outputs = self._features(np.zeros((1, *self._image_shape), np.uint8))
        self._units, self._classes = (outputs[key].shape[1] for key in ("features", "logits"))

    def identity(self) -> dict[str, Any]:
        """Name, version, and one hash of all files; and whether validation images were trained on.

        Metrics compare only if this hash is equal. A model has no version, and the hash of its
        weights.
        """
        source = self._source
        if not isinstance(source, Sampler):
            return {"name": self.name, "version": None, "sha256": weights_sha256(source)}
        result = {"name": self.name, "version": source.number, "sha256": source.fingerprint}
        options = source.training.get("options") or {}
        # Only what is not the default, so that evaluations of earlier versions are alike.
        return result | ({"train_on": "all"} if options.get("train_on") == "all" else {})

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Refuse images of another size, or whose channels are no multiple of the classifier's."""
        if shape[:2] != self._image_shape[:2] or shape[2] % self._image_shape[2]:
            sizes = f"{size_text(self._image_shape)}, not of {size_text(shape)}"
            text = f"classifier {self.name} takes images of {sizes}; pass another classifier"
            raise UsageError(f"{text}, or features = random")

    def dimensions(self, shape: tuple[int, ...]) -> int:
        """Length of the feature vector of images `(height, width, channels)`."""
        return self._units * (shape[2] // self._image_shape[2])

    def num_modes(self, shape: tuple[int, ...]) -> int:
        """Number of classes of images `(height, width, channels)`."""
        return int(self._classes ** (shape[2] // self._image_shape[2]))

    def compute(self, images: np.ndarray) -> ImageFeatures:
        """Features and classes of `uint8[B, H, W, C]`."""
        depth = self._image_shape[2]
        features, numbers = [], np.zeros(len(images), np.int64)
        for first in range(0, images.shape[3], depth):
            part = np.ascontiguousarray(images[..., first : first + depth])
            outputs = self._features(part)
            features.append(np.asarray(outputs["features"]))
            numbers = numbers * self._classes + np.asarray(outputs["logits"]).argmax(1)
        return ImageFeatures(np.concatenate(features, axis=1), numbers)


def default_name(dataset: str) -> str:
    """The name of a data set's classifier."""
    # Of stacked images, that of a channel.
    entry, dataset = registry.family("classifier"), dataset.removeprefix("stacked_")
    config = entry.presets[entry.preset_for(dataset)].model
    return registry.default_name(entry.name, dataset, config)


def find_classifier(dataset: str, saved_models: Path, name: str | None = None) -> Version | None:
    """The version of a classifier by which samples are judged; None if there is none.

    A shipped version is preferred to versions that were trained here under its name, so that
    metrics compare. To use such a version, pass its folder.

    Args:
        dataset: name of the data set.
        saved_models: folder of published models.
        name: of a published classifier; None: that of the data set.
    """
    name = name or default_name(dataset)
    # By its number: in a checkout, versions trained there are in the same folder.
    shipped = versions.shipped_folder() / name / str(versions.SHIPPED)
    if versions.is_version(shipped):
        return Version(name, versions.SHIPPED, shipped)
    return versions.newest(name, saved_models)


def open_classifier(dataset: str, name: str | None, saved_models: Path) -> FeatureClassifier:
    """Open the classifier that evaluates samples.

    Args:
        dataset: name of the data set.
        name: of a published classifier; None: that of the data set.
        saved_models: folder of published models.

    Raises:
        UsageError: there is no such classifier.
        WorkError: it is damaged.
    """
    name = name or default_name(dataset)
    version = find_classifier(dataset, saved_models, name)
    if version is None:
        text = f"there is no classifier {name!r} in {saved_models}, and no network of this name"
        command = f"tfgen-train classifier --dataset {dataset.removeprefix('stacked_')}"
        raise UsageError(f"{text}; pass features = random, or train it with: {command}")
    return FeatureClassifier(version)
