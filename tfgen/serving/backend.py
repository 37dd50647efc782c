"""The models of a TensorFlow Serving server: requests are passed on to its REST interface."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import requests

from tfgen.errors import UsageError, WorkError
from tfgen.publishing import versions
from tfgen.publishing.rest import Rest, is_late
from tfgen.publishing.served import ServedSampler, SignatureDefs, tensor_spec
from tfgen.publishing.signatures import SignatureSampler
from tfgen.serving.catalog import Catalog
from tfgen.serving.data_images import DataImages
from tfgen.serving.listing import Listing, description
from tfgen.serving.refusal import RefusalError, not_found

# Seconds to wait for a connection.
_CONNECT = 5.0


class BackendModels:
    """The models of a TensorFlow Serving server.

    Args:
        url: `http://host:8501`.
        timeout: seconds to wait for an answer.
        connections: requests that are passed on at once.

    Raises:
        UsageError: the URL cannot be a server's.
    """

    def __init__(self, url: str, timeout: float, connections: int):
        try:
            self.rest = Rest(url, timeout, retries=0)
        except UsageError as error:  # it names the flag of the client commands, --url
            raise UsageError(
                f"--backend {url!r} is not the address of a server; pass one like http://host:8501"
            ) from error
        self.address, self.timeout = self.rest.address, timeout
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def status(self, name: str, number: int | None) -> bytes:
        """The server's answer about the states of a model's versions.

        Raises:
            RefusalError: the server's own, or it does not answer (502) or not in time (504).
        """
        return self._send("GET", name, number)

    def metadata(self, name: str, number: int | None) -> bytes:
        """The server's answer about the signatures of a version; see `status`."""
        return self._send("GET", name, number, "/metadata")

    def predict(self, name: str, number: int | None, body: bytes) -> bytes:
        """The server's answer to a predict request; see `status`."""
        return self._send("POST", name, number, ":predict", body)

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

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
                raise RefusalError(504, message) from error
            raise RefusalError(502, f"no server answers at {self.address}") from error
        if response.status_code == 200:
            return response.content
        seconds = response.headers.get("Retry-After")
        headers = {} if seconds is None else {"Retry-After": seconds}
        raise RefusalError(response.status_code, _message(response), headers)


def _message(response: requests.Response) -> str:
    """The text of an error of the server."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"{response.url} answers with status {response.status_code}"


class BackendListing(Listing):
    """The models of a server, as the page shows them.

    TensorFlow Serving has no list of its models, so the names are passed, or those of the folders
    on this machine. What a manifest says is known only of versions that are on this machine too.

    Args:
        models: the models of the server.
        names: names of the models; None: the names on this machine that the server has.
        catalog: the versions on this machine.
        images: test images.
    """

    def __init__(
        self,
        models: BackendModels,
        names: Sequence[str] | None,
        catalog: Catalog,
        images: DataImages,
    ):
        super().__init__(catalog, images)
        self.models, self.names = models, names

    def content(self) -> dict[str, Any]:
        """The listing, as `models.json`: the models that the server can answer for now.

        Raises:
            RefusalError: the server does not answer, or is busy.
        """
        names = self.catalog.entries() if self.names is None else self.names
        described = []
        for name in names:
            try:
                described.append(self._described(name))
            except RefusalError as refusal:
                if refusal.status != 404:
                    raise
        return {"models": described, "backend": self.models.address}

    def open_sampler(self, name: str, number: int) -> SignatureSampler:
        """The sampler of a version behind the server."""
        return ServedSampler(self.models.rest, name, number)

    def check(self) -> None:
        """Checks that the server answers, and has the names that were passed.

        Raises:
            UsageError: it has not one of the names, or none of the names on this machine.
            WorkError: it does not answer.
        """
        try:
            for name in self.names or ():
                self.models.status(name, None)
            if not self.content()["models"] and self.names is None:
                names = ", ".join(self.catalog.entries())
                raise UsageError(
                    f"{self.models.address} has none of the models {names}; pass the names "
                    "of its models with --models"
                )
        except RefusalError as refusal:
            kind = UsageError if refusal.status == 404 else WorkError
            raise kind(f"--backend {self.models.address}: {refusal.message}") from None

    def _described(self, name: str) -> dict[str, Any]:
        """A model, described by its newest version, as in `Listing.content`.

        Raises:
            RefusalError: the server's own (404 also if no version is ready), or `_send`'s.
        """
        try:
            states = orjson.loads(self.models.status(name, None))["model_version_status"]
            numbers = [int(s["version"]) for s in states if s["state"] == "AVAILABLE"]
            if not numbers:
                raise not_found(name)
            numbers.sort(reverse=True)
            all_signatures = [self._signatures(name, number) for number in numbers]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RefusalError(502, f"{self.models.address} is not TensorFlow Serving") from error
        signatures = all_signatures[0]
        entry = self.catalog.entries().get(name, {}).get(numbers[0])
        manifest = (self.manifest(entry) if entry is not None else None) or {}
        manifest = {"family": guess_family(signatures), **manifest, "signatures": signatures}
        shown = [
            {"number": number, "shipped": False}
            for number, own_signatures in zip(numbers, all_signatures, strict=True)
            if own_signatures == signatures
        ]
        return self.complete(description(name, shown, manifest), entry)

    def _signatures(self, name: str, number: int) -> dict[str, Any]:
        answer = orjson.loads(self.models.metadata(name, number))
        return plain_signatures(answer["metadata"]["signature_def"]["signature_def"])


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
