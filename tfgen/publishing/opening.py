"""Open what tfgen wrote: runs, `.keras` files and published versions."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfgen import registry
from tfgen.errors import UsageError, WorkError, describe
from tfgen.models.export import Traced, exported_weights, in_float32, trace
from tfgen.models.generative import GenerativeModel
from tfgen.publishing import export, versions
from tfgen.publishing.artifacts import check_sampling, kind_at
from tfgen.publishing.sampler import LocalSampler, load_graph
from tfgen.publishing.sampler import Sampler as Sampler
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system.atomic import check_members
from tfgen.training.checkpoint import Checkpoint, read_weights
from tfgen.training.folder import RunFolder, run_name, saved_config


def load(path: str | Path, *, weights: str | int = "best", **sampling: Any) -> Any:
    """Open a run, a `.keras` file or a published version.

    Args:
        path: run directory, `.keras` file, archive, or folder of a version, `<name>/<integer>`.
        weights: of a run, `best` (by validation; the last ones if it has no best checkpoint),
            `last`, or the number of an epoch whose weights it has kept.
        **sampling: options of sampling in place of those of the training, such as `steps=4` of flow
            matching; see `ImageModel.set_sampling`. A published version has its own.

    Returns:
        The model of a run or of a `.keras` file; the latter is compiled as it was saved. A
        `Sampler` of a published version.

    Raises:
        UsageError: the path is none of these, or has no such option of sampling.
        WorkError: it is damaged, or its graph holds what is not allowed.
    """
    path = Path(path)
    kind = kind_at(path)
    if kind == "version":
        check_sampling(kind, path, sampling)
        return Sampler(path)
    if kind not in ("keras", "run"):
        raise UsageError(f"{path} is neither a run nor a .keras file nor a published version")
    model = load_keras_file(path) if kind == "keras" else load_run(path, str(weights))[0]
    if sampling:
        model.set_sampling(**sampling)
    return model


def load_keras_file(path: Path, *, compile: bool = True) -> Any:
    """The model in a `.keras` file, in Keras's safe mode.

    Args:
        path: the file.
        compile: whether the model is compiled as it was saved.

    Raises:
        WorkError: it is not such a file, is damaged, or would read other files.
    """
    registry.load_classes()  # registers the classes that the file may name
    try:
        check_members(path)
        return keras.saving.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # Keras and h5py raise many types
        raise WorkError(f"{path} cannot be loaded ({describe(error)})") from error


def load_run(path: Path, choice: str) -> tuple[Any, Checkpoint]:
    """The model of a run, and the checkpoint of its weights.

    Args:
        path: run directory.
        choice: `best`, `last` or the number of an epoch. The last ones are used if the run has no
            best ones.

    Raises:
        UsageError: the run has no checkpoint yet, or not the weights that were asked for.
        WorkError: the run is damaged.
    """
    config = saved_config(path)
    weights = read_weights(path, choice)
    if weights is None:
        command = f"tfgen-train {config.family} --resume --run-dir {shlex.quote(str(path))}"
        raise UsageError(f"run {path} has no checkpoint yet; train it with: {command}")
    model = registry.build_model(config)
    weights.restore(model, "weights")
    return model, weights


class RunSampler(LocalSampler):
    """A run as a sampler, with the images of the version that is published from it.

    It computes with the graphs that an export would have, each of which is traced when it is first
    used.

    Args:
        path: run directory.
        weights: `best` (by validation), `last` or the number of an epoch.
        sampling: options of sampling; see `load`.

    Attributes:
        model: the trained model, under the policy of its training.
        weights: the weights in use, `best`, `last` or `epoch <number>`.

    Raises:
        UsageError: the folder is no run, its model makes no images or has no such option of
            sampling, or there is no checkpoint yet.
        WorkError: the run is damaged.
    """

    number = 0  # Not published.

    def __init__(self, path: Path, weights: str, sampling: Mapping[str, Any]):
        super().__init__()
        self.path, self.name = path, run_name(saved_config(path))
        self.model, used = load_run(path, weights)
        self.model.set_sampling(**sampling)
        self.training = RunFolder(path).read_record() | {"model": self.model.config.to_json()}
        self.weights = used.name
        if not isinstance(self.model, GenerativeModel):
            raise UsageError(f"{path} is a {self.training['family']}, which makes no images")
        self._float32_model = in_float32(self.model)
        self.signature_names = self._float32_model.signatures().keys()
        # Name of a signature → its function and the specs of its inputs.
        self._traced: Traced = {}

    @property
    def title(self) -> str:
        """What messages call the sampler."""
        return f"{self.path} ({self.weights} weights)"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and the options of sampling, in hexadecimal."""
        return export.weights_sha256(self._float32_model)

    def _function(self, name: str) -> tuple[Any, Mapping[str, tf.TensorSpec]]:
        if name not in self._traced:
            self._traced |= trace(self._float32_model, [name])
        function, specs = self._traced[name]
        return function, {spec.name: spec for spec in specs}


def starting_model(path: Path) -> Any:
    """The model whose weights a training starts from; for a run, with its best weights.

    Args:
        path: as for `load`.

    Raises:
        UsageError: the path is none of these; or it is a version whose manifest does not describe
            its model, or without some of the trained weights, such as those of a GAN's
            discriminator.
        WorkError: it is damaged.
    """
    if kind_at(path) != "version":
        return load(path)
    model, exported = _exported(path)
    exported_ids = {id(value) for value in exported}
    averages = model.averages_by_weight
    if any(id(averages.get(id(w), w).value) not in exported_ids for w in model.trainable_variables):
        raise UsageError(f"{path} lacks weights of a training; pass its run or a .keras file")
    return model


def exported_model(path: str | Path) -> Any:
    """The model that a version was exported from.

    It has only the weights that the signatures use.

    Args:
        path: folder or archive of the version.

    Raises:
        UsageError: the manifest does not describe the model, for example because the caller passed
            a network.
        WorkError: the version is damaged, or its graph holds what is not allowed.
    """
    return _exported(Path(path))[0]


def _exported(path: Path) -> tuple[Any, list[tf.Variable]]:
    """The model that a version was exported from, and those of its weights that the version has."""
    path = versions.Version.at(path).path
    run = versions.verify(path)["run"]
    # The manifest's word for the parts that the caller passed.
    if own_parts := run.get("given"):
        parts = " and ".join(own_parts)
        raise UsageError(f"{path} does not describe its {parts}; load its .keras file instead")
    try:
        family = registry.family(run["family"])
        config = family.config.from_json(run["model"])
        options = TrainingOptions(seed=run["options"]["seed"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the manifest of {path} does not describe its model") from error
    model = registry.build_model(RunConfig(family.name, config, options))
    stored = load_graph(path)
    weights = exported_weights(model, trace(model))
    if [weight.shape for weight in weights] != [weight.shape for weight in stored.weights]:
        raise UsageError(f"{path} was not exported from the model that its manifest describes")
    for weight, value in zip(weights, stored.weights, strict=True):
        weight.assign(value)
    return model, weights
