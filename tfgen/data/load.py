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
# Data sets that are made of the embedded MNIST when they are loaded.
_DERIVED = {"stacked_mnist": stacked_mnist}
_NAME = re.compile(r"(?P<base>[a-z]\w*)(/(?P<config>[\w.-]+))?(:(?P<version>\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
# The validation split's share of the train images, and its most: 10 000 of MNIST's 60 000.
_VALIDATION_SHARE = 6
_VALIDATION_MOST = 10_000
_LEAST_IMAGES = 3


def load(
    name: str = "mnist", data_dir: str | Path | None = None, *, memory: int | None = None
) -> Dataset:
    """Loads a data set by TFDS: the embedded MNIST, a prepared directory, or a download.

    The validation split is the last min(10 000, N // 6) of the N train images, at least one;
    without a test split, test is as many before those. The stored order is kept.

    `stacked_mnist` is made of the embedded MNIST, the same at every call. With `data_dir` it is the
    one prepared there, and an error where there is none: never silently another one than was meant.

    Args:
        name: TFDS's name; `name/config` and `name:1.0.0` are understood.
        data_dir: a TFDS root, which holds `<name>/<version>`, or such a folder itself. None: for
            `mnist` the copy in this package, else TFDS's own root, `~/tensorflow_datasets`.
        memory: bytes that the pixels may take; None asks the machine.

    Raises:
        UsageError: the name is unknown, or the folder is damaged, has other features, has too few
            images, or does not fit into memory.
        WorkError: it is not there and could not be downloaded.
    """
    if data_dir is None and name in _DERIVED:
        return _DERIVED[name](load(), memory)
    prepared = read_prepared(_locate(name, data_dir), memory)
    base = name.partition("/")[0].partition(":")[0]
    if prepared.name != base:
        raise UsageError(
            f"{data_dir} holds {prepared.name!r}, not {base!r}; use --dataset {prepared.name}"
        )
    train, validation, test = _split(prepared)
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
    """The prepared directory of `name`, downloaded where it is nowhere."""
    match = _NAME.fullmatch(name)
    if not match:
        raise UsageError(
            f"{name!r} is no name of a data set; give one like mnist, emnist/letters or mnist:3.0.1"
        )
    if data_dir is None:
        root = EMBEDDED if match["base"] in _EMBEDDED_NAMES else _default_root()
    else:
        root = Path(data_dir).expanduser()
        if root.exists() and not root.is_dir():
            raise UsageError(
                f"{root} is no folder; --data-dir takes a TFDS directory, made by tfgen-data"
            )
        if (root / "features.json").is_file():
            return root
    folder = root / match["base"]
    if match["config"]:
        folder = folder / match["config"]
    versions = _versions(folder)
    if match["version"]:
        versions = [v for v in versions if v.name == match["version"]]
    if versions:
        return versions[-1]
    if folder.is_dir() and not match["config"]:
        configs = [f"{name}/{child.name}" for child in sorted(folder.iterdir()) if _versions(child)]
        if configs:
            raise UsageError(f"{folder} holds several configurations{hint(name, configs)}")
    if match["base"] in _DERIVED:
        raise UsageError(
            f"{root} holds no {name!r}; to have it made of the embedded MNIST, "
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
    found = [
        child for child in folder.iterdir() if _VERSION.fullmatch(child.name) and child.is_dir()
    ]
    return sorted(found, key=lambda child: [int(part) for part in child.name.split(".")])


def _split(prepared: Prepared) -> tuple[Split, Split, Split]:
    images, labels = prepared.splits["train"]
    n = len(images)
    has_test = "test" in prepared.splits
    if n < _LEAST_IMAGES:
        raise UsageError(f"{prepared.name} has {n} train images; the least is {_LEAST_IMAGES}")
    held_out = max(1, min(_VALIDATION_MOST, n // _VALIDATION_SHARE))

    def part(start: int, end: int) -> Split:
        return Split(images[start:end], None if labels is None else labels[start:end])

    validation = part(n - held_out, n)
    if has_test:
        return part(0, n - held_out), validation, Split(*prepared.splits["test"])
    return part(0, n - 2 * held_out), validation, part(n - 2 * held_out, n - held_out)
