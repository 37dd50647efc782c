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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tfgen.errors import TfgenError
from tfgen.publishing import versions
from tfgen.publishing.signatures import Signature
from tfgen.publishing.versions import Version
from tfgen.serving.contract import DEFAULT_SIGNATURE
from tfgen.serving.refusal import RefusalError, not_found
from tfgen.serving.report import report_error

if TYPE_CHECKING:
    from tfgen.publishing.sampler import Sampler

# Most versions that are open at once; the one that was not used for longest is closed.
MAX_OPEN = 6
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
    """

    sampler: "Sampler"
    signatures: Mapping[str, Signature]
    metadata: Mapping[str, Any]


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
        # The version that was the newest in the last request for it, by name.
        self._served: dict[str, Entry] = {}
        self._opener = ThreadPoolExecutor(1, "open")

    @property
    def open_count(self) -> int:
        """Number of versions that are open."""
        return len(self._futures)

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
            RefusalError: there is no such name or version.
        """
        entries = self.entries().get(name, {})
        if not entries or (number is not None and number not in entries):
            raise not_found(name, number)
        return list(entries.values()) if number is None else [entries[number]]

    def fault(self, entry: Entry) -> str | None:
        """Why a version could not be opened when that was last tried; None if it could."""
        fault = self._faults.get(entry)
        return None if fault is None else fault.message

    def open(self, name: str, number: int | None = None) -> OpenVersion:
        """A version that is ready to compute.

        While a newer version is opened, the one before it is still the newest. Then the older one
        is closed; a request with its number opens it again. A version that cannot be opened is
        passed over if there is an older one.

        Args:
            name: name that it was published under.
            number: its number; None takes the newest.

        Raises:
            RefusalError: there is no such name or version (404), or it cannot be opened (500).
        """
        entries = self.find(name, number)
        if number is not None:
            return self._opened(entries[0])
        entries = [entry for entry in entries if not self._has_failed(entry)] or entries[:1]
        before = self._served.get(name)
        if before in entries[1:] and self._is_open(before) and not self._is_open(entries[0]):
            self._opener.submit(self._open_ahead, entries[0])
            return self._opened(before)
        for entry in entries[:-1]:
            with contextlib.suppress(RefusalError):
                return self._serve_as_newest(entry)
        return self._serve_as_newest(entries[-1])

    def _serve_as_newest(self, entry: Entry) -> OpenVersion:
        opened = self._opened(entry)
        before = self._served.get(entry.version.name)
        self._served[entry.version.name] = entry
        if before is not None and before.version.number < entry.version.number:
            self._close(before)
        return opened

    def _opened(self, entry: Entry) -> OpenVersion:
        try:
            return self._open(entry).result()
        except (TfgenError, OSError) as error:
            raise RefusalError(500, str(error)) from error

    def _open_ahead(self, entry: Entry) -> None:
        """Opens a version unless it has just failed: each request meanwhile asks for that."""
        if not self._has_failed(entry):
            self._open(entry)

    def _has_failed(self, entry: Entry) -> bool:
        fault = self._faults.get(entry)
        return fault is not None and time.monotonic() - fault.time < RETRY

    def _is_open(self, entry: Entry) -> bool:
        future = self._futures.get(entry)
        return future is not None and future.done()

    def _open(self, entry: Entry) -> Future[OpenVersion]:
        """The result of opening a version, which this thread or another one does once."""
        with self._lock:
            future = self._futures.get(entry)
            is_new = future is None
            if future is None:
                future = self._futures[entry] = Future()
            self._futures.move_to_end(entry)
            oldest = next(iter(self._futures)) if len(self._futures) > MAX_OPEN else None
        if oldest is not None:
            self._close(oldest)
        if is_new:
            self._fulfil(entry, future)
        return future

    def _close(self, entry: Entry) -> None:
        """Closes a version if it is open; requests that it computes are still answered."""
        with self._lock:
            was_open = self._futures.pop(entry, None) is not None
        if was_open:
            gc.collect()  # it is a cycle of references, which would stay for long

    def _fulfil(self, entry: Entry, future: Future[OpenVersion]) -> None:
        try:
            opened = open_version(entry.version)
        except BaseException as error:
            message = " ".join(str(error).split())
            with self._lock:
                self._futures.pop(entry, None)
                previous = self._faults.get(entry)
                self._faults[entry] = Fault(time.monotonic(), message)
            future.set_exception(error)
            if previous is None or previous.message != message:  # not at each further try
                report_error(message)
        else:
            self._faults.pop(entry, None)
            future.set_result(opened)

    def close(self) -> None:
        """Waits for the version that is being opened, if any."""
        self._opener.shutdown(cancel_futures=True)


def read_folder(folder: Path) -> dict[str, dict[int, Entry]]:
    """The versions in a folder that tfgen has published, by name and number."""
    entries: dict[str, dict[int, Entry]] = {}
    for name in versions.names(folder):
        for number in versions.version_numbers(folder / name):
            path = folder / name / str(number)
            try:
                status = (path / "saved_model.pb").stat()
            except OSError:  # it has gone, or is no version
                continue
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
