"""A published sampler behind TensorFlow Serving. No TensorFlow here.

`rest` and `grpc` have the two ways to a server. Sampling changes nothing on the server, so a
request is repeated if it did not reach the server, if the connection broke, or if the server was
overloaded.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tfgen.errors import UsageError, WorkError
from tfgen.publishing.signatures import Signature, SignatureSampler, TensorSpec
from tfgen.publishing.versions import check_name
from tfgen.sampling import Arrays
from tfgen.settings.fields import hint

# Most repetitions of a request: gRPC makes at most five attempts.
MAX_RETRIES = 4
# Seconds before the first repetition, and the ratio of one delay to the next: a server that is only
# busy is asked again soon, and four repetitions, 8 s, outlast its restart.
BACKOFF, BACKOFF_RATIO = 0.2, 3

# Signature → "inputs" or "outputs" → tensor's name → its dtype and shape, in protobuf's JSON.
SignatureDefs = Mapping[str, Mapping[str, Mapping[str, Any]]]
# Stands for the name of a signature's only output, which REST leaves out.
UNNAMED = ""
_DTYPES = {"DT_FLOAT": np.float32, "DT_INT32": np.int32, "DT_UINT8": np.uint8}


class Transport(Protocol):
    """A way to a server.

    Attributes:
        address: address of the server.
    """

    address: str

    def metadata(self, name: str, version: int | None) -> tuple[int, SignatureDefs]:
        """The number and the signatures of a version; of the newest one if `version` is None.

        Raises:
            UsageError: the server has no such model or version.
            WorkError: there is no answer, or the answer is not TensorFlow Serving's.
        """

    def predict(self, name: str, version: int, signature: str, inputs: Arrays) -> dict[str, Any]:
        """The outputs of a signature by name (or `UNNAMED`), as arrays or nested lists.

        Raises:
            WorkError: there is no answer, or the server refuses or no longer has the version.
        """


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
        WorkError: there is no answer, or tfgen did not export the model.
    """

    def __init__(self, transport: Transport, name: str, version: int | None = None):
        check_name(name)
        self.transport, self.name = transport, name
        self.number, self._definitions = transport.metadata(name, version)
        for signature, output in (("latents", "latents"), ("decode", "images")):
            if output not in self._definitions.get(signature, {}).get("outputs", {}):
                raise WorkError(
                    f"model {name} at {transport.address} has no {signature!r}: "
                    "tfgen did not export it"
                )

    def has_signature(self, name: str) -> bool:
        """Whether the model offers a signature."""
        return name in self._definitions

    def signature(self, name: str) -> Signature:
        """The inputs and outputs of a signature.

        Raises:
            UsageError: there is no such signature.
            WorkError: it has tensors that tfgen does not export.
        """
        if not self.has_signature(name):
            known = [key for key in self._definitions if not key.startswith("__")]
            raise UsageError(
                f"{self.name} at {self.transport.address} has no signature {name!r}"
                f"{hint(name, known)}"
            )
        definition = self._definitions[name]
        inputs, outputs = (
            {key: tensor_spec(info) for key, info in definition.get(kind, {}).items()}
            for kind in ("inputs", "outputs")
        )
        return Signature(inputs, outputs)

    def call(self, signature: str, **inputs: np.ndarray) -> Arrays:
        """The outputs of a signature, computed by one request.

        Args:
            signature: name of the signature.
            **inputs: its inputs by name, the batch first.

        Returns:
            Its outputs by name, the batch first.

        Raises:
            UsageError: there is no such signature, or there are no inputs.
            WorkError: there is no answer, the server refuses, or its answer does not have the
                arrays of the signature.
        """
        if not inputs:
            raise UsageError(f"signature {signature!r} is called without inputs")
        expected = self.signature(signature).outputs
        size = len(next(iter(inputs.values())))
        if size == 0:  # JSON cannot express the shape of an empty array
            return {key: np.zeros(_shape(spec, 0), spec.dtype) for key, spec in expected.items()}
        outputs = self.transport.predict(self.name, self.number, signature, inputs)
        if UNNAMED in outputs and len(expected) == 1:
            outputs = {next(iter(expected)): outputs[UNNAMED]}
        arrays = {}
        for key, spec in expected.items():
            shape = _shape(spec, size)
            with contextlib.suppress(KeyError, ValueError, TypeError):
                arrays[key] = np.asarray(outputs[key], spec.dtype)
            if key not in arrays or arrays[key].shape != shape:
                raise WorkError(
                    f"{self.transport.address} answers {signature!r} without {key!r} of shape "
                    f"{list(shape)}"
                )
        return arrays


def _shape(spec: TensorSpec, size: int) -> tuple[int, ...]:
    """The shape of a batch of that size."""
    return (size, *(side or 0 for side in spec.shape[1:]))


def tensor_spec(info: Mapping[str, Any]) -> TensorSpec:
    """dtype and shape of a tensor of a signature, from protobuf's JSON.

    Raises:
        WorkError: tfgen does not export such a tensor.
    """
    try:
        sizes = [int(dim["size"]) for dim in info["tensor_shape"]["dim"]]
        shape = tuple(None if size < 0 else size for size in sizes)
        return TensorSpec(_DTYPES[info["dtype"]], shape)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkError(
            f"the server describes a tensor that tfgen does not export: {info}"
        ) from error


# --- errors of both ways to a server ------------------------------------------------------


def late_answer(address: str, timeout: float) -> str:
    """The message about a server that did not answer in time."""
    return (
        f"{address} gave no answer in {timeout:g} s; wait longer with --timeout, or ask for less "
        "at once with --batch-size"
    )


def refusal(address: str, message: Any) -> str:
    """The message about a request that the server refused."""
    return f"the server at {address} says: {' '.join(str(message).split())[:300]}"


def version_gone(address: str, model: str, message: Any) -> str:
    """The message about a version that the server has unloaded."""
    return (
        f"{model} is no longer served at {address} ({message}): a newer version has taken its "
        "place; ask again"
    )
