"""Writes arrays of images as a prepared TFDS directory."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.data._tfds import import_tfds, silenced
from tfgen.errors import UsageError
from tfgen.system.atomic import fresh_folder, publish

# TFDS's own version of MNIST, so that the embedded copy is found where TFDS would look for it.
_VERSIONS = {"mnist": "3.0.1"}
_DEFAULT_VERSION = "1.0.0"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def prepare(
    name: str,
    splits: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    data_dir: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    description: str | None = None,
    citation: str | None = None,
    homepage: str | None = None,
) -> Path:
    """Writes `<data_dir>/<name>/<version>`, which `tfgen.data.load` and TFDS read; images keep
    their order.

    Args:
        name: the data set's name, in snake case.
        splits: by name, images uint8[N,H,W,C] and labels int64[N] or None; for all splits or for
            none.
        data_dir: the TFDS root; made where it is missing.
        class_names: the classes' names by label; None counts the labels.
        description: what the data set is, its licence included.
        citation: how to cite it.
        homepage: its address.

    Returns:
        The folder written. It appears whole, by one rename, or not at all.

    Raises:
        UsageError: the name is not in snake case, the folder exists, or the arrays do not fit
            together.
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
        _write(folder, name, version, splits, class_names, description, citation, homepage)
        publish(folder / name / version, target)
    return target


def check_name(name: str) -> None:
    """Refuses a name that TFDS would not take.

    Raises:
        UsageError: `name` is not in snake case.
    """
    if not _NAME.fullmatch(name):
        snake = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        example = snake if _NAME.fullmatch(snake) else "my_images"
        raise UsageError(
            f"{name!r} is no name for a data set: lower-case letters, digits and single underscores, "
            f"a letter first; {example!r} would do"
        )


def _check_splits(
    splits: Mapping[str, tuple[np.ndarray, np.ndarray | None]], class_names: Sequence[str] | None
) -> None:
    if "train" not in splits:
        raise UsageError(f"a data set needs a split 'train'; given: {', '.join(splits) or 'none'}")
    shape = splits["train"][0].shape[1:]
    labelled = splits["train"][1] is not None
    for split, (images, labels) in splits.items():
        if (
            images.dtype != np.uint8
            or images.ndim != 4
            or images.shape[3] not in (1, 3)
            or 0 in images.shape
        ):
            raise UsageError(
                f"{split} images are {images.dtype}{list(images.shape)}; they must be uint8 [N, H, W, 1 or 3]"
            )
        if images.shape[1:] != shape:
            raise UsageError(
                f"{split} images are {images.shape[1:]}, train images {shape}; all must agree"
            )
        if (labels is not None) != labelled:
            raise UsageError("labels must be given for all splits or for none")
        if labels is None:
            continue
        if len(labels) != len(images):
            raise UsageError(
                f"{split} has {len(images)} images but {len(labels)} labels; they must be as many"
            )
        most = len(class_names) if class_names is not None else np.inf
        if labels.min() < 0 or labels.max() >= most:
            raise UsageError(
                f"{split} labels run from {labels.min()} to {labels.max()}; there are {most} classes"
            )


def _write(
    folder: Path,
    name: str,
    version: str,
    splits: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    class_names: Sequence[str] | None,
    description: str | None,
    citation: str | None,
    homepage: str | None,
) -> None:
    tfds = import_tfds()
    image = tfds.features.Image(
        shape=splits["train"][0].shape[1:], dtype=np.uint8, encoding_format="png"
    )
    features = {"image": image}
    if splits["train"][1] is not None:
        if class_names is not None:
            features["label"] = tfds.features.ClassLabel(names=list(class_names))
        else:
            most = max(int(labels.max()) for _, labels in splits.values() if labels is not None)
            features["label"] = tfds.features.ClassLabel(num_classes=most + 1)
    with silenced():
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version=version,
            features=tfds.features.FeaturesDict(features),
            split_datasets={split: _Examples(*arrays) for split, arrays in splits.items()},
            data_dir=str(folder),
            description=description or f"{name}, prepared by tfgen-data.",
            citation=citation,
            homepage=homepage,
            disable_shuffling=True,
        )


class _Examples:
    """The examples of a split with their keys, as TFDS iterates over them."""

    def __init__(self, images: np.ndarray, labels: np.ndarray | None):
        self.images = images
        self.labels = labels

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for key, image in enumerate(self.images):
            example = {"image": image}
            if self.labels is not None:
                example["label"] = int(self.labels[key])
            yield key, example
