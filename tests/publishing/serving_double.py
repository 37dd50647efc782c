"""A server in this process: tfgen's own for REST, and for gRPC a double of TensorFlow Serving.

The double is not TensorFlow Serving, which was not run. It answers by the servicers of
`tensorflow-serving-api`, from the SavedModels of a folder.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from tests.serving.processes import running
from tfgen.serving.app import Settings, create_app
from tfgen.serving.catalog import Catalog, Entry, read_folder
from tfgen.serving.models import LocalModels
from tfgen.serving.statistics import DataImages


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


class FolderCatalog(Catalog):
    """The versions of a folder, without the shipped ones; as the double has them."""

    refresh = 0.0

    def __init__(self, models: Models):
        super().__init__(models.folder)
        self.models = models

    def read(self) -> dict[str, dict[int, Entry]]:
        folder = read_folder(self.models.folder)
        if self.models.all_versions:
            return {name: dict(sorted(folder[name].items(), reverse=True)) for name in folder}
        return {name: {max(entries): entries[max(entries)]} for name, entries in folder.items()}


class Double:
    """Both services on free ports of this machine.

    Attributes:
        failures: what the next requests are answered with: HTTP statuses, or gRPC's.
        delay: seconds before each answer.
        requests: what was asked, in order.
        url: address of the REST service while it runs.
        grpc: address of the gRPC service.
    """

    url: str

    def __init__(self, folder: Path):
        self.models = Models(folder)
        self.failures: list[Any] = []
        self.delay = 0.0
        self.requests: list[str] = []
        self._grpc = grpc.server(futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            Servicer(self), self._grpc
        )
        self.grpc = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Double"]:
        models = LocalModels(FolderCatalog(self.models), 1000)
        app = create_app(models, DataImages(), Settings())
        self._grpc.start()
        try:
            with running(self._troubled(app)) as self.url:
                yield self
        finally:
            self._grpc.stop(None).wait()

    def _troubled(self, app: ASGIApp) -> ASGIApp:
        """The application with `requests`, `delay` and `failures`."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.requests.append(f"{scope['method']} {scope['path']}")
                await asyncio.sleep(self.delay)
                if self.failures:
                    status = self.failures.pop(0)
                    busy = JSONResponse({"error": "the server is busy"}, status)
                    return await busy(scope, receive, send)
            return await app(scope, receive, send)

        return answer

    def reset(self) -> None:
        self.failures, self.delay, self.requests = [], 0.0, []
