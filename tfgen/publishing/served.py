"""A client of TensorFlow Serving: a published sampler behind a server, used as a local one is.

REST needs no TensorFlow here; gRPC needs the extra `[serving]`. Sampling changes nothing on the
server, so a request that met no server, or one that is overloaded, is sent again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tfgen.errors import UsageError, WorkError
from tfgen.publishing.versions import check_name
from tfgen.settings.fields import hint

# Statuses that say "later": too many requests, a gateway without its server, a server that is not
# ready.
_RETRIED = (429, 502, 503)
# The server's own time-out: the same request again would take as long.
_LATE = 504
# Seconds that the waits before repetitions are made of; each is twice the one before.
_BACKOFF = 0.2
# More attempts than five gRPC does not make.
MAX_RETRIES = 4
# Seconds to wait for a connection.
_CONNECT = 10.0
_DTYPES = {"DT_FLOAT": np.float32, "DT_INT32": np.int32, "DT_UINT8": np.uint8}

# Signature → "inputs" or "outputs" → tensor's name → its dtype and shape, in protobuf's JSON.
SignatureDefs = Mapping[str, Mapping[str, Mapping[str, Any]]]
Arrays = dict[str, np.ndarray]
# Stands for the name of a signature's only output, which REST leaves out.
UNNAMED = ""


class Transport(Protocol):
    """A way to a server."""

    address: str

    def metadata(self, name: str, version: int | None) -> tuple[int, SignatureDefs]:
        """The version that answers, by default the newest, and its signatures.

        Raises:
            UsageError: the server has no such model or version.
            WorkError: there is no answer, or none of TensorFlow Serving's.
        """

    def predict(self, name: str, version: int, signature: str, inputs: Arrays) -> dict[str, Any]:
        """The outputs of a signature by their names (or `UNNAMED`), as arrays or nested lists.

        Raises:
            WorkError: there is no answer, the server refuses, or no longer has the version.
        """


class ServedSampler:
    """A published sampler behind a server: its signatures as functions of arrays.

    All requests go to the version that was the newest when this was made: a version that is
    published meanwhile does not mix its images with those of the one before.

    Args:
        transport: `Rest` or `Grpc`.
        name: what the server calls the model.
        version: its number; None: the newest that the server has.

    Raises:
        UsageError: the server has no such model or version, or that is no name.
        WorkError: there is no answer, or the model is none that tfgen exported.
    """

    def __init__(self, transport: Transport, name: str, version: int | None = None):
        check_name(name)
        self.transport, self.name = transport, name
        self.number, self._signatures = transport.metadata(name, version)
        for needed, output in (("latents", "latents"), ("decode", "images")):
            if output not in self._signatures.get(needed, {}).get("outputs", {}):
                raise WorkError(
                    f"model {name} at {transport.address} has no {needed!r}: tfgen did not export it"
                )

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        return int(self._output("latents", "latents").shape[-1] or 0)

    @property
    def num_classes(self) -> int:
        """Classes of a conditional model, 0 of another."""
        if "classes" not in self._signatures:
            return 0
        return int(self._output("classes", "one_hot").shape[-1] or 0)

    def call(self, signature: str, **inputs: np.ndarray) -> Arrays:
        """Runs a signature on arrays whose first dimension is the batch, in one request.

        Raises:
            UsageError: there is no such signature, or it is called without inputs.
            WorkError: there is no answer, the server refuses, or answers with other arrays than it
                should.
        """
        if not inputs:
            raise UsageError(f"signature {signature!r} is called without inputs")
        if signature not in self._signatures:
            told = hint(signature, self._signatures)
            raise UsageError(
                f"{self.name} at {self.transport.address} has no signature {signature!r}{told}"
            )
        size = len(next(iter(inputs.values())))
        expected = self._signatures[signature]["outputs"]
        if size == 0:  # JSON cannot tell the shape of no latents
            return {key: self._empty(signature, key) for key in expected}
        outputs = self.transport.predict(self.name, self.number, signature, inputs)
        if UNNAMED in outputs and len(expected) == 1:
            outputs = {next(iter(expected)): outputs[UNNAMED]}
        if outputs.keys() != expected.keys():
            raise WorkError(
                f"{self.transport.address} answers {signature!r} with {', '.join(sorted(outputs))}"
            )
        return {key: self._checked(signature, key, value, size) for key, value in outputs.items()}

    def _checked(self, signature: str, key: str, value: Any, size: int) -> np.ndarray:
        shape = self._shape(signature, key, size)
        try:
            array = np.asarray(value, self._output(signature, key).dtype)
            told = f", but of {array.shape}"
        except (ValueError, TypeError) as error:
            array, told = None, f": {error}"
        if array is None or array.shape != shape:
            answer = f"{self.transport.address} answers {signature!r} with {key!r}"
            raise WorkError(f"{answer} not of shape {shape}{told}")
        return array

    def _empty(self, signature: str, key: str) -> np.ndarray:
        return np.zeros(self._shape(signature, key, 0), self._output(signature, key).dtype)

    def _shape(self, signature: str, key: str, size: int) -> tuple[int, ...]:
        return (size, *(side or 0 for side in self._output(signature, key).shape[1:]))

    def _output(self, signature: str, key: str) -> "_Spec":
        return _Spec.of(self._signatures[signature]["outputs"][key])


@dataclass(frozen=True)
class _Spec:
    """dtype and shape of a tensor; a dimension of any size is None."""

    dtype: Any
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "_Spec":
        try:
            sizes = [int(dim["size"]) for dim in info["tensor_shape"]["dim"]]
            return cls(_DTYPES[info["dtype"]], tuple(None if size < 0 else size for size in sizes))
        except (KeyError, TypeError, ValueError) as error:
            raise WorkError(
                f"the server describes a tensor that tfgen does not export: {info}"
            ) from error


class Rest:
    """TensorFlow Serving's REST interface.

    Args:
        url: `http://host:8501`, without a path unless a gateway puts one before.
        timeout: seconds to wait for an answer.
        retries: how often a request is sent again where no server is met, or an overloaded one; at
            most 4.

    Raises:
        UsageError: that is no such URL.
    """

    def __init__(self, url: str, timeout: float = 60.0, retries: int = 3):
        import requests
        from urllib3.exceptions import LocationParseError
        from urllib3.util import Retry, parse_url

        try:
            parts = parse_url(url)
        except LocationParseError as error:
            raise UsageError(
                f"--url {url} is no URL; pass one like http://localhost:8501"
            ) from error
        if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
            raise UsageError(f"--url {url} is no server's; pass one like http://localhost:8501")
        self.address, self.timeout = url.rstrip("/"), timeout
        # No late answer is asked for again: a server that is slow would only get the work twice.
        again = Retry(
            retries,
            read=False,
            status_forcelist=_RETRIED,
            allowed_methods=None,
            backoff_factor=_BACKOFF,
            # It may ask for hours.
            respect_retry_after_header=False,
            raise_on_status=False,
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=again))

    def metadata(self, name: str, version: int | None) -> tuple[int, SignatureDefs]:
        """See `Transport`."""
        answer = self._send("GET", f"{_path(name, version)}/metadata")
        try:
            return int(answer["model_spec"]["version"]), answer["metadata"]["signature_def"][
                "signature_def"
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._foreign() from error

    def predict(self, name: str, version: int, signature: str, inputs: Arrays) -> dict[str, Any]:
        """See `Transport`; in columns, which are the shorter form."""
        body = {
            "signature_name": signature,
            "inputs": {key: value.tolist() for key, value in inputs.items()},
        }
        answer = self._send("POST", f"{_path(name, version)}:predict", body)
        outputs = answer.get("outputs")
        if outputs is None:
            raise self._foreign()
        # The server leaves out the name of an only output.
        return outputs if isinstance(outputs, dict) else {UNNAMED: outputs}

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        import requests
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        wait = (min(self.timeout, _CONNECT), self.timeout)
        try:
            response = self._session.request(method, self.address + path, json=body, timeout=wait)
        except requests.exceptions.InvalidJSONError as error:
            raise UsageError(f"the inputs cannot be sent: {error}") from error
        except (requests.RequestException, HTTPError) as error:
            stalled = error.args and isinstance(error.args[0], ReadTimeoutError)
            if stalled or isinstance(error, requests.ReadTimeout):
                raise WorkError(_late(self.address, self.timeout)) from error
            told = f"no server answers at {self.address} ({_reason(error)})"
            raise WorkError(
                f"{told}; is it up, and is this its REST port, by default 8501?"
            ) from error
        return self._read(response, method, path)

    def _read(self, response: Any, method: str, path: str) -> dict[str, Any]:
        status = response.status_code
        try:
            answer = response.json()
        except ValueError:
            answer = None
        told = answer.get("error") if isinstance(answer, dict) else None
        if status == _LATE:
            raise WorkError(
                f"{_late(self.address, self.timeout)} (the server's own limit: status {status})"
            )
        if status in _RETRIED:
            raise WorkError(
                f"the server at {self.address} is not ready: {told or f'status {status}'}"
            )
        if not isinstance(answer, dict) or (status != 200 and told is None):
            raise self._foreign(f"status {status}")
        if status == 404 and method == "POST":
            raise WorkError(_gone(self.address, path.split(":")[0], told))
        if status != 200:
            kind = UsageError if status == 404 else WorkError
            raise kind(_refused(self.address, told))
        return answer

    def _foreign(self, told: str = "its JSON is another") -> WorkError:
        return WorkError(f"what answers at {self.address} is not TensorFlow Serving ({told})")


class Grpc:
    """TensorFlow Serving's gRPC interface, unencrypted.

    Args:
        address: `host:8500`.
        timeout: seconds to wait for an answer.
        retries: how often a request is sent again where no server is met, or an overloaded one; at
            most 4.

    Raises:
        UsageError: that is no such address, or the extra `[serving]` is not installed.
    """

    def __init__(self, address: str, timeout: float = 60.0, retries: int = 3):
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise UsageError(
                "--grpc needs the extra [serving]: pip install 'tfgen[serving]'"
            ) from error
        host, _, port = address.rpartition(":")
        if not host or "/" in address or not port.isdecimal():
            raise UsageError(f"--grpc {address} is no server's; pass one like localhost:8500")
        self.address, self.timeout = address, timeout
        options: list[tuple[str, Any]] = [
            # A thousand images are more than the 4 MB that gRPC takes by itself.
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.service_config", _service_config(retries)),
        ]
        channel = grpc.insecure_channel(address, options=options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def metadata(self, name: str, version: int | None) -> tuple[int, SignatureDefs]:
        """See `Transport`."""
        from google.protobuf.json_format import MessageToDict
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        answer = self._send(self._stub.GetModelMetadata, request, asked=True)
        found = get_model_metadata_pb2.SignatureDefMap()
        if not answer.metadata["signature_def"].Unpack(found):
            raise WorkError(
                f"what answers at {self.address} is not TensorFlow Serving (it has no signatures)"
            )
        signatures = MessageToDict(found, preserving_proto_field_name=True)["signature_def"]
        return int(answer.model_spec.version.value), signatures

    def predict(self, name: str, version: int, signature: str, inputs: Arrays) -> dict[str, Any]:
        """See `Transport`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, signature
        request.model_spec.version.value = version
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        answer = self._send(self._stub.Predict, request)
        return {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}

    def _send(self, method: Any, request: Any, asked: bool = False) -> Any:
        import grpc

        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise WorkError(_late(self.address, self.timeout)) from error
            if code == grpc.StatusCode.UNAVAILABLE:
                told = f"no server is ready at {self.address} ({details})"
                raise WorkError(
                    f"{told}; is it up, and is this its gRPC port, by default 8500?"
                ) from error
            if code == grpc.StatusCode.NOT_FOUND and not asked:
                raise WorkError(_gone(self.address, request.model_spec.name, details)) from error
            kind = UsageError if code == grpc.StatusCode.NOT_FOUND else WorkError
            raise kind(_refused(self.address, details)) from error


def _path(name: str, version: int | None) -> str:
    return f"/v1/models/{name}" + (f"/versions/{version}" if version is not None else "")


def _late(address: str, timeout: float) -> str:
    told = f"{address} gave no answer in {timeout:g} s"
    return f"{told}; wait longer with --timeout, or ask for less at once with --batch-size"


def _refused(address: str, message: Any) -> str:
    return f"the server at {address} says: {' '.join(str(message).split())[:300]}"


def _gone(address: str, what: str, message: Any) -> str:
    told = f"{what} is no longer served at {address} ({message})"
    return f"{told}: a newer version has taken its place; ask again"


def _reason(error: BaseException) -> str:
    """The innermost cause of a chain of exceptions that wrap each other, in a few words."""
    while (
        inner := error.__cause__ or error.__context__ or getattr(error, "reason", None)
    ) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return getattr(error, "strerror", None) or first[:120]


def _service_config(retries: int) -> str:
    policy = {
        "maxAttempts": 1 + min(retries, MAX_RETRIES),
        "initialBackoff": f"{_BACKOFF}s",
        "maxBackoff": f"{_BACKOFF * 2**MAX_RETRIES:g}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }
    method: dict[str, Any] = {"name": [{}]}
    # gRPC takes a policy of two attempts or more.
    return json.dumps(
        {"methodConfig": [{**method, **({"retryPolicy": policy} if retries else {})}]}
    )
