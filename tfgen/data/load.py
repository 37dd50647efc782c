"""Loads a data set through TFDS: train, validation and test as arrays in memory."""

import os
import re
from pathlib import Path

from tfgen.data.dataset import Dataset, Split, fingerprint
from tfgen.data.reading import Prepared, read_prepared
from tfgen.data.stacked import stacked_mnist
from tfgen.errors import UsageError
from tfgen.settings.fields import hint

EMBEDDED = Path(__file__).parent / "embedded"
_EMBEDDED_NAMES = ("mnist",)
# Data sets that are made from the embedded MNIST each time they are loaded.
_DERIVED = {"stacked_mnist": stacked_mnist}
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

    `stacked_mnist` is made from the embedded MNIST and is the same at every call. With `data_dir`,
    the data set prepared there under that name is loaded; if there is none, that is an error, so
    that a missing data set is never replaced by a different one.

    Args:
        name: TFDS name: `name`, `name/config` or `name:1.0.0`.
        data_dir: a TFDS root, which contains `<name>/<version>`, or such a version folder. None:
            for `mnist` the copy in this package, otherwise TFDS's own root,
            `~/tensorflow_datasets`.
        memory: available bytes for the pixels; None uses the physical memory of this machine.

    Returns:
        The data set, all pixels in memory.

    Raises:
        UsageError: the name is unknown, or the folder is damaged, has features other than images
            and classes, has too few images, or does not fit into memory.
        WorkError: the data set is not in the folder and could not be downloaded.
    """
    if data_dir is None and name in _DERIVED:
        return _DERIVED[name](load(), memory)
    prepared = read_prepared(_locate(name, data_dir), memory)
    base = name.partition("/")[0].partition(":")[0]
    if prepared.name != base:
        raise UsageError(
            f"{data_dir} holds {prepared.name!r}, not {base!r}; use --dataset {prepared.name}"
        )
    train, validation, test = _divide(prepared)
    return Dataset(
        name=prepared.name,
        version=prepared.version,
        train=train,
        validation=validation,
        test=test,
        num_classes=prepared.num_classes if train.labels is not None else None,
        fingerprint=fingerprint((train, validation, test)),
    )


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


def _divide(prepared: Prepared) -> tuple[Split, Split, Split]:
    """Train, validation and test from the stored splits."""
    stored = prepared.splits["train"]
    n = len(stored)
    if n < _MIN_IMAGES:
        raise UsageError(f"{prepared.name} has {n} train images; the least is {_MIN_IMAGES}")
    held_out = max(1, min(_MAX_VALIDATION, n // _VALIDATION_FRACTION))
    validation = stored.take(n - held_out, n)
    if "test" in prepared.splits:
        return stored.take(0, n - held_out), validation, prepared.splits["test"]
    test = stored.take(n - 2 * held_out, n - held_out)
    return stored.take(0, n - 2 * held_out), validation, test
