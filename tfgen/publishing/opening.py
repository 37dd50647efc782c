"""`tfgen.load`: a model from a run, a `.keras` file or an export."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfgen import registry
from tfgen.errors import UsageError, WorkError
from tfgen.publishing import export
from tfgen.publishing.versions import MANIFEST, Sampler, Version, verify
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.training import checkpoint
from tfgen.training.folder import RunFolder, saved_config


def load(path: str | Path, *, weights: str = "best") -> Any:
    """Opens what tfgen wrote.

    Args:
        path: a run directory, a `.keras` file, or a version's folder `<name>/<integer>`.
        weights: of a run, `best` (by validation loss, where the family has such) or `last`.

    Returns:
        A `GenerativeModel` of a run or a `.keras` file, the latter compiled as it was saved; a
        `Sampler` of an export.

    Raises:
        UsageError: the path is none of these.
        WorkError: it is damaged.
    """
    path = Path(path)
    if path.suffix == ".keras" and path.is_file():
        # Registers the classes that the file may name.
        for entry in registry.families():
            entry.load_class()
        try:
            return keras.saving.load_model(path)
        except Exception as error:  # Keras raises of many kinds here
            reason = next(iter(str(error).splitlines()), "")[:200]
            raise WorkError(
                f"{path} cannot be loaded ({type(error).__name__}: {reason})"
            ) from error
    if (path / MANIFEST).is_file() and path.name.isdecimal():
        return Sampler(Version(path.parent.name, int(path.name), path))
    if RunFolder(path).config.is_file():
        return load_run(path, weights)[0]
    raise UsageError(f"{path} is no run directory, no .keras file and no published version")


def exported_model(path: str | Path) -> Any:
    """The model that a version was exported from, with its weights as far as its signatures use
    them.

    Args:
        path: a version's folder.

    Raises:
        UsageError: the version does not tell all that made its model, as where that was given a
        network. WorkError: it is damaged.
    """
    manifest = verify(Path(path))
    run = manifest["run"]
    if run.get("given"):
        raise UsageError(
            f"{path} does not tell of the {' and '.join(run['given'])} that its model was given"
        )
    entry = registry.family(run["family"])
    options = TrainingOptions(seed=run["options"]["seed"])
    model = registry.build_model(
        RunConfig(entry.name, entry.config.from_json(run["model"]), options)
    )
    weights = export.exported_weights(model, export.trace(model))
    stored = tf.saved_model.load(str(path)).weights
    if [weight.shape for weight in weights] != [weight.shape for weight in stored]:
        raise UsageError(f"{path} was not exported from the model that its manifest tells of")
    for weight, value in zip(weights, stored, strict=True):
        weight.assign(value)
    return model


def load_run(path: Path, weights: str) -> tuple[Any, str]:
    """The model of a run with its `best` or `last` weights, and which of both they are.

    The last ones stand in for the best where the family has no such.

    Raises:
        UsageError: there is no checkpoint.
        WorkError: it is damaged.
    """
    config = saved_config(path)
    if weights not in ("best", "last"):
        raise UsageError(f"weights {weights!r} are unknown; use 'best' or 'last'")
    folder = RunFolder(path).checkpoints
    best = checkpoint.read_best(folder) if weights == "best" else None
    found = best or checkpoint.read_newest(folder)[0]
    if found is None:
        raise UsageError(f"run {path} has no checkpoint yet")
    model = registry.build_model(config)
    found.restore_weights(model)
    return model, "last" if best is None else "best"
