"""Writes arrays of images as a prepared TFDS directory."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.data._tfds import import_tfds, silence
from tfgen.data.dataset import Split, count_classes
from tfgen.errors import UsageError, size_text
from tfgen.system.atomic import fresh_folder, publish

# TFDS's own version of MNIST, so that the embedded copy stands where TFDS would look for it.
_VERSIONS = {"mnist": "3.0.1"}
_DEFAULT_VERSION = "1.0.0"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def write_prepared(
    name: str,
    splits: Mapping[str, Split],
    data_dir: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    description: str | None = None,
    citation: str | None = None,
    homepage: str | None = None,
) -> Path:
    """Writes `<data_dir>/<name>/<version>`, which `tfgen.data.load` and TFDS read.

    Images keep their order. The folder appears complete, by one rename, or not at all.

    Args:
        name: name of the data set, in snake case.
        splits: `train` and any others by name; all of them have labels, or none has.
        data_dir: the TFDS root; created if it is missing.
        class_names: names of the classes by label; None for as many classes as labels count.
        description: what the data set is, including its licence.
        citation: how to cite it.
        homepage: its web address.

    Returns:
        The version folder.

    Raises:
        UsageError: the name is not in snake case, the folder exists, or the splits disagree in
            image shape or labels.
    """
    check_name(name)
    _check_splits(splits, class_names)
    version = _VERSIONS.get(name, _DEFAULT_VERSION)
    target = Path(data_dir) / name / version
    if target.exists():
        raise UsageError(f"{target} exists already; remove it, or choose another name or folder")
    for parent in target.parents:
        if parent.exists() and not parent.is_dir():
            raise UsageError(f"{parent} is a file; choose another folder to write {name} to")
    with fresh_folder(Path(data_dir), name) as folder:
        tfds = import_tfds()
        with silence():
            tfds.dataset_builders.store_as_tfds_dataset(
                name=name,
                version=version,
                features=_features(splits, class_names),
                split_datasets={key: _Examples(split) for key, split in splits.items()},
                data_dir=str(folder),
                description=description or f"{name}, prepared by tfgen-data.",
                citation=citation,
                homepage=homepage,
                disable_shuffling=True,
            )
        publish(folder / name / version, target)
    return target


def check_name(name: str) -> None:
    """Refuses a name that TFDS would not accept.

    Raises:
        UsageError: `name` is not in snake case.
    """
    if not _NAME.fullmatch(name):
        snake = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        example = snake if _NAME.fullmatch(snake) else "my_images"
        raise UsageError(
            f"{name!r} is not a valid data set name; use lower-case letters, digits and single "
            f"underscores, and begin with a letter, for example {example!r}"
        )


def _check_splits(splits: Mapping[str, Split], class_names: Sequence[str] | None) -> None:
    if "train" not in splits:
        raise UsageError(
            f"a data set needs a split 'train'; it has: {', '.join(splits) or 'no split'}"
        )
    train = splits["train"]
    for name, split in splits.items():
        images = split.images
        if (
            images.dtype != np.uint8
            or images.ndim != 4
            or images.shape[3] not in (1, 3)
            or 0 in images.shape
        ):
            raise UsageError(
                f"{name} images are {images.dtype}{list(images.shape)}; "
                "they must be uint8 [N, H, W, 1 or 3]"
            )
        if images.shape[1:] != train.images.shape[1:]:
            raise UsageError(
                f"{name} images are {size_text(images.shape[1:])}, train images are "
                f"{size_text(train.images.shape[1:])}; all images must have the same size"
            )
        if (split.labels is None) != (train.labels is None):
            raise UsageError("some splits have labels and some have none; all splits must agree")
        if split.labels is not None:
            _check_labels(name, split.labels, len(split), class_names)


def _check_labels(
    name: str, labels: np.ndarray, count: int, class_names: Sequence[str] | None
) -> None:
    if len(labels) != count:
        raise UsageError(
            f"{name} has {count} images but {len(labels)} labels; each image needs one label"
        )
    num_classes = len(class_names) if class_names is not None else np.inf
    if labels.min() < 0:
        raise UsageError(f"{name} has the label {labels.min()}; labels count from 0")
    if labels.max() >= num_classes:
        raise UsageError(
            f"{name} labels run up to {labels.max()}, but there are {num_classes} classes"
        )


def _features(splits: Mapping[str, Split], class_names: Sequence[str] | None) -> Any:
    """TFDS's description of the images and labels."""
    features = import_tfds().features
    shape = splits["train"].image_shape
    fields = {"image": features.Image(shape=shape, dtype=np.uint8, encoding_format="png")}
    num_classes = count_classes(splits.values())
    if num_classes is not None and class_names is not None:
        fields["label"] = features.ClassLabel(names=list(class_names))
    elif num_classes is not None:
        fields["label"] = features.ClassLabel(num_classes=num_classes)
    return features.FeaturesDict(fields)


class _Examples:
    """The examples of a split with their keys, in the form that TFDS iterates over."""

    def __init__(self, split: Split):
        self.split = split

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for key, image in enumerate(self.split.images):
            example = {"image": image}
            if self.split.labels is not None:
                example["label"] = int(self.split.labels[key])
            yield key, example
