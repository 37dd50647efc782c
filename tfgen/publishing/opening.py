"""Opens what tfgen wrote: runs, `.keras` files and published versions."""

import shlex
import zipfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfgen import registry
from tfgen.errors import UsageError, WorkError
from tfgen.publishing import export, versions
from tfgen.publishing.sampler import Sampler as Sampler
from tfgen.publishing.sampler import load_saved_model
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.training.folder import RunFolder, saved_config
from tfgen.training.weights import Weights, read_weights


def load(path: str | Path, *, weights: str | int = "best") -> Any:
    """Opens a run, a `.keras` file or a published version.

    Args:
        path: run directory, `.keras` file, or folder of a version, `<name>/<integer>`.
        weights: of a run, `best` (by validation; the last ones if it has no best checkpoint),
            `last`, or the number of an epoch whose weights it has kept.

    Returns:
        The model of a run or of a `.keras` file; the latter is compiled as it was saved. A
        `Sampler` of a published version.

    Raises:
        UsageError: the path is none of these.
        WorkError: it is damaged, or its graph holds what is not allowed.
    """
    path = Path(path)
    if path.suffix == ".keras" and path.is_file():
        return _load_keras_file(path)
    if versions.is_version(path):
        return Sampler(path)
    if RunFolder(path).config.is_file():
        return load_run(path, str(weights))[0]
    raise UsageError(f"{path} is neither a run directory nor a .keras file nor a published version")


def _load_keras_file(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise WorkError(
            f"{path} cannot be loaded: it is not a file that model.save() wrote; save the model "
            "again"
        )
    registry.load_classes()  # registers the classes that the file may name
    try:
        return keras.saving.load_model(path)
    except Exception as error:  # Keras raises many types
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise WorkError(f"{path} cannot be loaded ({type(error).__name__}: {reason})") from error


def load_run(path: Path, choice: str) -> tuple[Any, Weights]:
    """The model of a run, and the weights that it has.

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
        raise UsageError(
            f"run {path} has no checkpoint yet; train it with: "
            f"tfgen-train {config.family} --resume --run-dir {shlex.quote(str(path))}"
        )
    model = registry.build_model(config)
    weights.checkpoint.restore_weights(model)
    return model, weights


def starting_model(path: Path) -> Any:
    """The model with whose weights a training starts; of a run, with its best ones.

    Args:
        path: as for `load`.

    Raises:
        UsageError: the path is none of these; or it is a version whose manifest does not describe
            its model, or without some of the trained weights, such as those of a GAN's
            discriminator.
        WorkError: it is damaged.
    """
    if not versions.is_version(path):
        return load(path)
    try:
        model, exported = _exported(path)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the manifest of {path} does not describe its model") from error
    exported_ids = {id(value) for value in exported}
    averages = model.averages_by_weight
    if any(id(averages.get(id(w), w).value) not in exported_ids for w in model.trainable_variables):
        raise UsageError(
            f"{path} lacks weights that a training needs, such as those of a GAN's discriminator; "
            "pass its run or a .keras file"
        )
    return model


def exported_model(path: str | Path) -> Any:
    """The model that a version was exported from.

    It has those of its weights that its signatures use.

    Args:
        path: folder of the version.

    Raises:
        UsageError: the manifest does not describe the whole model, because the caller passed a
            network.
        WorkError: the version is damaged, or its graph holds what is not allowed.
    """
    return _exported(Path(path))[0]


def _exported(path: Path) -> tuple[Any, list[tf.Variable]]:
    """The model that a version was exported from, and those of its weights that the version has."""
    run = versions.read_manifest(path)["run"]
    # The manifest's word for the parts that the caller passed.
    if own_parts := run.get("given"):
        raise UsageError(
            f"{path} holds no description of the {' and '.join(own_parts)} that the model was "
            "given in Python; load its .keras file instead"
        )
    family = registry.family(run["family"])
    config = family.config.from_json(run["model"])
    options = TrainingOptions(seed=run["options"]["seed"])
    model = registry.build_model(RunConfig(family.name, config, options))
    stored = load_saved_model(path)[1]
    weights = export.exported_weights(model, export.trace(model))
    if [weight.shape for weight in weights] != [weight.shape for weight in stored.weights]:
        raise UsageError(f"{path} was not exported from the model that its manifest describes")
    for weight, value in zip(weights, stored.weights, strict=True):
        weight.assign(value)
    return model, weights
