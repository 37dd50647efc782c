"""Finds families of models by name: the built-in ones and those of other packages.

A built-in family is a folder in `tfgen/models/` and a line in `_BUILT_IN`. Another package adds a
family by an entry point of the group `tfgen.families`. The name of the entry point is the name of
the family, its value is the path of the `Family`, `module:FAMILY`. Built-in families cannot be
replaced. This module imports no TensorFlow, because a `Family` names its model class by its path.
"""

import contextlib
import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from tfgen.errors import UsageError, describe
from tfgen.settings.family import DEFAULT_DATASET as DEFAULT_DATASET
from tfgen.settings.family import Family as Family
from tfgen.settings.family import Preset as Preset
from tfgen.settings.fields import hint
from tfgen.settings.model import ModelConfig
from tfgen.settings.training import RunConfig

ENTRY_POINTS = "tfgen.families"

_BUILT_IN = {
    "vae": "tfgen.models.vae.config:FAMILY",
    "gan": "tfgen.models.gan.config:FAMILY",
    "flow": "tfgen.models.flow.config:FAMILY",
    "flow-matching": "tfgen.models.flow_matching.config:FAMILY",
    "classifier": "tfgen.models.classifier.config:FAMILY",
}


def names() -> list[str]:
    """Names of all families: the built-in ones, then those of other packages."""
    return list(_paths())


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        UsageError: there is none, or its package cannot be imported.
    """
    path = _paths().get(name)
    if path is None:
        advice = f"{hint(name, names())}; others need the package that has them"
        raise UsageError(f"unknown model {name!r}{advice}")
    entry = _imported(name, path)
    if not isinstance(entry, Family) or entry.name != name:
        raise UsageError(f"model {name!r}: {path} is no tfgen.registry.Family of that name")
    return entry


def families() -> list[Family]:
    """All families, in the order of `names`, without those that `family` cannot return."""
    return list(_importable(family).values())


@functools.cache
def _paths() -> Mapping[str, str]:
    """Paths of the `Family` objects by name, the built-in ones first."""
    from importlib.metadata import entry_points

    points = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    return _BUILT_IN | {point.name: point.value for point in points} | _BUILT_IN


def _imported(name: str, path: str) -> Any:
    """What is at the path `module:attribute` of the family `name`."""
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # an import can raise anything
        text = f"model {name!r}: {path} cannot be imported ({describe(error)})"
        raise UsageError(text) from error


def _importable(load: Callable[[str], Any]) -> dict[str, Any]:
    """What a function loads for each name of a family, without those that raise `UsageError`."""
    loaded = {}
    for name in names():
        with contextlib.suppress(UsageError):  # a broken package disables no other family
            loaded[name] = load(name)
    return loaded


def load_class(name: str) -> Any:
    """The model class of the family `name`; imports TensorFlow.

    Raises:
        UsageError: there is no such family, or its package cannot be imported.
    """
    return _imported(name, family(name).model)


def load_classes() -> dict[str, Any]:
    """The model classes by the names of their families; imports TensorFlow.

    Those that cannot be imported are left out. Keras opens `.keras` files of all the others.
    """
    return _importable(load_class)


def register_with_keras() -> None:
    """Lets Keras open `.keras` files of all families before their classes are imported.

    Stands a `_Model` in for each class that is not imported yet. Keras looks for the name of the
    class that the decorator `register_keras_serializable(package=…)` gives, where the package is
    the one that is imported.
    """
    import keras

    registered = keras.saving.get_custom_objects()
    for entry in families():
        module, _, class_name = entry.model.partition(":")
        registered.setdefault(f"{module.partition('.')[0]}>{class_name}", _Model(entry.name))


class _Model:
    """Stands in Keras's list of classes for a model class, which it imports when it is used."""

    def __init__(self, name: str):
        self._name = name

    def from_config(self, config: dict[str, Any]) -> Any:
        """The model of a configuration; the import of its class replaces this object."""
        return load_class(self._name).from_config(config)


def build_model(config: RunConfig) -> Any:
    """The untrained model of a run's `config`; imports TensorFlow."""
    options = config.options
    return load_class(config.family)(config.model, seed=options.seed, dtype=options.precision)


def default_name(family_name: str, dataset: str, config: ModelConfig) -> str:
    """The name that a trained model is published under.

    It is the name of the family. The configuration's `variant`, if it has one, the latent
    dimension, if it differs from that of the data set's default preset (with a variant: of the
    variant's first preset), the use of labels, and the data set, if it is not MNIST, are appended,
    because they change the signatures. So a server that follows `vae` never gets images or latents
    of another shape.

    Args:
        family_name: name of the family.
        dataset: name of the data set.
        config: the model's configuration.
    """
    entry = family(family_name)
    variant, num_classes = getattr(config, "variant", ""), getattr(config, "num_classes", 0)
    models = (preset.model for preset in entry.presets.values())
    usual = entry.preset(entry.preset_for(dataset)).model
    if variant:
        usual = next((m for m in models if getattr(m, "variant", "") == variant), usual)
    latent_dim = getattr(config, "latent_dim", None)
    parts = [
        family_name,
        variant,
        "" if latent_dim == getattr(usual, "latent_dim", None) else f"{latent_dim}d",
        "conditional" if entry.generative and num_classes else "",
        "" if dataset == DEFAULT_DATASET else dataset,
    ]
    return "-".join(filter(None, parts))


def family_of(model_class: type) -> Family:
    """The family of a `model_class`, or else the nearest that the class is derived from.

    Raises:
        UsageError: the class belongs to no family.
    """
    family_names = {known_class: name for name, known_class in load_classes().items()}
    for known_class in model_class.__mro__:
        if known_class in family_names:
            return family(family_names[known_class])
    raise UsageError(f"{model_class.__name__} is not a model of {', '.join(names())}")


def describe_model(model: Any) -> dict[str, Any]:
    """The configuration of a model that no run trained, in the form of a run's.

    Raises:
        UsageError: the model belongs to no family.
    """
    run = {"family": family_of(type(model)).name, "model": model.config.to_json()}
    # The manifest's word for the parts that the caller passed.
    given = {"given": parts} if (parts := model.own_parts()) else {}
    return {**run, "options": {"seed": model.seed}, **given}
