"""Loads a data set through TFDS: train, validation and test as arrays."""

import os
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tfgen.data import cache
from tfgen.data._tfds import import_tfds, silence
from tfgen.data.dataset import Dataset, fingerprint
from tfgen.data.derived import colored_mnist, stacked_mnist
from tfgen.data.reading import Prepared, open_prepared, read_features
from tfgen.errors import TfgenError, UsageError, WorkError, first_line
from tfgen.settings.fields import nearest
from tfgen.system.atomic import fresh_folder, move_into_place
from tfgen.system.status import status

EMBEDDED = Path(__file__).parent / "embedded"
# Data sets that are made from the embedded MNIST each time they are loaded.
_DERIVED = {"colored_mnist": colored_mnist, "stacked_mnist": stacked_mnist}
_VERSION = r"\d+\.\d+\.\d+"
_NAME = re.compile(rf"(?P<base>[a-z]\w*)(/(?P<config>[\w.-]+))?(:(?P<version>{_VERSION}))?")
_CONNECT_SECONDS = 5.0
_ADVICE = "prepare it from local files with tfgen-data, and pass --data-dir"


def load(
    name: str = "mnist", data_dir: str | Path | None = None, *, memory: int | None = None
) -> Dataset:
    """Loads the embedded MNIST, a prepared directory, or a download by TFDS.

    The validation split is the last min(10 000, N // 6) of the N training images, at least one.
    Without a test split, as many images before those are the test split; `metadata.json` may have
    other numbers, see `tfgen.data.importers.images`. The stored order is preserved.

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
        WorkError: the data set is not in the folder and could not be downloaded, or the disk of the
            cache is full.
    """
    if is_derived(name, data_dir):
        mnist = load()
        return replace(_DERIVED[name](mnist), description=f"Made from {mnist.description}")
    prepared = find_prepared(name, data_dir)
    if prepared.nbytes > (cache.MAX_IN_MEMORY if memory is None else memory):
        images, labels, digest = cache.read_cached(prepared)
    else:
        images, labels = map(np.concatenate, zip(*prepared.batches(), strict=True))
        digest = ""
    joined, train, validation, test = prepared.divide(images, labels)
    splits = train, validation, test
    num_classes, names = prepared.num_classes, prepared.class_names
    if train.labels is None:
        num_classes = names = None
    digest, identity = digest or fingerprint(splits), (prepared.name, prepared.version)
    return Dataset(*identity, *splits, num_classes, digest, names, joined, prepared.description)


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
        text = f"{data_dir} holds the data set {prepared.name!r}, not {base!r}"
        raise UsageError(f"{text}; use --dataset {prepared.name}")
    return prepared


def _locate(name: str, data_dir: str | Path | None) -> Path:
    """The version folder of the data set `name`, downloaded if it is missing."""
    match = _NAME.fullmatch(name)
    if not match:
        text = f"{name!r} is not a valid name of a data set"
        raise UsageError(f"{text}; valid are names such as emnist/letters or mnist:3.0.1")
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = Path(default if data_dir is None else data_dir).expanduser()
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder; --data-dir takes a TFDS directory")
    if data_dir is not None and (root / "features.json").is_file():
        return root
    is_embedded = data_dir is None and match["base"] == "mnist"
    folder = (EMBEDDED if is_embedded else root) / match["base"] / (match["config"] or "")
    wanted = re.compile(re.escape(match["version"] or "") or _VERSION)
    versions = [path for path in folder.glob("*") if wanted.fullmatch(path.name)]
    if versions:
        return max(versions, key=lambda path: [int(part) for part in path.name.split(".")])
    return _download(name, match["base"], root)


def _download(name: str, base: str, root: Path) -> Path:
    """Downloads a data set with TFDS and prepares it in a TFDS root; returns its version folder.

    That folder appears complete, by one rename, or not at all.

    Raises:
        UsageError: TFDS has no such data set, or its images do not all have one size.
        WorkError: the download failed.
    """
    from google.protobuf.json_format import MessageToDict

    tfds = import_tfds()
    with silence():
        known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        near = nearest(base, [*known, *_DERIVED, *(p.name for p in root.glob("*"))], strict=True)
        question = f"did you mean {near!r}? If it is your own, " if near else ""
        text = f"unknown data set {base!r}: neither {root} nor TFDS has it"
        raise UsageError(f"{text}; {question}{_ADVICE}")
    with fresh_folder(root, base) as folder:
        try:
            with silence():
                builder = tfds.builder(name, data_dir=str(folder))
                features = MessageToDict(builder.info.features.to_proto())
        except Exception as error:  # TFDS raises errors of many classes
            raise UsageError(f"TFDS cannot build {name!r} ({first_line(error)})") from None
        read_features(features, name)
        try:
            with status(f"downloading {name} into {root}"), silence():
                _check_reachable(builder)
                manual, place = root / "downloads" / "manual", str(folder / "downloads")
                config = tfds.download.DownloadConfig(manual_dir=str(manual))
                builder.download_and_prepare(download_dir=place, download_config=config)
        except TfgenError:  # a signal ended the download
            raise
        except Exception as error:
            text = f"{name} is not in {root} and could not be downloaded ({first_line(error)})"
            raise WorkError(f"{text}; {_ADVICE}") from None
        target = root / Path(builder.data_dir).relative_to(folder)
        move_into_place(Path(builder.data_dir), target)
    return target


def _check_reachable(builder: Any) -> None:
    """Connects to each host; TFDS itself would retry a download for minutes.

    Raises:
        OSError: a host has no address, or does not answer.
    """
    for url in map(urlsplit, getattr(builder, "url_infos", None) or ()):
        from urllib.request import getproxies

        if url.hostname and not getproxies():  # a proxy resolves the hosts
            address = (url.hostname, url.port or (80 if url.scheme == "http" else 443))
            socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
