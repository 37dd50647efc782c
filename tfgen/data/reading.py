"""Reads a prepared TFDS directory: checks it before TFDS sees it, then decodes all images.

A folder of TFDS names the Python classes of its features, and TFDS imports what it names; so the
names are held against TFDS's own first.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfgen.data._tfds import import_tfds, one_line, silenced
from tfgen.data.memory import check_memory
from tfgen.errors import UsageError
from tfgen.system.quiet import import_quietly

_OWN_CLASS = re.compile(r"tensorflow_datasets\.core\.features(\.[A-Za-z_]\w*)+")
# Both spellings that protocol buffers read from JSON.
_CLASS_KEYS = ("pythonClassName", "python_class_name")
# Examples decoded by one call of the map function: more, and its loop no longer fits the cache.
_DECODED_AT_ONCE = 256
_AGAIN = "prepare it again with tfgen-data"


class Prepared(NamedTuple):
    """What a prepared directory holds.

    Attributes:
        name,
        version: what the directory says of itself.
        splits: by name, images uint8[N,H,W,C] and labels int64[N] or None.
        num_classes: None where there are no labels.
    """

    name: str
    version: str
    splits: dict[str, tuple[np.ndarray, np.ndarray | None]]
    num_classes: int | None


def read_prepared(folder: Path, memory: int | None = None) -> Prepared:
    """All `train` and `test` images of a prepared TFDS directory, in the order they are stored in.

    Args:
        folder: `…/<name>/<version>`, with features.json and dataset_info.json.
        memory: bytes that there are; None asks the machine.

    Raises:
        UsageError: the folder is no such directory, names a class that is not TFDS's, is damaged,
            has no images of one size, or does not fit into memory.
    """
    check_prepared(folder)
    tfds = import_tfds()
    with silenced():
        try:
            builder = tfds.builder_from_directory(str(folder))
            info, features = builder.info, builder.info.features
            sizes = {name: int(split.num_examples) for name, split in info.splits.items()}
            file_format = str(info.file_format.value)
        except Exception as error:
            raise UsageError(
                f"{folder} is no whole TFDS directory ({one_line(error)}); {_AGAIN}"
            ) from None
        check_features(features, str(folder))
    if file_format != "tfrecord":
        raise UsageError(f"{folder} is stored as {file_format}; only tfrecord is read: {_AGAIN}")
    wanted = [name for name in ("train", "test") if sizes.get(name)]
    if "train" not in wanted:
        raise UsageError(
            f"{folder} has no train images; its splits are: {', '.join(sizes) or 'none'}"
        )
    shape = tuple(int(n) for n in features["image"].shape)
    check_memory(info.name, shape, sum(sizes[name] for name in wanted), memory)
    num_classes = features["label"].num_classes if _has_labels(features) else None
    splits = {}
    for name in wanted:
        files = [str(path) for path in info.splits[name].filepaths]
        where = f"{folder}, split {name}"
        images, labels = _decode(files, shape, sizes[name], num_classes is not None, where)
        splits[name] = (images, _checked(labels, num_classes, where))
    return Prepared(info.name, str(info.version), splits, num_classes)


def check_prepared(folder: Path) -> None:
    """Refuses a folder that is no prepared TFDS directory, or whose reading would run code not
    TFDS's own.

    Raises:
        UsageError: a file is missing or is no JSON, or a feature's class is not one of TFDS's.
    """
    contents = {}
    for name in ("features.json", "dataset_info.json"):
        path = folder / name
        if not path.is_file():
            raise UsageError(
                f"{folder} is no prepared TFDS directory: it has no {name}; make one with tfgen-data"
            )
        try:
            contents[name] = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            raise UsageError(f"{path} is damaged: it is no JSON; {_AGAIN}") from None
        if not isinstance(contents[name], dict):
            raise UsageError(f"{path} is damaged: it holds no JSON object; {_AGAIN}")
    for class_name in _class_names(contents["features.json"]):
        if not _OWN_CLASS.fullmatch(str(class_name)):
            raise UsageError(
                f"{folder / 'features.json'} names the class {class_name!r}, which is none of TFDS's "
                "features; it was not imported"
            )


def _class_names(value: Any) -> Iterator[Any]:
    """Every class that TFDS could import for this JSON, in the new form, the old, and JSON in
    strings."""
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
            inside = json.loads(value)
        except (ValueError, RecursionError):
            return
        yield from _class_names(inside)


def check_features(features: Any, where: str) -> None:
    """Refuses features without uint8 images of one fixed shape.

    Raises:
        UsageError: there is no feature `image`, or it is not uint8[H,W,1] or uint8[H,W,3].
    """
    tfds = import_tfds()
    if not isinstance(features, tfds.features.FeaturesDict) or "image" not in features:
        named = (
            ", ".join(features)
            if isinstance(features, tfds.features.FeaturesDict)
            else type(features).__name__
        )
        raise UsageError(f"{where} has no feature 'image'; it has: {named}")
    image = features["image"]
    shape = image.shape
    fixed = (
        isinstance(image, tfds.features.Image)
        and len(shape) == 3
        and all(shape)
        and shape[2] in (1, 3)
    )
    if not fixed or image.np_dtype != np.uint8:
        raise UsageError(
            f"{where}: the feature 'image' is {type(image).__name__} {image.np_dtype}{shape}; "
            "images must be uint8 of one fixed height, width and 1 or 3 channels"
        )


def _has_labels(features: Any) -> bool:
    # A `label` that is no class, a text or a number, is nothing a model here could use.
    tfds = import_tfds()
    return "label" in features and isinstance(features["label"], tfds.features.ClassLabel)


def _decode(
    files: list[str], shape: tuple[int, ...], count: int, labelled: bool, where: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """All records of a split. Parsed by the batch: TFDS's own reader parses one by one, slower."""
    (tf,) = import_quietly()
    spec = {"image": tf.io.FixedLenFeature([], tf.string)}
    if labelled:
        spec["label"] = tf.io.FixedLenFeature([], tf.int64)

    def decode_one(encoded: Any) -> Any:
        # Reads JPEG as well, by its content.
        return tf.ensure_shape(tf.io.decode_png(encoded, channels=shape[2]), shape)

    def decode(records: Any) -> Any:
        parsed = tf.io.parse_example(records, spec)
        parsed["image"] = tf.map_fn(
            decode_one,
            parsed["image"],
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
            parallel_iterations=32,
        )
        return parsed

    records = tf.data.TFRecordDataset(files).batch(_DECODED_AT_ONCE)
    batches = records.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(
        2
    )
    images = np.empty((count, *shape), np.uint8)
    labels = np.empty(count, np.int64) if labelled else None
    done = 0
    try:
        for batch in batches.as_numpy_iterator():
            end = done + len(batch["image"])
            if end > count:
                raise UsageError(
                    f"{where}: there are more than the {count} records it tells of; {_AGAIN}"
                )
            images[done:end] = batch["image"]
            if labels is not None:
                labels[done:end] = batch["label"]
            done = end
    except tf.errors.OpError as error:
        raise UsageError(
            f"{where}: its records are damaged or missing ({type(error).__name__}); {_AGAIN}"
        ) from None
    if done != count:
        raise UsageError(f"{where}: {done} records, {count} expected; {_AGAIN}")
    return images, labels


def _checked(labels: np.ndarray | None, num_classes: int | None, where: str) -> np.ndarray | None:
    if (
        labels is None or num_classes is None or (labels == -1).all()
    ):  # −1 is TFDS's mark for "not labelled"
        return None
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UsageError(
            f"{where}: labels run from {labels.min()} to {labels.max()}, but there are {num_classes} classes"
        )
    return labels
