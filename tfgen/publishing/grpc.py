"""TensorFlow Serving's gRPC interface, which needs the extra `[serving]`."""

from typing import Any

from tfgen.errors import UsageError
from tfgen.publishing.served import SignatureDefs, Transport
from tfgen.sampling import Arrays


class Grpc(Transport):
    """A way to TensorFlow Serving's gRPC interface, unencrypted.

    Args:
        address: `host:8500`.
        timeout: seconds to wait for an answer.
        retries: repetitions of a request that did not reach the server, or if the server was
            overloaded; at most 4.

    Raises:
        UsageError: the address cannot be a server's, or the extra `[serving]` is not installed.
    """

    def __init__(self, address: str, timeout: float = 60.0, retries: int = 3):
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise UsageError("--grpc needs pip install '.[serving]' in the checkout") from error
        host, _, port = address.rpartition(":")
        if not host or "/" in address or not port.isdecimal():
            raise UsageError(f"--grpc {address!r} is no address; pass one like localhost:8500")
        super().__init__(address, timeout, retries)
        # A thousand images exceed gRPC's own limit of 4 MB.
        options = [(f"grpc.max_{way}_message_length", -1) for way in ("receive", "send")]
        channel = grpc.insecure_channel(address, options=options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def metadata(self, name: str, version: int | None) -> tuple[int, SignatureDefs, list[str]]:
        """The number and the signatures of a version of the model `name`, and an empty list."""
        from google.protobuf.json_format import MessageToDict
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        answer = self.answer(self._stub.GetModelMetadata, request)
        table = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(table)
        definitions = MessageToDict(table, preserving_proto_field_name=True)["signature_def"]
        return int(answer.model_spec.version.value), definitions, []

    def predict(self, name: str, version: int, signature: str, inputs: Arrays) -> dict[str, Any]:
        """The outputs of a signature by name, as arrays; see `Transport`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, signature
        request.model_spec.version.value = version
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        answer = self.answer(self._stub.Predict, request)
        return {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}

    def ask(self, *request: Any) -> Any:
        """The answer to a message, the second argument, of a method of the stub, the first one."""
        from grpc import RpcError, StatusCode

        try:
            method, message = request
            return method(message, timeout=self.timeout)
        except RpcError as error:
            code, details = error.code(), error.details()
            if code == StatusCode.DEADLINE_EXCEEDED:
                raise self.late_answer() from error
            if code in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED):
                text = f"no server is ready at {self.address} ({details}); is its gRPC port 8500?"
                raise ConnectionError(text) from error
            raise self.refusal(details, code == StatusCode.NOT_FOUND) from error
