"""A run on this machine as a sampler, with the images of the version that is published from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.models.export import Traced, in_float32, trace
from tfgen.models.generative import GenerativeModel
from tfgen.publishing.export import weights_sha256
from tfgen.publishing.opening import load_run
from tfgen.publishing.sampler import LocalSampler
from tfgen.settings.fields import hint
from tfgen.training.folder import RunFolder, run_name, saved_config


class RunSampler(LocalSampler):
    """A run, with the methods of every sampler and nothing published.

    It computes with the graphs that an export would have, each of which is traced when it is first
    used.

    Args:
        path: run directory.
        weights: `best` (by validation), `last` or the number of an epoch.

    Attributes:
        weights: which weights it has, `best`, `last` or `epoch <number>`.

    Raises:
        UsageError: the folder is no run, its model makes no images, or there is no checkpoint yet.
        WorkError: the run is damaged.
    """

    number = 0  # Not published.

    def __init__(self, path: Path, weights: str = "best"):
        super().__init__()
        self.path, self.name = path, run_name(saved_config(path))
        self.training = RunFolder(path).read_record()
        model, used = load_run(path, weights)
        self.weights = used.name
        if not isinstance(model, GenerativeModel):
            raise UsageError(
                f"{path} is a run of a {self.training['family']}, which makes no images; pass a "
                "generative model"
            )
        self._model = in_float32(model)
        self._known = self._model.signatures().keys()
        # Name of a signature → its function and the specs of its inputs.
        self._traced: Traced = {}

    @property
    def title(self) -> str:
        """What messages call the sampler."""
        return f"{self.path} ({self.weights} weights)"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, in hexadecimal."""
        return weights_sha256(self._model)

    def has_signature(self, name: str) -> bool:
        """Whether the model offers a signature."""
        return name in self._known

    def _function(self, name: str) -> tuple[Any, Mapping[str, tf.TensorSpec]]:
        if not self.has_signature(name):
            raise UsageError(f"{self.path} has no signature {name!r}{hint(name, self._known)}")
        if name not in self._traced:
            self._traced |= trace(self._model, [name])
        function, specs = self._traced[name]
        return function, {spec.name: spec for spec in specs}
