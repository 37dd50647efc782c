"""The families by name: the built-in ones, and those that other packages add.

A built-in family is a folder in `tfgen/models/` and a line in `_BUILT_IN`. Another package adds one
by an entry point of the group `tfgen.families`, whose name is the family's and whose value is the
path of its `Family`, `module:FAMILY`. No TensorFlow here: a family names its model class by its
path.
"""

import functools
import importlib
import importlib.metadata
from typing import Any

from tfgen.errors import UsageError
from tfgen.settings.family import Family as Family
from tfgen.settings.family import Preset as Preset
from tfgen.settings.fields import hint
from tfgen.settings.model import ModelConfig
from tfgen.settings.training import RunConfig

DEFAULT_DATASET = "mnist"
ENTRY_POINTS = "tfgen.families"

_BUILT_IN = {
    "vae": "tfgen.models.vae.config:FAMILY",
    "gan": "tfgen.models.gan.config:FAMILY",
    "flow": "tfgen.models.flow.config:FAMILY",
    "classifier": "tfgen.models.classifier.config:FAMILY",
}


def names() -> list[str]:
    """The names of all families, the built-in ones first."""
    return [*_BUILT_IN, *(name for name in _entry_points() if name not in _BUILT_IN)]


@functools.cache
def family(name: str) -> Family:
    """The family of that name.

    Raises:
        UsageError: there is none, or the package that adds it cannot be imported.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        entry: Any = getattr(importlib.import_module(module), attribute)
    elif name in _entry_points():
        entry = _load_entry_point(name)
    else:
        raise UsageError(f"unknown model {name!r}{hint(name, names())}")
    return entry


def families() -> list[Family]:
    """All families, the built-in ones first; those of packages that cannot be imported are left
    out."""
    entries = []
    for name in names():
        try:
            entries.append(family(name))
        except UsageError:
            # `family(name)` says why to whoever asks for it; the others still work.
            continue
    return entries


@functools.cache
def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _load_entry_point(name: str) -> Family:
    point = _entry_points()[name]
    try:
        entry = point.load()
    except Exception as error:  # whatever the other package's import raises
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"family {name!r} ({point.value}) cannot be imported: {reason}") from error
    if not isinstance(entry, Family) or entry.name != name:
        raise UsageError(
            f"family {name!r}: {point.value} is no tfgen.registry.Family named {name!r}"
        )
    return entry


def build_model(config: RunConfig) -> Any:
    """The untrained model of a run's configuration; imports TensorFlow."""
    options = config.options
    return family(config.family).load_class()(
        config.model, seed=options.seed, dtype=options.precision
    )


def default_name(family_name: str, dataset: str, config: ModelConfig) -> str:
    """The name that a trained model is published under.

    It is the family's name. What changes a signature is appended where it differs from the default:
    the latent dimension, labels, the data set. So a server that follows `vae` never gets another
    shape.
    """
    entry = family(family_name)
    default = entry.presets[entry.default_preset].model
    parts = [family_name]
    latent_dim = getattr(config, "latent_dim", None)
    if latent_dim != getattr(default, "latent_dim", None):
        parts.append(f"{latent_dim}d")
    num_classes: int = getattr(config, "num_classes", 0)
    if entry.generative and num_classes:
        parts.append("conditional")
    if dataset != DEFAULT_DATASET:
        parts.append(dataset)
    return "-".join(parts)


def describe_model(model: Any) -> dict[str, Any]:
    """What a model that no run trained says about itself, in a run's form: family, configuration,
    seed.

    Raises:
        UsageError: it belongs to no family.
    """
    for entry in families():
        if isinstance(model, entry.load_class()):
            own_parts = model.own_parts()
            run = {
                "family": entry.name,
                "model": model.config.to_json(),
                "options": {"seed": model.seed},
            }
            return {**run, "given": own_parts} if own_parts else run
    raise UsageError(f"{type(model).__name__} is no model of {', '.join(names())}")
