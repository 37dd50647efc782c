"""The published versions that are served: which there are, and those that are open.

A name in a request is looked up in the list of what is on the disk; no path is made of it.
"""

import contextlib
import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from starlette.exceptions import HTTPException

from tfgen.publishing import versions
from tfgen.publishing.signatures import Signature
from tfgen.publishing.versions import Version
from tfgen.serving.contract import DEFAULT_SIGNATURE
from tfgen.serving.refusal import not_found, report_error

if TYPE_CHECKING:
    from tfgen.publishing.sampler import Sampler

# Most versions that are open at once; the one that was not used for longest is closed.
MAX_OPEN = 6
# Threads that open versions; they compute no answers.
OPENERS = 2
# Seconds after which a version that could not be opened is tried again.
RETRY = 10.0


@dataclass(frozen=True)
class Entry:
    """A version on the disk.

    Attributes:
        version: the version.
        shipped: whether it came with tfgen.
        stamp: changes if another version takes its place in the same folder.
    """

    version: Version
    shipped: bool
    stamp: tuple[int, int]


@dataclass(frozen=True)
class OpenVersion:
    """A version that is ready to compute.

    Attributes:
        sampler: the version.
        signatures: its signatures by name.
        metadata: the answer to a request for its metadata.
        first_calls: the first call of each signature so far, which takes longest.
    """

    sampler: "Sampler"
    signatures: Mapping[str, Signature]
    metadata: Mapping[str, Any]
    first_calls: dict[str, Future[Any]] = field(default_factory=dict)


class Fault(NamedTuple):
    """Why and when a version could not be opened."""

    time: float
    message: str


class Catalog:
    """The versions in a folder and the shipped ones.

    Args:
        saved_models: folder of published samplers; it need not exist yet.

    Attributes:
        refresh: seconds between two looks at the disk.
    """

    refresh = 1.0

    def __init__(self, saved_models: Path):
        self.saved_models = saved_models
        self._lock = threading.Lock()
        self._entries: dict[str, dict[int, Entry]] = {}
        self._refreshed = float("-inf")
        # What is open or being opened, the most recently used last.
        self._futures: OrderedDict[Entry, Future[OpenVersion]] = OrderedDict()
        self._faults: dict[Entry, Fault] = {}
        self._openers = ThreadPoolExecutor(OPENERS, "open")

    def entries(self) -> dict[str, dict[int, Entry]]:
        """All versions by name and number, names in alphabetical order, the newest number first."""
        with self._lock:
            if time.monotonic() - self._refreshed >= self.refresh:
                # A folder that has gone while it was read: the next look sees what remains.
                with contextlib.suppress(FileNotFoundError):
                    self._entries = self.read()
                self._refreshed = time.monotonic()
                present = {e for numbers in self._entries.values() for e in numbers.values()}
                for cache in (self._futures, self._faults):
                    for entry in cache.keys() - present:
                        del cache[entry]
            return self._entries

    def read(self) -> dict[str, dict[int, Entry]]:
        """All versions by name and number, as they are on the disk now."""
        shipped = versions.shipped_folder()
        entries = read_folder(shipped)
        if self.saved_models.resolve() != shipped.resolve():
            # Of a checkout's folder, without the versions that were trained there.
            entries = {
                name: {number: entry for number, entry in numbers.items() if entry.shipped}
                for name, numbers in entries.items()
            }
            for name, numbers in read_folder(self.saved_models).items():
                entries[name] = entries.get(name, {}) | numbers
        return {
            name: dict(sorted(numbers.items(), reverse=True))
            for name, numbers in sorted(entries.items())
            if numbers
        }

    def find(self, name: str, number: int | None = None) -> list[Entry]:
        """The versions of a name, the newest first; or only the one that is asked for.

        Raises:
            HTTPException: there is no such name or version.
        """
        entries = self.entries().get(name, {})
        if not entries or (number is not None and number not in entries):
            raise not_found(name, number)
        return list(entries.values()) if number is None else [entries[number]]

    def fault(self, entry: Entry) -> str | None:
        """Why a version could not be opened when that was last tried; None if it could."""
        fault = self._faults.get(entry)
        return None if fault is None else fault.message

    def open(self, name: str, number: int | None = None) -> Future[OpenVersion]:
        """A version that is ready to compute, or will be.

        While a newer version is opened, an open one before it is still the newest. A version that
        could not be opened is passed over for some seconds.

        Args:
            name: name that it was published under.
            number: its number; None takes the newest.

        Returns:
            The version, or the error for which it cannot be opened.

        Raises:
            HTTPException: there is no such name or version (404), or it could not be opened (500).
        """
        entries = self.find(name, number)
        with self._lock:
            whole = [entry for entry in entries if not self._has_failed(entry)]
            if not whole:
                raise HTTPException(500, self._faults[entries[0]].message)
            newest = self._opened(whole[0])
            is_open = [e for e in whole if e in self._futures and self._futures[e].done()]
            return self._opened(is_open[0]) if is_open else newest

    def prepare(self, opened: OpenVersion, signature: str) -> Future[Any]:
        """The first call of a signature, for which TensorFlow optimizes the graph.

        Like the opening of a version, it does not take a thread that computes answers. Only the
        event loop calls this method, so no lock is needed.
        """
        if signature not in opened.first_calls:
            specs = opened.signatures[signature].inputs
            row = {
                key: np.zeros((1, *(side or 1 for side in spec.shape[1:])), spec.dtype)
                for key, spec in specs.items()
            }
            call = self._openers.submit(opened.sampler.call, signature, **row)
            opened.first_calls[signature] = call
        return opened.first_calls[signature]

    def _has_failed(self, entry: Entry) -> bool:
        fault = self._faults.get(entry)
        return fault is not None and time.monotonic() - fault.time < RETRY

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
                is_known = self.fault(entry) == message
                self._faults[entry] = Fault(time.monotonic(), message)
            if not is_known:  # not at each further try
                report_error(message)
            raise
        self._faults.pop(entry, None)
        return opened

    def close(self) -> None:
        """Waits for the versions that are being opened, if any."""
        self._openers.shutdown(cancel_futures=True)


def read_folder(folder: Path) -> dict[str, dict[int, Entry]]:
    """The versions in a folder that tfgen has published, by name and number."""
    entries: dict[str, dict[int, Entry]] = {}
    for name in versions.names(folder):
        for number in versions.version_numbers(folder / name):
            path = folder / name / str(number)
            # What has gone meanwhile, or is no version, is left out.
            with contextlib.suppress(OSError):
                status = (path / "saved_model.pb").stat()
                if versions.is_version(path):
                    stamp = status.st_ino, status.st_mtime_ns
                    entry = Entry(Version(name, number, path), versions.is_shipped(path), stamp)
                    entries.setdefault(name, {})[number] = entry
    return entries


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
    return OpenVersion(sampler, signatures, read_metadata(version))


def read_metadata(version: Version) -> dict[str, Any]:
    """The answer to a request for the metadata of a version, in protobuf's JSON."""
    from google.protobuf.json_format import MessageToDict
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    graph = SavedModel.FromString((version.path / "saved_model.pb").read_bytes())
    definitions = {
        name: MessageToDict(
            definition,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        for name, definition in graph.meta_graphs[0].signature_def.items()
    }
    return {
        "model_spec": {
            "name": version.name,
            "signature_name": "",
            "version": str(version.number),
        },
        "metadata": {"signature_def": {"signature_def": definitions}},
    }
