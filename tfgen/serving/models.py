"""The models that are served.

A name in a request is looked up in the list of what is on the disk; no path is made of it.
"""

import contextlib
import gc
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
from starlette.exceptions import HTTPException

from tfgen.errors import TfgenError, UsageError
from tfgen.evaluation.metrics import shown_metrics
from tfgen.publishing import versions
from tfgen.publishing.signatures import Signature
from tfgen.publishing.versions import Version
from tfgen.sampling import check_labels
from tfgen.serving.contract import DEFAULT_SIGNATURE, read_request, write_answer
from tfgen.serving.refusal import invalid, not_found, report_error

if TYPE_CHECKING:
    from tfgen.publishing.sampler import Sampler

# Most versions that are open at once; the one that was not used for longest is closed.
MAX_OPEN = 6
# Bytes that the body of any request may have.
SMALL_BODY = 2**16
# Threads that open versions; they compute no answers.
OPENERS = 2
# Seconds after which a version that could not be opened is tried again.
RETRY = 10.0


class Listed(NamedTuple):
    """A model as the page lists it.

    Attributes:
        name: name that it was published under.
        versions: the number of each version, whether it is shipped, and the metrics of its
            evaluation; the newest first.
        manifest: the manifest of the newest version.
        key: the newest version on the disk.
    """

    name: str
    versions: Sequence[Mapping[str, Any]]
    manifest: Mapping[str, Any]
    key: "Entry"


class Entry(NamedTuple):
    """A version on the disk.

    Attributes:
        version: the version.
        stamp: changes if another version takes its place in the same folder.
    """

    version: Version
    stamp: tuple[int, int]


class OpenVersion(NamedTuple):
    """A version that is ready to compute.

    Attributes:
        sampler: the version.
        signatures: its signatures by name.
        metadata: the answer to a request for its metadata.
        prices: least seconds that a row took by signature, of those that were measured.
    """

    sampler: "Sampler"
    signatures: Mapping[str, Signature]
    metadata: Mapping[str, Any]
    prices: dict[str, float]


class Models:
    """The versions in a folder and the shipped ones. Answers are JSON.

    Args:
        saved_models: folder of published models; it need not exist yet.
        max_batch: most rows of a request.
        only: the names that are served, each with its only version, or None for those in
            `saved_models`; None or empty: all names.

    Attributes:
        refresh: seconds between two looks at the disk.
    """

    refresh = 1.0

    def __init__(
        self, saved_models: Path, max_batch: int, only: Mapping[str, Version | None] | None = None
    ):
        self.saved_models, self.max_batch, self.only = saved_models, max_batch, only
        self._lock = threading.Lock()
        self._entries: dict[str, dict[int, Entry]] = {}
        self._refreshed = float("-inf")
        # What is open or being opened, the most recently used last.
        self._futures: OrderedDict[Entry, Future[OpenVersion]] = OrderedDict()
        # When and why a version could not be opened.
        self._faults: dict[Entry, tuple[float, str]] = {}
        self._openers = ThreadPoolExecutor(OPENERS, "open")

    def status(self, name: str, number: int | None) -> bytes:
        """The states of a model's versions.

        Raises:
            HTTPException: there is no such name or version.
        """
        states = []
        for entry in self.find(name, number):
            fault = self._faults.get(entry, (0.0, ""))[1]
            status = {"error_code": "UNKNOWN" if fault else "OK", "error_message": fault}
            state = "END" if fault else "AVAILABLE"
            states.append({"version": str(entry.version.number), "state": state, "status": status})
        return orjson.dumps({"model_version_status": states})

    def metadata(self, name: str, number: int | None) -> bytes:
        """The signatures of a version.

        Raises:
            HTTPException: there is no such name or version, or it cannot be opened.
        """
        return orjson.dumps(self.open(name, number).metadata)

    def most_bytes(self, name: str, number: int | None) -> int:
        """Most bytes of the body of a predict request, 32 for each number of the largest batch.

        Raises:
            HTTPException: there is no such name or version.
        """
        # The manifests have the shapes also while no version is open; a damaged one is empty.
        manifests = [_read_manifest(entry.version) for entry in self.find(name, number)]
        tables = [s["inputs"].values() for m in manifests for s in m.get("signatures", {}).values()]
        shapes = ([spec["shape"][1:] for spec in table] for table in tables)
        sizes = (sum(math.prod(side or 1 for side in shape) for shape in row) for row in shapes)
        return SMALL_BODY + 32 * self.max_batch * max(sizes, default=0)

    def predict(self, name: str, number: int | None, body: bytes, timeout: float) -> Iterator[Any]:
        """Computes the outputs of a signature, a slice of the rows at each step.

        Args:
            name: name that the version was published under.
            number: its number; None takes the newest.
            body: the request.
            timeout: seconds for the answer.

        Yields:
            None until the last slice is computed, then the answer.

        Raises:
            HTTPException: there is no such name or version, the request does not fit it, or its
                rows take longer than `timeout` by themselves (413).
        """
        opened = self.open(name, number)
        request = read_request(body, opened.signatures, self.max_batch)
        if "label" in request.inputs:
            try:
                check_labels(request.inputs["label"], opened.sampler.num_classes)
            except UsageError as error:
                raise invalid(str(error)) from None
        price, rows = opened.prices.get(request.signature, 0.0), opened.sampler.part_size
        slices = []
        # A price of a busy moment falls by two slices, so as many are always computed.
        if request.size * price > timeout and request.size > 2 * rows:
            most = max(2 * rows, int(timeout / price))
            message = f"{request.size} rows take longer than {timeout:g} s"
            raise HTTPException(413, f"{message}; ask for at most {most} at once")
        for start in range(0, request.size or 1, rows):
            if start:
                yield None
            begin = time.perf_counter()
            part = {key: array[start : start + rows] for key, array in request.inputs.items()}
            slices.append(opened.sampler.call(request.signature, **part))
            if 0 < start <= request.size - rows:  # the first slice may compile, the last be small
                price = min(price or math.inf, (time.perf_counter() - begin) / rows)
                opened.prices[request.signature] = price
        outputs = {key: np.concatenate([part[key] for part in slices]) for key in slices[0]}
        yield write_answer(outputs, request.by_row)

    def listed(self) -> Iterator[Listed]:
        """The models that the page shows.

        The newest version describes a model, so versions with other signatures are left out.
        """
        for name, entries in self.entries().items():
            manifests = [(e, m) for e in entries.values() if (m := _read_manifest(e.version))]
            if manifests:
                newest, manifest = manifests[0]
                shown = [
                    shown_version(version.number, versions.is_shipped(version.path), own_manifest)
                    for (version, _), own_manifest in manifests
                    if own_manifest["signatures"] == manifest["signatures"]
                ]
                yield Listed(name, shown, manifest, newest)

    def entries(self) -> dict[str, dict[int, Entry]]:
        """All versions by name and number, names in alphabetical order, the newest number first."""
        with self._lock:
            if time.monotonic() - self._refreshed >= self.refresh:
                # A folder that has gone, or cannot be read for now: the next look sees more.
                with contextlib.suppress(FileNotFoundError, UsageError):
                    self._entries = self.read()
                self._refreshed = time.monotonic()
            return self._entries

    def read(self) -> dict[str, dict[int, Entry]]:
        """All versions by name and number, as they are on the disk now."""
        published = versions.published(self.saved_models)
        if self.only:
            published = {
                name: [version] if version else published.get(name, [])
                for name, version in sorted(self.only.items())
            }
        table = {
            name: {entry.version.number: entry for entry in map(_entry, listed) if entry}
            for name, listed in published.items()
        }
        return {name: entries for name, entries in table.items() if entries}

    def find(self, name: str, number: int | None = None) -> list[Entry]:
        """The versions of a name, the newest first; or only the one that is asked for.

        Raises:
            HTTPException: there is no such name or version.
        """
        entries = self.entries().get(name, {})
        if not entries or (number is not None and number not in entries):
            raise not_found(name, number)
        return list(entries.values()) if number is None else [entries[number]]

    def open(self, name: str, number: int | None = None) -> OpenVersion:
        """A version that is ready to compute.

        While a newer version is opened, an open one before it is still the newest. A version that
        could not be opened is passed over for some seconds.

        Args:
            name: name that it was published under.
            number: its number; None takes the newest.

        Raises:
            HTTPException: there is no such name or version (404), or it cannot be opened (500).
        """
        entries = self.find(name, number)
        with self._lock:
            failed_until = time.monotonic() - RETRY
            whole = [e for e in entries if self._faults.get(e, (-math.inf, ""))[0] <= failed_until]
            if not whole:
                raise HTTPException(500, self._faults[entries[0]][1])
            newest = self._opened(whole[0])
            is_open = [e for e in whole if e in self._futures and self._futures[e].done()]
            future = self._opened(is_open[0]) if is_open else newest
        try:
            return future.result()
        except Exception:
            return self.open(name, number)  # it is passed over from now on

    def _opened(self, entry: Entry) -> Future[OpenVersion]:
        """The result of opening a version, which one of the threads does once."""
        if entry not in self._futures:
            self._futures[entry] = self._openers.submit(self._open, entry)
        self._futures.move_to_end(entry)
        if len(self._futures) > MAX_OPEN:  # requests that it computes are still answered
            self._futures.popitem(last=False)
        return self._futures[entry]

    def _open(self, entry: Entry) -> OpenVersion:
        gc.collect()  # a version that was closed is a cycle of references
        try:
            opened = open_version(entry.version)
        except Exception as error:
            message = " ".join(str(error).split())
            with self._lock:
                self._futures.pop(entry, None)
                self._faults[entry] = time.monotonic(), message
            report_error(message)
            raise
        self._faults.pop(entry, None)
        return opened

    def close(self) -> None:
        """Opens no more versions; does not wait for those that are being opened."""
        self._openers.shutdown(wait=False, cancel_futures=True)


def _entry(version: Version) -> Entry | None:
    """A version on the disk; None if it has gone meanwhile, or tfgen did not publish it."""
    try:
        status = (version.path / "saved_model.pb").stat()
        is_version = versions.is_version(version.path)
    except FileNotFoundError:
        return None
    except OSError:
        return Entry(version, (0, 0))  # opening it says why it cannot be read
    return Entry(version, (status.st_ino, status.st_mtime_ns)) if is_version else None


def open_version(version: Version) -> OpenVersion:
    """Opens a version.

    Raises:
        WorkError: the version is damaged, or its graph holds what is not allowed.
        OSError: a file cannot be read.
    """
    from tfgen.publishing.sampler import Sampler  # imports TensorFlow

    sampler = Sampler(version)
    names = sorted({DEFAULT_SIGNATURE, *sampler.manifest["signatures"]})
    signatures = {name: sampler.signature(name) for name in names if sampler.has_signature(name)}
    metadata = read_metadata(version)
    if class_names := (sampler.training.get("data") or {}).get("class_names"):
        metadata["metadata"]["class_names"] = class_names  # TensorFlow Serving has none
    return OpenVersion(sampler, signatures, metadata, {})


def read_metadata(version: Version) -> dict[str, Any]:
    """The answer to a request for the metadata of a version, in protobuf's JSON."""
    from google.protobuf.json_format import MessageToDict
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    graph = SavedModel.FromString((version.path / "saved_model.pb").read_bytes()).meta_graphs[0]
    form = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    table = {name: MessageToDict(value, **form) for name, value in graph.signature_def.items()}
    spec = {"name": version.name, "signature_name": "", "version": str(version.number)}
    return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": table}}}


def shown_version(number: int, is_shipped: bool, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A version as the page lists it, with the metrics of its evaluation; None without one."""
    metrics = shown_metrics(known) if (known := manifest["evaluation"]) else None
    return {"number": number, "shipped": is_shipped, "evaluation": metrics}


def _read_manifest(version: Version) -> dict[str, Any]:
    """The manifest of a version; empty if it is damaged."""
    with contextlib.suppress(TfgenError):
        return versions.read_manifest(version.path)
    return {}
