"""Loads a data set through TFDS: train, validation and test as arrays."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from tfgen.data import cache
from tfgen.data.colored import colored_mnist
from tfgen.data.dataset import Dataset, Split, fingerprint
from tfgen.data.reading import Prepared, open_prepared, read_split
from tfgen.data.stacked import stacked_mnist
from tfgen.errors import UsageError
from tfgen.settings.fields import hint

EMBEDDED = Path(__file__).parent / "embedded"
_EMBEDDED_NAMES = ("mnist",)
# Data sets that are made from the embedded MNIST each time they are loaded.
_DERIVED = {"colored_mnist": colored_mnist, "stacked_mnist": stacked_mnist}
_NAME = re.compile(r"(?P<base>[a-z]\w*)(/(?P<config>[\w.-]+))?(:(?P<version>\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
# The validation split is a sixth of the stored training images, at most 10 000: MNIST's 60 000
# become 50 000 and 10 000.
_VALIDATION_FRACTION = 6
_MAX_VALIDATION = 10_000
_MIN_IMAGES = 3


def load(
    name: str = "mnist", data_dir: str | Path | None = None, *, memory: int | None = None
) -> Dataset:
    """Loads the embedded MNIST, a prepared directory, or a download by TFDS.

    The validation split is the last min(10 000, N // 6) of the N training images, at least one.
    Without a test split, as many images before those are the test split. The stored order is
    preserved.

    `colored_mnist` and `stacked_mnist` are made from the embedded MNIST and are the same at every
    call. With `data_dir`, the data set prepared there under that name is loaded; if there is none,
    that is an error, so that a missing data set is never replaced by a different one.

    Args:
        name: TFDS name: `name`, `name/config` or `name:1.0.0`.
        data_dir: a TFDS root, which contains `<name>/<version>`, or such a version folder. None:
            for `mnist` the copy in this package, otherwise TFDS's own root,
            `~/tensorflow_datasets`.
        memory: most bytes of pixels to hold in memory; None: 1 GB. A larger data set is decoded
            once into the cache, see `tfgen.data.cache`, and mapped from there.

    Returns:
        The data set. Its images are read-only `np.memmap`s if the data set is larger than `memory`.

    Raises:
        UsageError: the name is unknown, or the folder is damaged, has features other than images
            and classes, or has too few images.
        WorkError: the data set is not in the folder and could not be downloaded, or the cache
            cannot be written.
    """
    if is_derived(name, data_dir):
        return _DERIVED[name](load())
    prepared = find_prepared(name, data_dir)
    divide(prepared.name, prepared.counts)
    if prepared.nbytes <= (cache.MAX_IN_MEMORY if memory is None else memory):
        stored = {split: read_split(prepared, split) for split in prepared.counts}
        digest = fingerprint(_divided(prepared.name, stored))
    else:
        stored, digest = cache.cached_splits(
            prepared,
            lambda splits, advance: fingerprint(_divided(prepared.name, splits), advance),
        )
    train, validation, test = _divided(prepared.name, stored)
    return Dataset(
        name=prepared.name,
        version=prepared.version,
        train=train,
        validation=validation,
        test=test,
        num_classes=prepared.num_classes if train.labels is not None else None,
        fingerprint=digest,
        class_names=prepared.class_names if train.labels is not None else None,
    )


def is_derived(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether `load` makes the data set from the embedded MNIST."""
    return data_dir is None and name in _DERIVED


def find_prepared(name: str, data_dir: str | Path | None = None) -> Prepared:
    """The prepared directory of a data set, downloaded if it is missing; decodes no image.

    Args:
        name: as `load` takes it, but not a data set that is made from another one.
        data_dir: as `load` takes it.

    Raises:
        UsageError: the name is unknown, or the folder is damaged or holds another data set.
        WorkError: the data set is not in the folder and could not be downloaded.
    """
    prepared = open_prepared(_locate(name, data_dir))
    base = name.partition("/")[0].partition(":")[0]
    if prepared.name != base:
        raise UsageError(
            f"{data_dir} holds {prepared.name!r}, not {base!r}; use --dataset {prepared.name}"
        )
    return prepared


def _locate(name: str, data_dir: str | Path | None) -> Path:
    """The version folder of the data set `name`, downloaded if it is missing."""
    match = _NAME.fullmatch(name)
    if not match:
        raise UsageError(
            f"{name!r} is not a valid data set name; valid are letters, digits and '_' after a "
            "lower-case letter, as in mnist, emnist/letters or mnist:3.0.1"
        )
    if data_dir is None:
        root = EMBEDDED if match["base"] in _EMBEDDED_NAMES else _default_root()
    else:
        root = Path(data_dir).expanduser()
        if root.exists() and not root.is_dir():
            raise UsageError(
                f"{root} is not a folder; --data-dir takes a TFDS directory, as tfgen-data writes "
                "it"
            )
        if (root / "features.json").is_file():
            return root
    folder = root / match["base"]
    if match["config"]:
        folder = folder / match["config"]
    versions = _versions(folder)
    if match["version"]:
        versions = [version for version in versions if version.name == match["version"]]
    if versions:
        return versions[-1]
    if folder.is_dir() and not match["config"]:
        configs = [f"{name}/{child.name}" for child in sorted(folder.iterdir()) if _versions(child)]
        if configs:
            advice = hint(name, configs, f"ls {folder}")
            raise UsageError(f"{folder} holds several configurations{advice}")
    if match["base"] in _DERIVED:
        raise UsageError(
            f"{root} holds no {name!r}; to have it made from the embedded MNIST, "
            f"ask for {match['base']!r} without --data-dir"
        )
    from tfgen.data.download import download

    # Nothing is ever written into the package.
    return download(name, _default_root() if root == EMBEDDED else root, _DERIVED)


def _default_root() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _versions(folder: Path) -> list[Path]:
    """The version folders in `folder`, the newest last."""
    if not folder.is_dir():
        return []
    versions = [
        child for child in folder.iterdir() if _VERSION.fullmatch(child.name) and child.is_dir()
    ]
    return sorted(versions, key=lambda version: [int(part) for part in version.name.split(".")])


def divide(name: str, counts: Mapping[str, int]) -> dict[str, tuple[str, int, int]]:
    """Where the images of train, validation and test are stored.

    Args:
        name: the data set, for the error message.
        counts: number of images of the stored splits `train` and, if there is one, `test`.

    Returns:
        For each of the three: stored split, first image, and the image after the last one.

    Raises:
        UsageError: there are too few train images.
    """
    n = counts["train"]
    if n < _MIN_IMAGES:
        raise UsageError(f"{name} has {n} train images; the least is {_MIN_IMAGES}")
    held_out = max(1, min(_MAX_VALIDATION, n // _VALIDATION_FRACTION))
    end = n - held_out
    if "test" in counts:
        test = ("test", 0, counts["test"])
    else:
        end, test = end - held_out, ("train", end - held_out, end)
    return {"train": ("train", 0, end), "validation": ("train", n - held_out, n), "test": test}


def _divided(name: str, stored: Mapping[str, Split]) -> tuple[Split, Split, Split]:
    """Train, validation and test from the stored splits."""
    places = divide(name, {split: len(images) for split, images in stored.items()}).values()
    train, validation, test = (stored[split].take(start, end) for split, start, end in places)
    return train, validation, test
