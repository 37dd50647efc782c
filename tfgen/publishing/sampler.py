"""A published version on this machine. It needs TensorFlow, but neither Keras nor a model class."""

import abc
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.errors import WorkError, describe
from tfgen.nn.cores import PartedFunction
from tfgen.publishing import inspection, operations, versions
from tfgen.publishing.signatures import Signature, SignatureSampler, TensorSpec
from tfgen.sampling import Arrays
from tfgen.settings.model import images_at_once

# Maximum number of images of up to 28 × 28 × 1 in a part of a batch. The arrays of more do not fit
# into the cache.
_PART_SIZE = 64


class LocalSampler(SignatureSampler):
    """Base of the samplers that compute on this machine. A subclass defines `_function`."""

    def __init__(self) -> None:
        self._functions: dict[str, PartedFunction] = {}

    @property
    def part_size(self) -> int:
        """Most rows that are computed at once, fewer of larger images."""
        shape = (self.training.get("model") or {}).get("image_shape") or ()
        return images_at_once(_PART_SIZE, shape)

    def call(self, signature: str, **inputs: np.ndarray) -> Arrays:
        """The outputs of a signature for one batch, which may be computed in parts.

        See `SignatureSampler.call` and `tfgen.nn.cores.PartedFunction`.

        Raises:
            UsageError: there is no such signature, or the inputs have different numbers of rows.
        """
        if signature not in self._functions:
            self.check_signature(signature)
            self._functions[signature] = PartedFunction(*self._function(signature), self.part_size)
        return self._functions[signature](**inputs)

    def signature(self, name: str) -> Signature:
        """The inputs and outputs of a signature.

        Raises:
            UsageError: there is no such signature.
        """
        self.check_signature(name)
        function, specs = self._function(name)
        return Signature(tensor_specs(specs), tensor_specs(function.structured_outputs))

    @abc.abstractmethod
    def _function(self, name: str) -> tuple[Any, Mapping[str, tf.TensorSpec]]:
        """The traced function of an existing signature, and its inputs."""


class Sampler(LocalSampler):
    """A published version on this machine.

    It has the methods of every sampler. `call` runs any signature of the version.

    Args:
        version: a version that `versions.find` returned, or the folder or archive of one.

    Attributes:
        version: the version.
        manifest: its manifest.

    Raises:
        UsageError: the path is not a published version.
        WorkError: the version is damaged, or its graph holds what is not allowed.
    """

    def __init__(self, version: versions.Version | str | Path):
        super().__init__()
        if not isinstance(version, versions.Version):
            version = versions.Version.at(version)
        self.version = version
        self.name, self.number = version.name, version.number
        self.manifest, self._model = versions.verify(version.path), load_graph(version.path)
        self.signature_names = self._model.signatures.keys()
        self.training = self.manifest["run"]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the list of hashes in the manifest, in hexadecimal."""
        files = json.dumps(self.manifest["files"], sort_keys=True)
        return hashlib.sha256(files.encode()).hexdigest()

    def _function(self, name: str) -> tuple[Any, Mapping[str, tf.TensorSpec]]:
        function = self._model.signatures[name]
        return function, function.structured_input_signature[1]


def load_graph(path: Path, allowed: frozenset[str] = operations.ALLOWED) -> Any:
    """What TensorFlow loads of a SavedModel.

    Its graph is inspected before, so nothing that is loaded can run other code or touch files.

    Args:
        path: folder of the SavedModel.
        allowed: the operations that it may hold.

    Raises:
        WorkError: it is damaged, or its graph holds what is not allowed.
    """
    if fault := inspection.find_fault(path, allowed):
        raise WorkError(f"{path} is not loaded: {fault}")
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many types, some with several lines
        text = f"{path} is broken: TensorFlow cannot load it ({describe(error)})"
        raise WorkError(text) from error


def tensor_specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """dtypes and shapes of TensorFlow's tensors, or of their specs, by name."""
    return {
        name: TensorSpec(tensor.dtype.as_numpy_dtype, tuple(tensor.shape))
        for name, tensor in tensors.items()
    }
