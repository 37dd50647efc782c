"""A server in this process: tfgen's own for REST, and for gRPC a double of TensorFlow Serving.

The double is not TensorFlow Serving, which was not run. It answers by the servicers of
`tensorflow-serving-api`, from the SavedModels of a folder.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf.json_format import ParseDict
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from tests.commands import PATIENCE
from tests.serving.processes import running
from tfgen.publishing import versions
from tfgen.serving.app import Settings, create_app
from tfgen.serving.models import Entry, Models


class FolderModels(Models):
    """The versions of a folder, without the shipped ones.

    As by the default policy of TensorFlow Serving the newest one is served; with `all_versions`
    the others are too.
    """

    refresh = 0.0

    def __init__(self, folder: Path):
        super().__init__(folder, 1000)
        self.folder, self.all_versions = folder, False

    def read(self) -> dict[str, dict[int, Entry]]:
        most, names = None if self.all_versions else 1, versions.names(self.folder)
        return {k: dict([*v.items()][:most]) for k, v in super().read().items() if k in names}


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The gRPC service."""

    def __init__(self, double: "Double"):
        self.double = double

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802  (the servicer's name)
        def answer() -> Any:
            spec = request.model_spec
            opened = self.double.models.open(spec.name, _version(spec))
            name = spec.signature_name or "serving_default"
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            if inputs.keys() != opened.signatures[name].inputs.keys():
                raise ValueError(f"input keys {sorted(inputs)} do not match")
            response = predict_pb2.PredictResponse(model_spec=spec)
            for key, value in opened.sampler.call(name, **inputs).items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return response

        return self._answered(context, answer)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        def answer() -> Any:
            spec = request.model_spec
            metadata = self.double.models.open(spec.name, _version(spec)).metadata
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            ParseDict(metadata["model_spec"], response.model_spec)
            table = get_model_metadata_pb2.SignatureDefMap()
            ParseDict(metadata["metadata"]["signature_def"], table)
            response.metadata["signature_def"].Pack(table)
            return response

        return self._answered(context, answer)

    def _answered(self, context: Any, answer: Callable[[], Any]) -> Any:
        self.double.requests.append("grpc")
        failure = self.double.next_failure()
        self.double.may_answer.wait(PATIENCE)
        if failure is not None:
            context.abort(failure, "the server is busy")
        try:
            return answer()
        except HTTPException as error:
            context.abort(grpc.StatusCode.NOT_FOUND, error.detail)
        except (ValueError, TypeError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def _version(spec: Any) -> int | None:
    return int(spec.version.value) if spec.HasField("version") else None


class Double:
    """Both services on free ports of this machine.

    Attributes:
        models: what is served.
        failures: what the next requests are answered with: HTTP statuses, or gRPC's.
        may_answer: an event; answers wait until it is set.
        requests: what was asked, in order.
        url: address of the REST service while it runs.
        grpc: address of the gRPC service.
    """

    url: str

    def __init__(self, folder: Path):
        self.models = FolderModels(folder)
        self.failures: list[Any] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.requests: list[str] = []
        self._grpc = grpc.server(futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            Servicer(self), self._grpc
        )
        self.grpc = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Double"]:
        self._grpc.start()
        try:
            app = create_app(self.models, Settings(timeout=PATIENCE))
            with running(self._troubled(app)) as self.url:
                yield self
        finally:
            self._grpc.stop(None).wait()

    def _troubled(self, app: ASGIApp) -> ASGIApp:
        """The application with `requests`, `may_answer` and `failures`."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.requests.append(f"{scope['method']} {scope['path']}")
                status = self.next_failure()
                await asyncio.to_thread(self.may_answer.wait, PATIENCE)
                if status is not None:
                    busy = JSONResponse({"error": "the server is busy"}, status)
                    return await busy(scope, receive, send)
            return await app(scope, receive, send)

        return answer

    def next_failure(self) -> Any:
        return self.failures.pop(0) if self.failures else None

    def reset(self) -> None:
        self.failures, self.requests = [], []
        self.may_answer.set()
