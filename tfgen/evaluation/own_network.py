"""Features from the user's own network, a SavedModel or `.keras` file; choice of an extractor.

`choose_extractor` is what `tfgen-evaluate` calls.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from tfgen.data.pictures import Fitting, fit_picture, to_array
from tfgen.errors import UsageError, WorkError, size_text
from tfgen.evaluation.classifier import FeatureClassifier, find_classifier, open_classifier
from tfgen.evaluation.coverage import NEIGHBOURS
from tfgen.evaluation.features import Extractor, ImageFeatures, RandomNetwork
from tfgen.evaluation.job import Advance, silent
from tfgen.models.base import ImageModel
from tfgen.publishing import inspection
from tfgen.publishing.artifacts import kind_at
from tfgen.publishing.opening import load_keras_file
from tfgen.publishing.operations import ALLOWED, LOCAL
from tfgen.publishing.versions import Version, hash_files
from tfgen.system.atomic import file_sha256

# Pixels that a network takes: the values of black and of white.
Range = Literal["0,1", "-1,1", "0,255"]
# Factor and summand that bring bytes to a range.
_SCALES = {"0,1": (1 / 255, 0), "-1,1": (2 / 255, -1), "0,255": (1, 0)}
# Images in one call of the network: few, since such networks are large.
BATCH = 50
_KEYS = "a SavedModel's folder or a .keras file"


class Network(NamedTuple):
    """A function of images.

    Attributes:
        call: features `[B, D]` of images `[B, H, W, C]` of that dtype.
        dtype: TensorFlow's name of the dtype of the input.
        shape: height, width, channels; None for any.
    """

    call: Callable[[tf.Tensor], tf.Tensor]
    dtype: str
    shape: tuple[int | None, ...]


class OwnNetwork(Extractor):
    """A network of the user's own, such as Inception or DINO.

    Images of another size are resized to the one that the network takes, as
    `tfgen.data.pictures.resize` does it. Grey images get three equal channels if it takes three,
    and RGB images become grey if it takes one.

    Args:
        path: of a SavedModel or of a `.keras` file, for error messages.
        network: what `open_network` found there.
        sha256: of its files.
        value_range: pixels that the network takes; None for one that takes bytes.

    Raises:
        UsageError: the range is missing, or does not suit an input of bytes.
    """

    def __init__(self, path: Path, network: Network, sha256: str, value_range: Range | None):
        # To cast pixels in 0…1 to an integer would make all of them black.
        is_bytes = tf.as_dtype(network.dtype).is_integer
        if value_range is None and not is_bytes:
            raise UsageError(
                f"{path} takes images of {network.dtype}; say in which range with "
                "--features-range 0,1 or -1,1 or 0,255 (whatever its authors scale pixels to)"
            )
        if is_bytes and value_range not in (None, "0,255"):
            raise UsageError(
                f"{path} takes bytes ({network.dtype}); leave out --features-range {value_range}"
            )
        self.name, self._path, self._network = path.name, path, network
        self._range: Range = value_range or "0,255"
        self._files_sha256 = sha256
        self._dimensions = functools.cache(self._count_features)

    def describe(self) -> dict[str, Any]:
        """Name, input and hash; the hash is of the files and of the range."""
        text = json.dumps([self._files_sha256, self._range])
        return {
            "name": self.name,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "files_sha256": self._files_sha256,
            "range": self._range,
            "input": list(self._network.shape),
        }

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Refuse images that are neither grey nor RGB."""
        if shape[2] not in (1, 3):
            raise UsageError(
                f"{self._path} takes grey or RGB images, not images of {size_text(shape)}"
            )

    def dimensions(self, shape: tuple[int, ...]) -> int:
        """Length of the feature vector."""
        return self._dimensions(tuple(shape))

    def check_count(self, n: int, shape: tuple[int, ...]) -> None:
        """Refuse too few images for neighbourhoods; too few for the FID only leave it out."""
        if n <= NEIGHBOURS:
            raise UsageError(f"n = {n} is too small; the least is {NEIGHBOURS + 1}")

    def extract(self, images: np.ndarray, advance: Advance = silent) -> ImageFeatures:
        """Features of `uint8[N, H, W, C]`.

        Raises:
            WorkError: the network fails, or a feature is not finite.
        """
        parts = []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            parts.append(self._call(batch))
            advance(len(batch))
        features = np.concatenate(parts)
        if not np.isfinite(features).all():
            raise WorkError(
                f"{self._path} computes features that are not finite; check its weights and "
                "--features-range"
            )
        return ImageFeatures(features, None)

    def _count_features(self, shape: tuple[int, ...]) -> int:
        return int(self._call(np.zeros((1, *shape), np.uint8)).shape[1])

    def _call(self, images: np.ndarray) -> np.ndarray:
        pixels = fit_images(images, self._network.shape)
        if self._network.dtype != "uint8":
            scale, offset = _SCALES[self._range]
            pixels = pixels.astype(np.float32) * np.float32(scale) + np.float32(offset)
        try:
            outputs = self._network.call(tf.cast(pixels, self._network.dtype))
        except Exception as error:  # TensorFlow and Keras raise many types
            reason = " ".join(str(error).split())[:200]
            raise WorkError(
                f"{self._path} fails on images of {size_text(pixels.shape[1:])}: {reason}"
            ) from error
        features: np.ndarray = tf.cast(outputs, tf.float32).numpy()
        return features


def fit_images(images: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Images `uint8[N, H, W, C]` in the size and the channels of a network's input.

    Args:
        images: grey or RGB.
        shape: height, width, channels; None for any.
    """
    height, width = (side or own for side, own in zip(shape[:2], images.shape[1:3], strict=True))
    channels = shape[2] or images.shape[3]
    if (height, width) == images.shape[1:3]:
        if channels == images.shape[3]:
            return np.ascontiguousarray(images)
        if channels == 3:
            return images.repeat(3, axis=3)
    fitting, mode = Fitting((height, width)), "L" if channels == 1 else "RGB"
    pictures = (
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image) for image in images
    )
    return np.stack([to_array(fit_picture(picture.convert(mode), fitting)) for picture in pictures])


# --- opening
# ----------------------------------------------------------------------------------------------


def open_extractor(path: Path, value_range: Range | None) -> Extractor:
    """The network in a SavedModel's folder or a `.keras` file.

    Nothing that is loaded runs code or touches files: the operations of a SavedModel are checked as
    those of a published version are. Of a `.keras` file, Keras's safe mode is on, and what it lets
    pass in some versions is refused.

    Args:
        path: of the network.
        value_range: pixels that it takes; None for one that takes bytes.

    Returns:
        An extractor; of a tfgen classifier, one that knows the classes.

    Raises:
        UsageError: there is no such network, or its inputs or outputs are of other kinds.
        WorkError: it is damaged, or holds what is not allowed.
    """
    if (path / "saved_model.pb").is_file():
        files = json.dumps(hash_files(path), sort_keys=True)
        network = _open_saved_model(path)
        return OwnNetwork(path, network, hashlib.sha256(files.encode()).hexdigest(), value_range)
    if kind_at(path) != "keras":
        raise UsageError(f"{path} holds no network; pass classifier, random, or {_KEYS}")
    model = load_keras_file(path, compile=False)
    if isinstance(model, ImageModel):
        return FeatureClassifier(model)
    return OwnNetwork(path, _keras_network(path, model), file_sha256(path), value_range)


def _open_saved_model(path: Path) -> Network:
    if fault := inspection.find_fault(path, ALLOWED | LOCAL):
        raise WorkError(
            f"{path} is not loaded: {fault}; export it for inference alone, for example with "
            "model.export(folder) of Keras"
        )
    try:
        model = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many types, some with several lines
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise WorkError(f"{path} cannot be loaded ({type(error).__name__}: {reason})") from error
    if not model.signatures:
        raise UsageError(f"{path} has no signature; export it with model.export(folder) of Keras")
    names = list(model.signatures)
    name = next((name for name in ("features", "serving_default") if name in names), names[0])
    function = model.signatures[name]
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    if "features" in outputs:
        outputs = {"features": outputs["features"]}
    _check_count(path, len(inputs), len(outputs))
    ((argument, spec),), ((output, features),) = inputs.items(), outputs.items()

    def call(images: tf.Tensor) -> tf.Tensor:
        # The model is named, so that its variables live as long as the function.
        return model.signatures[name](**{argument: images})[output]

    return Network(call, spec.dtype.name, _image_shape(path, spec.shape, features.shape))


def _keras_network(path: Path, model: Any) -> Network:
    inputs, outputs = (getattr(model, name, None) or [] for name in ("inputs", "outputs"))
    _check_count(path, len(inputs), len(outputs))
    function = tf.function(lambda images: model(images, training=False))
    shape = _image_shape(path, inputs[0].shape, outputs[0].shape)
    return Network(function, inputs[0].dtype, shape)


def _check_count(path: Path, inputs: int, outputs: int) -> None:
    if inputs != 1 or outputs != 1:
        raise UsageError(
            f"{path} has {inputs} inputs and {outputs} outputs that it declares; save a model from "
            "images to features, or call one of its outputs 'features'"
        )


def _image_shape(path: Path, images: Any, features: Any) -> tuple[int | None, ...]:
    """Height, width and channels of an input; refuses shapes that are not as they must be."""
    taken, computed = (
        None if getattr(shape, "rank", 0) is None else tuple(shape) for shape in (images, features)
    )
    if taken is None or len(taken) != 4 or taken[3] not in (None, 1, 3) or taken[0] is not None:
        text = "any shape" if taken is None else size_text(taken)
        raise UsageError(
            f"{path} takes {text}; it must take batches of any length of images, "
            "? × height × width × channels, with 1 or 3 channels"
        )
    if computed is None or len(computed) != 2:
        text = "of no known shape" if computed is None else f"of {size_text(computed)}"
        raise UsageError(
            f"{path} computes features {text}; it must compute one vector for each image, "
            "? × features: end it with GlobalAveragePooling2D"
        )
    return taken[1:]


def choose_extractor(
    dataset: str,
    n: int,
    saved_models: Path,
    features: str | None = None,
    classifier: str | None = None,
    value_range: Range | None = None,
) -> Extractor:
    """The extractor that was asked for; by default the best one that there is.

    Args:
        dataset: name of the data set.
        n: number of images.
        saved_models: folder of published models.
        features: `classifier`, `random`, or the path of a network; None: the classifier of the
            data set if there is one, else the random network.
        classifier: name of a published classifier, or a version's folder.
        value_range: pixels that the user's own network takes.

    Raises:
        UsageError: there is no such network, it is none that extracts features, or its pixels have
            another range.
        WorkError: it is damaged, or holds what is not allowed.
    """
    if classifier is not None or features == "classifier":
        return open_classifier(dataset, classifier, saved_models)
    if features == "random":
        return RandomNetwork(n)
    if features is None:
        version = find_classifier(dataset, saved_models)
        return RandomNetwork(n) if version is None else FeatureClassifier(version)
    path = Path(features)
    if kind_at(path) == "version":
        extractor: Extractor = FeatureClassifier(Version.at(path))
    else:
        extractor = open_extractor(path, value_range)
    if isinstance(extractor, FeatureClassifier) and value_range not in (None, "0,255"):
        raise UsageError(
            f"{path} is a classifier of tfgen and takes bytes; leave out --features-range "
            f"{value_range}"
        )
    return extractor
