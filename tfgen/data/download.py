"""Downloads and prepares a data set that TFDS knows."""

import socket
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tfgen.data._tfds import first_line, import_tfds, silence
from tfgen.data.reading import check_features
from tfgen.errors import TfgenError, UsageError, WorkError
from tfgen.settings.fields import nearest
from tfgen.system.atomic import fresh_folder, publish
from tfgen.system.status import status

_CONNECT_SECONDS = 5.0
_ADVICE = (
    "prepare it from local files with tfgen-data idx or tfgen-data images, and pass --data-dir"
)


def download(name: str, root: Path, extra_names: Iterable[str] = ()) -> Path:
    """Downloads a data set with TFDS and prepares it in a TFDS root.

    The version folder appears complete, by one rename, or not at all.

    Args:
        name: TFDS name: `name`, `name/config` or `name:version`.
        root: the TFDS root.
        extra_names: names to suggest besides TFDS's own.

    Returns:
        The version folder, `<root>/<name>/<version>`.

    Raises:
        UsageError: TFDS has no such data set, or its images do not all have one size.
        WorkError: the download failed.
    """
    tfds = import_tfds()
    base = name.partition("/")[0].partition(":")[0]
    with silence():
        known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        near = nearest(base, [*known, *extra_names], strict=True)
        question = f"did you mean {near!r}? If it is your own, " if near else ""
        raise UsageError(
            f"unknown data set {base!r}: it is not in {root}, and TFDS has none of that name; "
            f"{question}{_ADVICE}"
        )
    with fresh_folder(root, base) as folder:
        prepared = _prepare(tfds, name, folder, root)
        target = root / prepared.relative_to(folder)
        publish(prepared, target)
    return target


def _prepare(tfds: Any, name: str, folder: Path, root: Path) -> Path:
    """Prepares a data set in the temporary `folder`; returns its version folder."""
    try:
        with silence():
            builder = tfds.builder(name, data_dir=str(folder))
            features = builder.info.features
    except Exception as error:
        # TFDS's own message names the temporary folder, so only a missing package is reported.
        if isinstance(error, ImportError):
            reason = f" ({first_line(error)})"
        else:
            reason = "; leave out the version, or look up its configurations in TFDS's catalogue"
        raise UsageError(f"TFDS cannot build {name!r}{reason}") from None
    check_features(features, name)
    try:
        with silence():
            _check_reachable(builder)
        manual = root / "downloads" / "manual"
        with status(f"downloading {name} into {root}"), silence():
            builder.download_and_prepare(
                download_dir=str(folder / "downloads"),
                download_config=tfds.download.DownloadConfig(manual_dir=str(manual)),
            )
    except TfgenError:
        raise
    except Exception as error:
        raise WorkError(
            f"{name} is not in {root} and could not be downloaded ({first_line(error)}); {_ADVICE}"
        ) from None
    return Path(builder.data_dir)


def _check_reachable(builder: Any) -> None:
    """Connects to each host; TFDS itself would retry a download for minutes.

    Raises:
        OSError: a host has no address, or does not answer.
    """
    if urllib.request.getproxies():
        return  # the proxy resolves the hosts
    urls = [urlsplit(url) for url in getattr(builder, "url_infos", {}) or {}]
    hosts = {
        (url.hostname, url.port or (80 if url.scheme == "http" else 443))
        for url in urls
        if url.hostname
    }
    for host, port in sorted(hosts):
        try:
            socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            raise OSError(f"{host}: {error.strerror or error}") from None
