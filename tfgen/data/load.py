"""Loads a data set through TFDS: train, validation and test as arrays."""

import os
import re
import socket
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tfgen.data import cache
from tfgen.data._tfds import first_line, import_tfds, silence
from tfgen.data.dataset import Dataset, Split, fingerprint
from tfgen.data.derived import colored_mnist, stacked_mnist
from tfgen.data.reading import Prepared, check_features, open_prepared, read_split
from tfgen.errors import TfgenError, UsageError, WorkError
from tfgen.settings.fields import hint, nearest
from tfgen.system.atomic import fresh_folder, publish
from tfgen.system.status import status

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
_CONNECT_SECONDS = 5.0
_ADVICE = (
    "prepare it from local files with tfgen-data idx or tfgen-data images, and pass --data-dir"
)


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
    has_labels = train.labels is not None
    return Dataset(
        name=prepared.name,
        version=prepared.version,
        train=train,
        validation=validation,
        test=test,
        num_classes=prepared.num_classes if has_labels else None,
        fingerprint=digest,
        class_names=prepared.class_names if has_labels else None,
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
    root = _default_root() if data_dir is None else Path(data_dir).expanduser()
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder; --data-dir takes a TFDS directory")
    if data_dir is not None and (root / "features.json").is_file():
        return root
    is_embedded = data_dir is None and match["base"] in _EMBEDDED_NAMES
    folder = (EMBEDDED if is_embedded else root) / match["base"] / (match["config"] or "")
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
    return _download(name, match["base"], root)


def _default_root() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _versions(folder: Path) -> list[Path]:
    """The version folders in `folder`, the newest last."""
    folders = folder.iterdir() if folder.is_dir() else ()
    versions = [path for path in folders if _VERSION.fullmatch(path.name) and path.is_dir()]
    return sorted(versions, key=lambda path: [int(part) for part in path.name.split(".")])


def _download(name: str, base: str, root: Path) -> Path:
    """Downloads a data set with TFDS and prepares it in a TFDS root; returns its version folder.

    That folder appears complete, by one rename, or not at all.

    Raises:
        UsageError: TFDS has no such data set, or its images do not all have one size.
        WorkError: the download failed.
    """
    tfds = import_tfds()
    with silence():
        known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        near = nearest(base, [*known, *_DERIVED], strict=True)
        question = f"did you mean {near!r}? If it is your own, " if near else ""
        raise UsageError(
            f"unknown data set {base!r}: it is not in {root}, and TFDS has none of that name; "
            f"{question}{_ADVICE}"
        )
    with fresh_folder(root, base) as folder:
        try:
            with silence():
                builder = tfds.builder(name, data_dir=str(folder))
                features = builder.info.features
        except Exception as error:
            # TFDS's own message names the temporary folder, so only a missing package is reported.
            is_missing = isinstance(error, ImportError)
            reason = first_line(error) if is_missing else "see its configurations in the catalogue"
            raise UsageError(f"TFDS cannot build {name!r} ({reason})") from None
        check_features(features, name)
        try:
            with status(f"downloading {name} into {root}"), silence():
                _check_reachable(builder)
                manual = root / "downloads" / "manual"
                builder.download_and_prepare(
                    download_dir=str(folder / "downloads"),
                    download_config=tfds.download.DownloadConfig(manual_dir=str(manual)),
                )
        except TfgenError:  # a signal ended the download
            raise
        except Exception as error:
            raise WorkError(
                f"{name} is not in {root} and could not be downloaded ({first_line(error)}); "
                f"{_ADVICE}"
            ) from None
        target = root / Path(builder.data_dir).relative_to(folder)
        publish(Path(builder.data_dir), target)
    return target


def _check_reachable(builder: Any) -> None:
    """Connects to each host; TFDS itself would retry a download for minutes.

    Raises:
        OSError: a host has no address, or does not answer.
    """
    if urllib.request.getproxies():
        return  # the proxy resolves the hosts
    for url in map(urlsplit, getattr(builder, "url_infos", None) or ()):
        if url.hostname:
            port = url.port or (80 if url.scheme == "http" else 443)
            try:
                socket.create_connection((url.hostname, port), timeout=_CONNECT_SECONDS).close()
            except OSError as error:
                raise OSError(f"{url.hostname}: {error.strerror or error}") from None


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
