"""Reads a prepared TFDS directory into arrays.

A TFDS directory names the Python classes of its features, and TFDS imports whatever it names.
tfgen reads the files itself, so that no foreign code runs.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfgen.data.dataset import Split
from tfgen.errors import UsageError
from tfgen.system.atomic import read_json
from tfgen.system.quiet import import_quietly

# Most examples that one call of the map function decodes, and most bytes of their pixels. With more
# examples, its loop no longer fits the processor's cache.
_DECODE_BATCH, _DECODE_BYTES = 256, 2**24
# The validation split is a sixth of the stored training images, at most 10 000: MNIST's 60 000
# become 50 000 and 10 000.
_VALIDATION_FRACTION = 6
_MAX_VALIDATION = 10_000
# Fewer stored training images cannot be divided into train, validation and test.
MIN_IMAGES = 3
_ADVICE = "prepare it with tfgen-data"


class Prepared(NamedTuple):
    """A prepared directory, whose images are decoded when they are read.

    Attributes:
        folder: `…/<name>/<version>`.
        name: the data set's name, as the directory states it.
        version: its version, as the directory states it.
        image_shape: height, width, channels.
        counts: number of images of the stored splits `train` and, if there is one, `test`.
        files: the files with the records of each stored split.
        num_classes: number of classes, None without labels.
        class_names: names of the classes by label; None if they have none but their numbers.
        description: what the images show, and their licence; empty if it is unknown.
        held_out: numbers of validation and test images at the end of `train`; None for the default.
    """

    folder: Path
    name: str
    version: str
    image_shape: tuple[int, int, int]
    counts: Mapping[str, int]
    files: Mapping[str, list[str]]
    num_classes: int | None
    class_names: tuple[str, ...] | None = None
    description: str = ""
    held_out: tuple[int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return sum(self.counts.values()) * math.prod(self.image_shape)

    @property
    def parts(self) -> dict[str, tuple[str, int, int]]:
        """Where train, validation and test are stored: split, first image, image after the last.

        Raises:
            UsageError: there are too few train images.
        """
        n = self.counts.get("train", 0)
        if n < MIN_IMAGES:
            raise UsageError(f"{self.name} has {n} train images; the least is {MIN_IMAGES}")
        held_out, tested = self.held_out or (held_out_share(n),) * 2
        end, validation = n - held_out, ("train", n - held_out, n)
        if "test" in self.counts:
            test = ("test", 0, self.counts["test"])
        else:
            end, test = end - tested, ("train", end - tested, end)
        return {"train": ("train", 0, end), "validation": validation, "test": test}

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Decodes the images of train, then those of validation, then those of test.

        Yields:
            images uint8[≤B,H,W,C], and their labels int64[≤B], −1 for none.

        Raises:
            UsageError: the records are damaged or missing.
        """
        (tf,) = import_quietly()
        shape, names = self.image_shape, [] if self.num_classes is None else ["label"]
        size = max(1, min(_DECODE_BATCH, _DECODE_BYTES // math.prod(shape)))
        for split, start, stop in self.parts.values():
            place, count = f"{self.folder}, split {split}", 0
            records = tf.data.TFRecordDataset(self.files[split]).skip(start).take(stop - start)
            try:
                for batch in decoded(records.batch(size), shape, names).as_numpy_iterator():
                    count += len(batch["image"])
                    yield batch["image"], batch.get("label", np.full(len(batch["image"]), -1))
            except tf.errors.OpError as error:
                text = f"{place}: damaged or missing records ({type(error).__name__})"
                raise UsageError(f"{text}; {_ADVICE}") from None
            if count != stop - start:
                raise UsageError(f"{place} has fewer records than it should; {_ADVICE}")

    def divide(self, images: np.ndarray, labels: np.ndarray) -> list[Split]:
        """Train with validation, train, validation and test, of all that `batches` yields.

        Raises:
            UsageError: a label is out of range.
        """
        train, validation, _ = (stop - start for _, start, stop in self.parts.values())
        seen, n = train + validation, len(images)
        return [
            Split(images[part], self._labels(labels[part]))
            for part in (slice(seen), slice(train), slice(train, seen), slice(seen, n))
        ]

    def _labels(self, labels: np.ndarray) -> np.ndarray | None:
        """The labels of a split; None if it has none."""
        # TFDS marks an image without a label by −1.
        if self.num_classes is None or (labels == -1).all():
            return None
        if labels.min() < 0 or labels.max() >= self.num_classes:
            span = f"{labels.min()}…{labels.max()}, not 0…{self.num_classes - 1}"
            raise UsageError(f"{self.folder}: labels are {span}")
        return labels


def held_out_share(n: int) -> int:
    """Number of validation images that are taken from so many stored training images."""
    return max(1, min(_MAX_VALIDATION, n // _VALIDATION_FRACTION))


def open_prepared(folder: Path) -> Prepared:
    """Opens a prepared directory; decodes no image.

    Args:
        folder: `…/<name>/<version>`, with features.json and dataset_info.json.

    Raises:
        UsageError: the folder is not a TFDS directory, or has images of several sizes.
    """
    files, counts = {}, {}
    try:
        features = read_json(folder / "features.json")
        info = read_json(folder / "dataset_info.json")
        name, version, text = info["name"], info["version"], str(info.get("description", ""))
        if not f"{name}{version}".replace(".", "").isidentifier():  # they are parts of paths
            raise ValueError(f"its name is {name!r}, and its version {version!r}")
        for split in info["splits"]:
            stem = f"{folder}/{name}-{split['name']}.tfrecord"
            lengths = split.get("shardLengths", [])
            n = len(lengths)
            files[split["name"]] = [f"{stem}-{index:05}-of-{n:05}" for index in range(n)]
            counts[split["name"]] = sum(map(int, lengths))
        path = folder / "metadata.json"
        stored = read_json(path).get("held_out") if path.is_file() else None
        held_out = stored and (int(stored["validation"]), int(stored["test"]))
        if held_out and not 0 < held_out[0] <= sum(held_out) < counts["train"]:
            raise ValueError(f"held_out is {stored}")
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"{folder} is no TFDS directory ({reason}); {_ADVICE}") from None
    shape, num_classes = read_features(features, str(folder))
    counts = {split: counts[split] for split in ("train", "test") if counts.get(split)}
    names = None
    if num_classes is not None and (path := folder / "label.labels.txt").is_file():
        names = tuple(filter(None, map(str.strip, path.read_text(encoding="utf-8").split("\n"))))
        if names == tuple(map(str, range(num_classes))):
            names = None
    return Prepared(folder, name, version, shape, counts, files, num_classes, names, text, held_out)


def read_features(features: Any, place: str) -> tuple[tuple[int, int, int], int | None]:
    """The shape of the images, and the number of classes, None without labels.

    A `label` that is a text or a number instead of a class is not used.

    Args:
        features: the content of features.json.
        place: the data set or its folder, for the error message.

    Raises:
        UsageError: there is no feature `image`, or it is not uint8[H,W,1] or uint8[H,W,3].
    """
    try:
        fields = features["featuresDict"]["features"]
        image = fields["image"]["image"]
        height, width, channels = map(int, image["shape"]["dimensions"])
        if image["dtype"] != "uint8" or min(height, width) < 1 or channels not in (1, 3):
            raise ValueError
        label = fields.get("label", {}).get("classLabel")
        num_classes = None if label is None else int(label["numClasses"])
    except (KeyError, TypeError, ValueError, AttributeError):
        text = f"{place} has no feature 'image' of uint8, one size, 1 or 3 channels"
        raise UsageError(text) from None
    return (height, width, channels), num_classes


def decoded(records: Any, shape: tuple[int, ...], names: list[str], is_raw: bool = False) -> Any:
    """Decodes batches of records; parsing them one by one, as TFDS does, is slower.

    Args:
        records: a `tf.data.Dataset` of batches of records.
        shape: height, width and channels of the images.
        names: the features that are integers.
        is_raw: whether the feature `image` has the pixels themselves instead of a file.

    Returns:
        A `tf.data.Dataset` of `image: uint8[B,H,W,C]` and `int64[B]` of those names.
    """
    (tf,) = import_quietly()
    spec = {name: tf.io.FixedLenFeature([], tf.int64) for name in names}
    spec["image"] = tf.io.FixedLenFeature([], tf.string)

    options = {"fn_output_signature": tf.TensorSpec(shape, tf.uint8), "parallel_iterations": 32}

    def decode_image(encoded: Any) -> Any:
        # decode_png also reads JPEG: it looks at the content.
        return tf.ensure_shape(tf.io.decode_png(encoded, channels=shape[2]), shape)

    def decode(batch: Any) -> Any:
        parsed = tf.io.parse_example(batch, spec)
        if is_raw:
            flat = tf.io.decode_raw(parsed["image"], tf.uint8)
            return parsed | {"image": tf.reshape(flat, (-1, *shape))}
        return parsed | {"image": tf.map_fn(decode_image, parsed["image"], **options)}

    return records.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)
