"""The models that are served: those on this machine, or those of a TensorFlow Serving server."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
import orjson
import requests
from starlette.exceptions import HTTPException

from tfgen.errors import TfgenError, UsageError, WorkError
from tfgen.publishing import versions
from tfgen.publishing.rest import Rest, is_late
from tfgen.publishing.served import ServedSampler, SignatureDefs, tensor_spec
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import check_labels
from tfgen.serving.catalog import Catalog, Entry, OpenVersion
from tfgen.serving.contract import Request, read_request, write_answer
from tfgen.serving.refusal import invalid, not_found

# Calls a function in one of the threads that compute answers.
Compute = Callable[..., Awaitable[Any]]
# Most versions that a request tries to open, the newest first.
_ATTEMPTS = 3
# Seconds to wait for a connection.
_CONNECT = 5.0


class Listed(NamedTuple):
    """A model as the page lists it.

    Attributes:
        name: name that it was published under.
        versions: the number of each version, and whether it is shipped; the newest first.
        manifest: the manifest of the newest version, or as much as is known of it.
        entry: the newest version on this machine; None if it is not there.
    """

    name: str
    versions: Sequence[Mapping[str, Any]]
    manifest: Mapping[str, Any]
    entry: Entry | None


class LocalModels:
    """The versions in a folder and the shipped ones. Answers are JSON.

    Args:
        catalog: the versions.
        max_batch: most rows of a request.
    """

    address = None  # of the server that has the models: this one

    def __init__(self, catalog: Catalog, max_batch: int):
        self.catalog, self.max_batch = catalog, max_batch

    def status(self, name: str, number: int | None) -> bytes:
        """The states of a model's versions.

        Raises:
            HTTPException: there is no such name or version.
        """
        entries = self.catalog.find(name, number)
        states = [_state(e.version.number, self.catalog.fault(e)) for e in entries]
        return orjson.dumps({"model_version_status": states})

    async def metadata(self, name: str, number: int | None, compute: Compute) -> bytes:
        """The signatures of a version.

        Raises:
            HTTPException: there is no such name or version, or it cannot be opened.
        """
        return orjson.dumps((await self._open(name, number)).metadata)

    async def predict(self, name: str, number: int | None, body: bytes, compute: Compute) -> bytes:
        """The outputs of a signature.

        Raises:
            HTTPException: there is no such name or version, or the request does not fit it.
        """
        opened = await self._open(name, number)
        request = await compute(self._read, opened, body)
        await _result(self.catalog.prepare(opened, request.signature))
        return await compute(_answer, opened, request)

    async def _open(self, name: str, number: int | None) -> OpenVersion:
        for _ in range(_ATTEMPTS - 1):
            future = await asyncio.to_thread(self.catalog.open, name, number)
            with contextlib.suppress(Exception):  # the catalog passes it over from now on
                return await _result(future)
        future = await asyncio.to_thread(self.catalog.open, name, number)
        return await _result(future)

    def _read(self, opened: OpenVersion, body: bytes) -> Request:
        request = read_request(body, opened.signatures, self.max_batch)
        if "label" in request.inputs:
            try:
                check_labels(request.inputs["label"], opened.sampler.num_classes)
            except UsageError as error:
                raise invalid(str(error)) from None
        return request

    def sampler(self, name: str, number: int) -> SignatureSampler:
        """A version as a sampler.

        Raises:
            HTTPException: there is no such name or version.
            TfgenError: it cannot be opened.
        """
        return self.catalog.open(name, number).result().sampler

    def listed(self) -> Iterator[Listed]:
        """The models that the page shows.

        The newest version describes a model, so versions with other signatures are left out.
        """
        for name, entries in self.catalog.entries().items():
            manifests = [(e, m) for e in entries.values() if (m := read_manifest(e))]
            if manifests:
                newest, manifest = manifests[0]
                shown = [
                    {"number": entry.version.number, "shipped": entry.shipped}
                    for entry, own_manifest in manifests
                    if own_manifest["signatures"] == manifest["signatures"]
                ]
                yield Listed(name, shown, manifest, newest)

    def close(self) -> None:
        """Releases the threads."""
        self.catalog.close()


async def _result(future: Future[Any]) -> Any:
    """The result of a future that others wait for too: who stops waiting does not cancel it."""
    return await asyncio.shield(asyncio.wrap_future(future))


def _answer(opened: OpenVersion, request: Request) -> bytes:
    try:
        outputs = opened.sampler.call(request.signature, **request.inputs)
    except MemoryError:
        raise HTTPException(500, "Out of memory; ask for fewer rows at once") from None
    return write_answer(outputs, request.by_row)


def _state(number: int, fault: str | None) -> dict[str, Any]:
    return {
        "version": str(number),
        "state": "AVAILABLE" if fault is None else "END",
        "status": {
            "error_code": "OK" if fault is None else "UNKNOWN",
            "error_message": fault or "",
        },
    }


def read_manifest(entry: Entry) -> dict[str, Any]:
    """The manifest of a version; empty if it is damaged."""
    try:
        return versions.read_manifest(entry.version.path)
    except TfgenError:
        return {}


# --- the models of another server -------------------------------------------------------


class BackendModels:
    """The models of a TensorFlow Serving server: requests are passed on to its REST interface.

    TensorFlow Serving has no list of its models, so the names are passed, or those of the folders
    on this machine. What a manifest says is known only of versions that are on this machine too.

    Args:
        url: `http://host:8501`.
        timeout: seconds to wait for an answer.
        connections: requests that are passed on at once.
        names: names of the models; None: the names on this machine that the server has.
        catalog: the versions on this machine.

    Raises:
        UsageError: the URL cannot be a server's.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        connections: int,
        names: Sequence[str] | None,
        catalog: Catalog,
    ):
        try:
            self._rest = Rest(url, timeout, retries=0)
        except UsageError as error:  # it names the flag of the client commands, --url
            raise UsageError(
                f"--backend {url!r} is not the address of a server; pass one like http://host:8501"
            ) from error
        self.address, self.timeout = self._rest.address, timeout
        self.names, self.catalog = names, catalog
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def status(self, name: str, number: int | None) -> bytes:
        """The states of a model's versions.

        Raises:
            HTTPException: the server's own error, or it does not answer (502) or not in time (504).
        """
        return self._send("GET", name, number)

    async def metadata(self, name: str, number: int | None, compute: Compute) -> bytes:
        """The signatures of a version; see `status`."""
        return await compute(self._send, "GET", name, number, "/metadata")

    async def predict(self, name: str, number: int | None, body: bytes, compute: Compute) -> bytes:
        """The outputs of a signature; see `status`."""
        return await compute(self._send, "POST", name, number, ":predict", body)

    def sampler(self, name: str, number: int) -> SignatureSampler:
        """A version as a sampler."""
        return ServedSampler(self._rest, name, number)

    def listed(self) -> Iterator[Listed]:
        """The models that the server can answer for now.

        Raises:
            HTTPException: the server does not answer, or is busy.
        """
        for name in self.catalog.entries() if self.names is None else self.names:
            try:
                yield self._listed(name)
            except HTTPException as error:
                if error.status_code != 404:
                    raise

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def check(self) -> None:
        """Checks that the server answers, and has the names that were passed.

        Raises:
            UsageError: it has not one of the names, or none of the names on this machine.
            WorkError: it does not answer.
        """
        try:
            for name in self.names or ():
                self.status(name, None)
            if self.names is None and not any(True for _ in self.listed()):
                names = ", ".join(self.catalog.entries())
                raise UsageError(
                    f"{self.address} has none of the models {names}; pass the names of its models "
                    "with --models"
                )
        except HTTPException as error:
            kind = UsageError if error.status_code == 404 else WorkError
            raise kind(f"--backend {self.address}: {error.detail}") from None

    def _send(
        self, method: str, name: str, number: int | None, verb: str = "", body: bytes = b""
    ) -> bytes:
        try:
            versions.check_name(name)
        except UsageError:
            raise not_found(name, number) from None
        version = "" if number is None else f"/versions/{number}"
        url = f"{self.address}/v1/models/{name}{version}{verb}"
        wait = (min(_CONNECT, self.timeout), self.timeout)
        try:
            response = self._session.request(method, url, data=body or None, timeout=wait)
        except requests.RequestException as error:
            if is_late(error):
                message = f"{self.address} gave no answer in {self.timeout:g} s"
                raise HTTPException(504, message) from error
            raise HTTPException(502, f"no server answers at {self.address}") from error
        if response.status_code == 200:
            return response.content
        seconds = response.headers.get("Retry-After")
        headers = {} if seconds is None else {"Retry-After": seconds}
        raise HTTPException(response.status_code, _message(response), headers)

    def _listed(self, name: str) -> Listed:
        """A model, described by its newest version.

        Raises:
            HTTPException: the server's own error (404 also if no version is ready), or that of
                `status`.
        """
        try:
            states = orjson.loads(self.status(name, None))["model_version_status"]
            numbers = [int(s["version"]) for s in states if s["state"] == "AVAILABLE"]
            if not numbers:
                raise not_found(name)
            numbers.sort(reverse=True)
            all_signatures = [self._signatures(name, number) for number in numbers]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise HTTPException(502, f"{self.address} is not TensorFlow Serving") from error
        signatures = all_signatures[0]
        entry = self.catalog.entries().get(name, {}).get(numbers[0])
        manifest = {} if entry is None else read_manifest(entry)
        shown = [
            {"number": number, "shipped": False}
            for number, own_signatures in zip(numbers, all_signatures, strict=True)
            if own_signatures == signatures
        ]
        known = {"family": guess_family(signatures), **manifest, "signatures": signatures}
        return Listed(name, shown, known, entry)

    def _signatures(self, name: str, number: int) -> dict[str, Any]:
        answer = orjson.loads(self._send("GET", name, number, "/metadata"))
        return plain_signatures(answer["metadata"]["signature_def"]["signature_def"])


def _message(response: requests.Response) -> str:
    """The text of an error of the server."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"{response.url} answers with status {response.status_code}"


def plain_signatures(definitions: SignatureDefs) -> dict[str, Any]:
    """dtypes and shapes of signatures, as a manifest has them, from a server's metadata.

    Signatures with tensors that tfgen does not export are left out.
    """
    signatures = {}
    for name, definition in definitions.items():
        if not name.startswith("__"):
            with contextlib.suppress(WorkError):
                signatures[name] = {
                    part: {key: _plain_spec(info) for key, info in definition.get(part, {}).items()}
                    for part in ("inputs", "outputs")
                }
    if len(signatures) > 1:
        signatures.pop("serving_default", None)  # another one's second name
    return signatures


def _plain_spec(info: Mapping[str, Any]) -> dict[str, Any]:
    spec = tensor_spec(info)
    return {"dtype": np.dtype(spec.dtype).name, "shape": list(spec.shape)}


def guess_family(signatures: Mapping[str, Any]) -> str:
    """The family of a model, from its signatures."""
    outputs = {name: signature["outputs"] for name, signature in signatures.items()}
    if "features" in outputs:
        return "classifier"
    if "mean" in outputs.get("encode", {}):
        return "vae"
    return "flow" if "log_prob" in outputs else "gan"


# What a server serves.
Models = LocalModels | BackendModels
