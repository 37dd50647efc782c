"""A published sampler behind TensorFlow Serving. No TensorFlow here.

`rest` and `grpc` have the two ways to a server. Sampling changes nothing on the server, so a
request is repeated if it did not reach the server, if the connection broke, or if the server was
overloaded.
"""

import abc
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfgen.errors import TfgenError, UsageError, WorkError
from tfgen.publishing.signatures import Signature, SignatureSampler, TensorSpec
from tfgen.publishing.versions import check_name
from tfgen.sampling import Arrays

# Most repetitions of a request.
MAX_RETRIES = 4
# Seconds before the first repetition, and the ratio of one delay to the next: a server that is only
# busy is asked again soon, and four repetitions, 8 s, outlast its restart.
BACKOFF, BACKOFF_RATIO = 0.2, 3

# Signature → "inputs" or "outputs" → tensor's name → its dtype and shape, in protobuf's JSON.
SignatureDefs = Mapping[str, Mapping[str, Mapping[str, Any]]]
_DTYPES = {"DT_FLOAT": np.float32, "DT_INT32": np.int32, "DT_UINT8": np.uint8}


class Transport(abc.ABC):
    """A way to a server.

    Args:
        address: address of the server.
        timeout: seconds to wait for an answer.
        retries: most repetitions of a request.
    """

    def __init__(self, address: str, timeout: float, retries: int):
        self.address, self.timeout, self.retries = address, timeout, retries

    @abc.abstractmethod
    def metadata(self, name: str, version: int | None) -> tuple[int, SignatureDefs, list[str]]:
        """The number, the signatures and the classes' names of a version, by default the newest.

        Only tfgen-serve tells the names, over REST.

        Raises:
            UsageError: the server has no such model or version.
            WorkError: there is no answer, or the answer is not TensorFlow Serving's.
        """

    @abc.abstractmethod
    def predict(self, name: str, version: int, signature: str, inputs: Arrays) -> Any:
        """The outputs of a signature by name, or its only one, as arrays or nested lists.

        Args:
            name: the model's name on the server.
            version: number of the version.
            signature: name of the signature.
            inputs: arrays by name, with the batch first.

        Raises:
            UsageError: the server no longer has the version.
            WorkError: there is no answer, or the server refuses.
        """

    @abc.abstractmethod
    def ask(self, *request: Any) -> Any:
        """The answer to a request.

        Raises:
            ConnectionError: the server is not there, or busy.
            TfgenError: there is no answer in time, or the server refuses.
        """

    def answer(self, *request: Any) -> Any:
        """The answer to a request, which is repeated if the server is not there or busy.

        Raises:
            TfgenError: there is no answer, or the server refuses.
        """
        attempt = 0
        while True:
            try:
                return self.ask(*request)
            except ConnectionError as error:
                if attempt == self.retries:
                    raise WorkError(str(error)) from error
            # Not for as long as the server's header says, which may be hours.
            time.sleep(BACKOFF * BACKOFF_RATIO**attempt)
            attempt += 1

    def late_answer(self) -> WorkError:
        """The error about a server that did not answer in time."""
        advice = "wait longer with --timeout, or ask for less with --batch-size"
        return WorkError(f"{self.address} gave no answer in {self.timeout:g} s; {advice}")

    def refusal(self, message: Any, is_missing: bool) -> TfgenError:
        """The error about a refused request, in the server's words.

        Args:
            message: the server's.
            is_missing: whether it has no such model or version.
        """
        kind = UsageError if is_missing else WorkError
        return kind(f"the server at {self.address} says: {' '.join(str(message).split())[:300]}")


class ServedSampler(SignatureSampler):
    """A published sampler behind a server, with the methods of every sampler.

    All requests go to the version that was the newest when this object was built. So a version that
    is published later cannot mix its images with those of this one.

    Args:
        transport: `rest.Rest` or `grpc.Grpc`.
        name: the model's name on the server.
        version: number of the version; None takes the newest.

    Raises:
        UsageError: the server has no such model or version, or the name cannot be one.
        WorkError: there is no answer.
    """

    def __init__(self, transport: Transport, name: str, version: int | None = None):
        check_name(name)
        self.transport, self.name = transport, name
        self.number, self._definitions, class_names = transport.metadata(name, version)
        self.training = {"data": {"class_names": class_names}}
        # The others are TensorFlow's own.
        self.signature_names = [key for key in self._definitions if not key.startswith("__")]

    def signature(self, name: str) -> Signature:
        """The inputs and outputs of a signature.

        Raises:
            UsageError: there is no such signature.
            WorkError: it has tensors that tfgen does not export.
        """
        self.check_signature(name)
        sides = (self._definitions[name].get(side, {}) for side in ("inputs", "outputs"))
        return Signature(*({key: _tensor_spec(side[key]) for key in side} for side in sides))

    def call(self, signature: str, **inputs: np.ndarray) -> Arrays:
        """The outputs of a signature, computed by one request.

        Args:
            signature: name of the signature.
            **inputs: its inputs by name, the batch first.

        Returns:
            Its outputs by name, the batch first.

        Raises:
            UsageError: there is no such signature.
            WorkError: there is no answer, the server refuses or no longer has the version, or its
                answer does not have the arrays of the signature.
        """
        expected = self.signature(signature).outputs
        size = len(next(iter(inputs.values())))
        if size == 0:  # JSON cannot express the shape of an empty array
            return {key: np.zeros((0, *spec.sides), spec.dtype) for key, spec in expected.items()}
        try:
            outputs = self.transport.predict(self.name, self.number, signature, inputs)
        except UsageError as error:
            raise WorkError(f"{self.title} is no longer served: {error}; ask again") from error
        if not isinstance(outputs, dict):
            outputs = {next(iter(expected)): outputs}
        try:
            return {
                key: np.asarray(outputs[key], spec.dtype).reshape(size, *spec.sides)
                for key, spec in expected.items()
            }
        except (KeyError, ValueError, TypeError) as error:
            text = f"{self.transport.address} answers without {' and '.join(expected)} as described"
            raise WorkError(text) from error


def _tensor_spec(info: Mapping[str, Any]) -> TensorSpec:
    """dtype and shape of a tensor of a signature, from protobuf's JSON.

    Raises:
        WorkError: tfgen does not export such a tensor.
    """
    try:
        sizes = [int(dim["size"]) for dim in info["tensor_shape"]["dim"]]
        shape = tuple(None if size < 0 else size for size in sizes)
        return TensorSpec(_DTYPES[info["dtype"]], shape)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkError(f"the server has a tensor that tfgen does not export: {info}") from error
