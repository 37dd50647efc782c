"""Reads a prepared TFDS directory, after checks, into arrays.

A TFDS directory names the Python classes of its features, and TFDS imports whatever it names.
`open_prepared` therefore admits only classes of TFDS itself.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.data._tfds import first_line, import_tfds, silence
from tfgen.data.dataset import Split
from tfgen.errors import UsageError, size_text
from tfgen.system.quiet import import_quietly

_TFDS_CLASS = re.compile(r"tensorflow_datasets\.core\.features(\.[A-Za-z_]\w*)+")
# Protocol buffers read both spellings from JSON.
_CLASS_KEYS = ("pythonClassName", "python_class_name")
# Most examples that one call of the map function decodes, and most bytes of their pixels. With more
# examples, its loop no longer fits the processor's cache.
_DECODE_BATCH, _DECODE_BYTES = 256, 2**24
_ADVICE = "prepare it again with tfgen-data"


@dataclass(frozen=True)
class Prepared:
    """A prepared directory, whose images are decoded when they are read.

    Attributes:
        folder: `…/<name>/<version>`.
        name: the data set's name, as the directory states it.
        version: its version, as the directory states it.
        image_shape: height, width, channels.
        counts: number of images of `train` and, if there is one, of `test`.
        files: the files with the records of each split.
        num_classes: number of classes, None without labels.
        class_names: names of the classes by label; None if they have none but their numbers.
    """

    folder: Path
    name: str
    version: str
    image_shape: tuple[int, int, int]
    counts: Mapping[str, int]
    files: Mapping[str, list[Path]]
    num_classes: int | None
    class_names: tuple[str, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return sum(self.counts.values()) * math.prod(self.image_shape)

    def place(self, split: str) -> str:
        """A split as error messages name it."""
        return f"{self.folder}, split {split}"

    def batches(self, split: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Decodes a split in stored order.

        Yields:
            images uint8[≤B,H,W,C], and their labels int64[≤B], −1 for none; None without labels.

        Raises:
            UsageError: the records are damaged, missing, or not as many as the directory states.
        """
        (tf,) = import_quietly()
        place, count, end = self.place(split), self.counts[split], 0
        files = [str(path) for path in self.files[split]]
        batches = _decoded_batches(files, self.image_shape, self.num_classes is not None)
        try:
            for batch in batches.as_numpy_iterator():
                end += len(batch["image"])
                if end > count:
                    raise UsageError(
                        f"{place}: there are more records than the {count} expected; {_ADVICE}"
                    )
                yield batch["image"], batch.get("label")
        except tf.errors.OpError as error:
            raise UsageError(
                f"{place}: its records are damaged or missing ({type(error).__name__}); {_ADVICE}"
            ) from None
        if end != count:
            raise UsageError(f"{place}: {end} records, {count} expected; {_ADVICE}")

    def check_labels(self, split: str, labels: np.ndarray | None) -> np.ndarray | None:
        """The labels of a split; None if it has none.

        Raises:
            UsageError: a label is out of range.
        """
        # TFDS marks an image without a label by −1.
        if labels is None or self.num_classes is None or (labels == -1).all():
            return None
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise UsageError(
                f"{self.place(split)}: labels run from {labels.min()} to {labels.max()}, "
                f"but there are {self.num_classes} classes"
            )
        return labels


def open_prepared(folder: Path) -> Prepared:
    """Opens a prepared directory; decodes no image.

    Args:
        folder: `…/<name>/<version>`, with features.json and dataset_info.json.

    Raises:
        UsageError: the folder is not a TFDS directory, names a foreign class, has no train images,
            or has images of several sizes.
    """
    _check_classes(folder)
    tfds = import_tfds()
    with silence():
        try:
            info = tfds.builder_from_directory(str(folder)).info
            features = info.features
            sizes = {name: int(split.num_examples) for name, split in info.splits.items()}
            file_format = str(info.file_format.value)
        except Exception as error:  # TFDS raises errors of many classes
            raise UsageError(
                f"{folder} is not a complete TFDS directory ({first_line(error)}); {_ADVICE}"
            ) from None
        check_features(features, str(folder))
    if file_format != "tfrecord":
        raise UsageError(f"{folder} is stored as {file_format}; only tfrecord is read: {_ADVICE}")
    if not sizes.get("train"):
        raise UsageError(
            f"{folder} has no train images; its splits are: {', '.join(sizes) or 'none'}"
        )
    counts = {name: sizes[name] for name in ("train", "test") if sizes.get(name)}
    # No model here can use a `label` that is a text or a number instead of a class.
    label: Any = dict(features.items()).get("label")
    has_classes = isinstance(label, tfds.features.ClassLabel)
    names = tuple(label.names) if has_classes else ()
    has_names = names != tuple(map(str, range(len(names))))
    height, width, channels = map(int, features["image"].shape)
    return Prepared(
        folder=folder,
        name=info.name,
        version=str(info.version),
        image_shape=(height, width, channels),
        counts=counts,
        files={name: [Path(path) for path in info.splits[name].filepaths] for name in counts},
        num_classes=label.num_classes if has_classes else None,
        class_names=names if has_names else None,
    )


def read_split(prepared: Prepared, split: str) -> Split:
    """All images and labels of a split, in memory.

    Raises:
        UsageError: the records are damaged, or a label is out of range.
    """
    images = np.empty((prepared.counts[split], *prepared.image_shape), np.uint8)
    labels, end = [], 0
    for part, part_labels in prepared.batches(split):
        start, end = end, end + len(part)
        images[start:end] = part
        if part_labels is not None:
            labels.append(part_labels)
    return Split(images, prepared.check_labels(split, np.concatenate(labels) if labels else None))


def _check_classes(folder: Path) -> None:
    """Refuses a folder that is not a TFDS directory or would run foreign code.

    Raises:
        UsageError: a file is missing or is not JSON, or a feature's class is not one of TFDS's.
    """
    for name in ("features.json", "dataset_info.json"):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except OSError:
            raise UsageError(
                f"{folder} is not a prepared TFDS directory: it has no {name}; "
                "write one with tfgen-data"
            ) from None
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise UsageError(f"{folder / name} is damaged: it is not a JSON object; {_ADVICE}")
        for class_name in _class_names(content) if name == "features.json" else ():
            if not _TFDS_CLASS.fullmatch(str(class_name)):
                raise UsageError(
                    f"{folder / name} names the class {class_name!r}, which is none of TFDS's "
                    "features; it was not imported"
                )


def _class_names(value: Any) -> Iterator[Any]:
    """Every class that TFDS could import for this JSON.

    Covers both forms of features.json, the one with protocol buffers and the one before it, and
    JSON inside of strings.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _CLASS_KEYS or (
                key == "type" and "content" in value and isinstance(inner, str)
            ):
                yield inner
            yield from _class_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _class_names(inner)
    elif isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return
        yield from _class_names(inner)


def check_features(features: Any, place: str) -> None:
    """Refuses features without uint8 images of one fixed shape.

    Args:
        features: of a TFDS builder.
        place: the data set or its folder, for the error message.

    Raises:
        UsageError: there is no feature `image`, or it is not uint8[H,W,1] or uint8[H,W,3].
    """
    tfds = import_tfds()
    is_dict = isinstance(features, tfds.features.FeaturesDict)
    if not is_dict or "image" not in features:
        known = ", ".join(features) if is_dict else type(features).__name__
        raise UsageError(f"{place} has no feature 'image'; it has: {known}")
    image = features["image"]
    is_image = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
    if not is_image or not all(image.shape) or image.shape[2] not in (1, 3):
        raise UsageError(
            f"{place}: the feature 'image' is {type(image).__name__} {image.np_dtype}, "
            f"{size_text(image.shape)}; images must be uint8 with a fixed height and width and 1 "
            "or 3 channels"
        )


def _decoded_batches(files: list[str], shape: tuple[int, ...], has_labels: bool) -> Any:
    """Batches of decoded records.

    Records are parsed batch by batch. TFDS's own reader parses one by one, which is slower.
    """
    (tf,) = import_quietly()
    spec = {"image": tf.io.FixedLenFeature([], tf.string)}
    if has_labels:
        spec["label"] = tf.io.FixedLenFeature([], tf.int64)

    def decode_image(encoded: Any) -> Any:
        # decode_png also reads JPEG: it looks at the content.
        return tf.ensure_shape(tf.io.decode_png(encoded, channels=shape[2]), shape)

    def decode(records: Any) -> Any:
        parsed = tf.io.parse_example(records, spec)
        parsed["image"] = tf.map_fn(
            decode_image,
            parsed["image"],
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
            parallel_iterations=32,
        )
        return parsed

    size = max(1, min(_DECODE_BATCH, _DECODE_BYTES // math.prod(shape)))
    records = tf.data.TFRecordDataset(files).batch(size)
    return records.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)
