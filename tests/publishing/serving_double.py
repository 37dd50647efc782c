"""A double of a TensorFlow Serving server, in this process: it is not the server, which was not
run.

It answers REST as the server's documentation describes it (api_rest.md; numbers and empty batches
as json_tensor.cc has them) and gRPC by the servicers of `tensorflow-serving-api`, from the
SavedModels of a folder. What neither tells, the double may do otherwise than the server.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+))?(?P<verb>/metadata|:predict)"
)


class NotFoundError(Exception):
    """No such model or version."""


class Models:
    """The versions of a folder, each loaded when it is first asked for.

    As by the server's default policy the newest one is served; with `all_versions` the others are
    too.
    """

    def __init__(self, folder: Path):
        self.folder, self._loaded, self.all_versions = folder, {}, False
        self._lock = threading.Lock()

    def find(self, name: str, version: int | None) -> tuple[int, Any, dict[str, Any]]:
        """The version's number, the loaded model, and its signatures' definitions."""
        numbers = sorted(int(p.name) for p in (self.folder / name).glob("*") if p.name.isdecimal())
        chosen = version if version is not None else (numbers or [None])[-1]
        if chosen not in (numbers if self.all_versions else numbers[-1:]):
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise NotFoundError(f"Servable not found for request: {asked}")
        path = self.folder / name / str(chosen)
        with self._lock:
            if path not in self._loaded:
                graph = SavedModel.FromString((path / "saved_model.pb").read_bytes())
                self._loaded[path] = (
                    tf.saved_model.load(str(path)),
                    dict(graph.meta_graphs[0].signature_def),
                )
        return chosen, *self._loaded[path]

    def metadata(
        self, name: str, version: int | None
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        number, _, definitions = self.find(name, version)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name, answer.model_spec.version.value = name, number
        table = get_model_metadata_pb2.SignatureDefMap()
        for key, definition in definitions.items():
            table.signature_def[key].CopyFrom(definition)
        answer.metadata["signature_def"].Pack(table)
        return answer

    def run(
        self, name: str, version: int | None, signature: str, inputs: dict[str, Any]
    ) -> dict[str, Any]:
        _, model, definitions = self.find(name, version)
        if signature not in definitions:
            raise ValueError(f'Serving signature name: "{signature}" not found in signature def')
        specs = definitions[signature].inputs
        if inputs.keys() != specs.keys():
            raise ValueError(f"input keys {sorted(inputs)} do not match {sorted(specs)}")
        tensors = {
            key: tf.constant(value, tf.as_dtype(specs[key].dtype)) for key, value in inputs.items()
        }
        return {key: value.numpy() for key, value in model.signatures[signature](**tensors).items()}


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The gRPC service."""

    def __init__(self, double: "Double"):
        self.double = double

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802  (the servicer's name)
        def answer(models: Models) -> Any:
            spec = request.model_spec
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            outputs = models.run(
                spec.name, _version(spec), spec.signature_name or "serving_default", inputs
            )
            response = predict_pb2.PredictResponse(model_spec=spec)
            for key, value in outputs.items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return response

        return self._answered(context, answer)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        spec = request.model_spec
        return self._answered(context, lambda models: models.metadata(spec.name, _version(spec)))

    def _answered(self, context: Any, answer: Any) -> Any:
        self.double.requests.append("grpc")
        time.sleep(self.double.delay)
        if self.double.failures:
            context.abort(self.double.failures.pop(0), "the server is busy")
        try:
            return answer(self.double.models)
        except NotFoundError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except (ValueError, TypeError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def _version(spec: Any) -> int | None:
    return int(spec.version.value) if spec.HasField("version") else None


class Handler(BaseHTTPRequestHandler):
    """The REST service."""

    double: "Double"

    def do_GET(self) -> None:
        self._answer("/metadata", None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(":predict", body)

    def _answer(self, verb: str, body: bytes | None) -> None:
        self.double.requests.append(f"{self.command} {self.path}")
        time.sleep(self.double.delay)
        if self.double.failures:
            return self._send(self.double.failures.pop(0), {"error": "the server is busy"})
        match = _PATH.fullmatch(self.path)
        if match is None or match["verb"] != verb:
            return self._send(400, {"error": f"Malformed request: {self.command} {self.path}"})
        version = int(match["version"]) if match["version"] else None
        try:
            if body is None:
                answer = self.double.models.metadata(match["name"], version)
                content = MessageToDict(answer, preserving_proto_field_name=True)
            else:
                content = predict(self.double.models, match["name"], version, json.loads(body))
            return self._send(200, content)
        except NotFoundError as error:
            return self._send(404, {"error": str(error)})
        except (ValueError, TypeError, KeyError) as error:
            return self._send(400, {"error": str(error)})

    def _send(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        with contextlib.suppress(BrokenPipeError):  # a client that waits no longer
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing on the terminal."""


def predict(models: Models, name: str, version: int | None, body: dict[str, Any]) -> dict[str, Any]:
    """A predict request by row (`instances`) or by column (`inputs`), answered in the same form."""
    signature = body.get("signature_name", "serving_default")
    if ("instances" in body) == ("inputs" in body):
        raise ValueError("a request has either instances or inputs")
    names = list(models.find(name, version)[2][signature].inputs)
    rows = body.get("instances")
    if rows == []:
        raise ValueError("instances is empty")
    if rows is None:
        columns = body["inputs"] if isinstance(body["inputs"], dict) else {names[0]: body["inputs"]}
    elif len(names) == 1 and not isinstance(rows[0], dict):
        columns = {names[0]: rows}
    else:
        columns = {key: [row[key] for row in rows] for key in names}
    outputs = models.run(name, version, signature, columns)
    lists = {key: in_decimal(value.tolist()) for key, value in outputs.items()}
    only = next(iter(lists.values())) if len(lists) == 1 else None
    if rows is None:
        return {"outputs": lists if only is None else only}
    answers = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return {"predictions": answers if only is None else only}


def in_decimal(value: Any) -> Any:
    """Nested lists of numbers as the server prints them: with nine digits, enough to tell floats
    apart."""
    if isinstance(value, list):
        return [in_decimal(entry) for entry in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


class Double:
    """Both services on free ports of this machine.

    Attributes:
        failures: what the next requests are answered with: HTTP statuses, or gRPC's.
        delay: seconds before each answer.
        requests: what was asked, in order.
    """

    def __init__(self, folder: Path):
        self.models = Models(folder)
        self.failures: list[Any] = []
        self.delay = 0.0
        self.requests: list[str] = []
        handler = type("DoubleHandler", (Handler,), {"double": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._grpc = grpc.server(futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            Servicer(self), self._grpc
        )
        self.grpc = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Double"]:
        thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        thread.start()
        self._grpc.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            self._grpc.stop(None).wait()
            thread.join()

    def reset(self) -> None:
        self.failures, self.delay, self.requests = [], 0.0, []
