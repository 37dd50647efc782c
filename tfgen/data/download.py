"""Fetches and prepares a data set that TFDS knows how to get."""

import difflib
import socket
import sys
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tfgen.data._tfds import import_tfds, one_line, silenced
from tfgen.data.reading import check_features
from tfgen.errors import TfgenError, UsageError, WorkError
from tfgen.system.atomic import fresh_folder, publish

_CONNECT_SECONDS = 5.0
_LOCAL = "prepare it from local files with tfgen-data idx or tfgen-data images, and give --data-dir"


def download(name: str, root: Path, others: Iterable[str] = ()) -> Path:
    """Downloads `name` by TFDS and prepares it below `root`; the folder appears whole or not at
    all.

    Args:
        name: TFDS's name, `name`, `name/config` or `name:version`.
        root: the TFDS root.
        others: names that `load` knows beside TFDS's, to be suggested like them.

    Returns:
        `<root>/<name>/<version>`.

    Raises:
        UsageError: TFDS knows no such data set, or it holds no images of one size.
        WorkError: it could not be downloaded.
    """
    tfds = import_tfds()
    base = name.partition("/")[0].partition(":")[0]
    with silenced():
        known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        near = difflib.get_close_matches(base, [*known, *others], n=3)
        advice = f"did you mean {' or '.join(map(repr, near))}? If it is your own, " if near else ""
        raise UsageError(
            f"unknown data set {base!r}, not in {root} and none of TFDS's; {advice}{_LOCAL}"
        )
    with fresh_folder(root, base) as folder:
        made = _prepare(tfds, name, folder, root)
        target = root / made.relative_to(folder)
        publish(made, target)
    return target


def _prepare(tfds: Any, name: str, folder: Path, root: Path) -> Path:
    try:
        with silenced():
            builder = tfds.builder(name, data_dir=str(folder))
            features = builder.info.features
    except Exception as error:
        # TFDS's own message names the temporary folder; only a missing package is worth telling.
        reason = f" ({one_line(error)})" if isinstance(error, ImportError) else ""
        advice = (
            ""
            if reason
            else "; leave out the version, or look for its configurations in TFDS's catalogue"
        )
        raise UsageError(f"TFDS cannot make {name!r}{reason}{advice}") from None
    check_features(features, name)
    try:
        with silenced():
            _check_reachable(builder)
        if sys.stderr.isatty():
            print(f"downloading {name} into {root} …", file=sys.stderr, flush=True)
        with silenced():
            builder.download_and_prepare(
                download_dir=str(folder / "downloads"),
                download_config=tfds.download.DownloadConfig(
                    manual_dir=str(root / "downloads" / "manual")
                ),
            )
    except TfgenError:
        raise
    except Exception as error:
        raise WorkError(
            f"{name} is not in {root} and could not be downloaded ({one_line(error)}); {_LOCAL}"
        ) from None
    return Path(builder.data_dir)


def _check_reachable(builder: Any) -> None:
    """Tries the hosts first: TFDS would repeat each failing download for minutes.

    Raises:
        OSError: a host has no address, or does not answer.
    """
    if urllib.request.getproxies():
        return  # the hosts are the proxy's to find
    parts = [urlsplit(url) for url in getattr(builder, "url_infos", {}) or {}]
    hosts = {
        (part.hostname, part.port or (80 if part.scheme == "http" else 443))
        for part in parts
        if part.hostname
    }
    for host, port in sorted(hosts):
        try:
            socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            raise OSError(f"{host}: {error.strerror or error}") from None
