"""Features from the user's own network, a SavedModel or `.keras` file; choice of an extractor.

`tfgen-evaluate` and `tfgen.callbacks.Evaluate` open networks for features by `choose_extractor`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.data.pictures import resize, to_array, to_picture
from tfgen.errors import UsageError, WorkError
from tfgen.evaluation.classifier import FeatureClassifier, find_classifier, open_classifier
from tfgen.evaluation.features import Extractor, ImageFeatures, RandomNetwork
from tfgen.evaluation.job import Range
from tfgen.models.base import ImageModel
from tfgen.publishing.artifacts import kind_at
from tfgen.publishing.opening import load_keras_file
from tfgen.publishing.operations import ALLOWED, LOCAL
from tfgen.publishing.sampler import load_graph
from tfgen.publishing.versions import Version, hash_files
from tfgen.system.atomic import file_sha256

# Factor and summand that bring bytes to a range.
_SCALES = {"0,1": (1 / 255, 0), "-1,1": (2 / 255, -1), "0,255": (1, 0)}


class OwnNetwork(Extractor):
    """A network of the user's own, such as Inception or DINO.

    Images of another size are resized to the one that the network takes, as
    `tfgen.data.pictures.resize` does it. Grey images get three equal channels if it takes three,
    and RGB images become grey if it takes one.

    Args:
        path: of a SavedModel or of a `.keras` file.
        sha256: of its files.
        value_range: pixels that the network takes; None for one that takes bytes.
        call: features `[B, D]` of images `[B, H, W, C]`.
        inputs: the tensor of images, with its dtype and shape; more or fewer are refused.
        outputs: the tensor of features; more or fewer are refused.

    Raises:
        UsageError: the network does not compute a vector for each image, or the range is missing or
            does not suit an input of bytes.
    """

    batch_size = 50  # such networks are large
    needs_covariance = False  # and have so many features that the FID is left out

    def __init__(
        self,
        path: Path,
        sha256: str,
        value_range: Range | None,
        call: Callable[[tf.Tensor], tf.Tensor],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
    ):
        self._shape = _shape_of(path, inputs, outputs)
        self._dtype = tf.as_dtype(inputs[0].dtype)
        # To cast pixels in 0…1 to an integer would make all of them black.
        ranges = (None, "0,255") if self._dtype.is_integer else tuple(_SCALES)
        if value_range not in ranges:
            text = f"features_range = {value_range} does not suit {path}, which takes"
            raise UsageError(f"{text} {self._dtype.name}; use {' or '.join(map(str, ranges))}")
        self.name, self._path, self._call = path.name, path, call
        self._range: Range = value_range or "0,255"
        self._files_sha256 = sha256

    def identity(self) -> dict[str, Any]:
        """Name, input and hash; the hash is of the files and of the range."""
        files, text = self._files_sha256, json.dumps([self._files_sha256, self._range])
        used = {"files_sha256": files, "range": self._range, "input": list(self._shape)}
        return {"name": self.name, "sha256": hashlib.sha256(text.encode()).hexdigest(), **used}

    def dimensions(self, shape: tuple[int, ...]) -> int:
        """Length of the feature vector."""
        return int(self.compute(np.zeros((1, *shape), np.uint8)).features.shape[1])

    def compute(self, images: np.ndarray) -> ImageFeatures:
        """Features of `uint8[B, H, W, C]`.

        Raises:
            WorkError: a feature is not finite.
        """
        pixels = fit_images(images, self._shape)
        if self._dtype != tf.uint8:
            scale, offset = _SCALES[self._range]
            pixels = pixels.astype(np.float32) * np.float32(scale) + np.float32(offset)
        features = tf.cast(self._call(tf.cast(pixels, self._dtype)), tf.float32).numpy()
        if not np.isfinite(features).all():
            text = f"{self._path} computes features that are not finite"
            raise WorkError(f"{text}; check its weights and features_range = {self._range}")
        return ImageFeatures(features, None)


def _shape_of(path: Path, inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple[int | None, ...]:
    """Height, width and channels of the images that a network takes; None for any.

    Raises:
        UsageError: it does not compute a vector for each image.
    """
    taken, computed = ([tf.TensorShape(t.shape) for t in tensors] for tensors in (inputs, outputs))
    if [shape.rank for shape in (*taken, *computed)] == [4, 2] and len(taken) == 1:
        batch, *shape = taken[0].as_list()
        if batch is None and shape[2] in (None, 1, 3):
            return tuple(shape)
    results, images = (" and ".join(map(str, t)) or "nothing" for t in (computed, taken))
    needed = "one input, (None, height, width, channels) with 1 or 3 channels, and one output"
    text = f"{path} computes {results} from {images}; it must declare {needed}"
    raise UsageError(f"{text}, (None, features), or one that is called 'features'")


def fit_images(images: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Images `uint8[N, H, W, C]` in the size and the channels of a network's input.

    Args:
        images: grey or RGB.
        shape: height, width, channels; None for any.
    """
    sides = zip(shape, images.shape[1:], strict=True)
    height, width, channels = (side or own for side, own in sides)
    if channels < images.shape[3]:
        images = np.stack([to_array(to_picture(image).convert("L")) for image in images])
    images = images.repeat(channels // images.shape[3], axis=3)
    if images.shape[1:3] == (height, width):
        return images
    return np.stack([resize(image, (height, width)) for image in images])


# --- opening
# ----------------------------------------------------------------------------------------------


def open_extractor(path: Path, value_range: Range | None) -> Extractor | None:
    """The network in a version, a SavedModel's folder or a `.keras` file; None if there is none.

    Nothing that is loaded runs code or touches files: the operations of a SavedModel are checked as
    those of a published version are. Of a `.keras` file, Keras's safe mode is on, and what it lets
    pass in some versions is refused.

    Args:
        path: of the network.
        value_range: pixels that it takes; None for one that takes bytes.

    Returns:
        An extractor; of a tfgen classifier, one that knows the classes.

    Raises:
        UsageError: its inputs or outputs are of other kinds.
        WorkError: it is damaged, or holds what is not allowed.
    """
    kind = kind_at(path)
    if kind != "version" and (path / "saved_model.pb").is_file():
        return _open_saved_model(path, value_range)
    if kind not in ("version", "keras"):
        return None
    model = Version.at(path) if kind == "version" else load_keras_file(path, compile=False)
    if isinstance(model, Version | ImageModel):
        if value_range not in (None, "0,255"):
            raise UsageError(f"{path} is a model of tfgen; leave out features_range")
        return FeatureClassifier(model)
    call = tf.function(lambda images: model(images, training=False))
    inputs, outputs = (getattr(model, name, None) or [] for name in ("inputs", "outputs"))
    return OwnNetwork(path, file_sha256(path), value_range, call, inputs, outputs)


def _open_saved_model(path: Path, value_range: Range | None) -> OwnNetwork:
    files, model = json.dumps(hash_files(path), sort_keys=True), load_graph(path, ALLOWED | LOCAL)
    names = [name for name in ("features", "serving_default") if name in model.signatures]
    name = [*names, *model.signatures, ""][0]
    if not name:
        raise UsageError(f"{path} has no signature; export it with model.export(folder) of Keras")
    function = model.signatures[name]
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    if "features" in outputs:
        outputs = {"features": outputs["features"]}

    def call(images: tf.Tensor) -> tf.Tensor:
        # The model is named, so that its variables live as long as the function.
        return model.signatures[name](**dict.fromkeys(inputs, images))[next(iter(outputs))]

    digest = hashlib.sha256(files.encode()).hexdigest()
    specs = list(inputs.values()), list(outputs.values())
    return OwnNetwork(path, digest, value_range, call, *specs)


def choose_extractor(
    dataset: str, n: int, saved_models: Path, features: Any = None, value_range: Range | None = None
) -> Extractor:
    """The extractor that was asked for; by default the best one that there is.

    Args:
        dataset: name of the data set.
        n: number of images.
        saved_models: folder of published models.
        features: `classifier`, the classifier of the data set; `random`, the random network; the
            path of a network; the name of a published classifier; or a `tfgen.Classifier` or
            `tfgen.Sampler`. None: the classifier of the data set if there is one, else the random
            network.
        value_range: pixels that the user's own network takes; None for one that takes bytes.

    Raises:
        UsageError: there is no such network, it is none that extracts features, or its pixels have
            another range; there is a range for a network of tfgen.
        WorkError: it is damaged, or holds what is not allowed.
    """
    own = isinstance(features, str | Path) and features not in ("classifier", "random")
    if value_range is not None and not own:
        raise UsageError("features_range is for a network of your own, not for one of tfgen")
    if features is None and find_classifier(dataset, saved_models) is None:
        features = "random"
    if not isinstance(features, str | Path | None):
        return FeatureClassifier(features)
    if features == "random":
        return RandomNetwork(n)
    if features in (None, "classifier"):
        return open_classifier(dataset, None, saved_models)
    network = open_extractor(Path(features), value_range)
    return network or open_classifier(dataset, str(features), saved_models)
