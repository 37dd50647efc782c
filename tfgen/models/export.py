"""The signatures of a model as a SavedModel, in float32, which runs with TensorFlow alone."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tfgen.errors import UsageError, describe
from tfgen.nn import cpu, overrides
from tfgen.system.atomic import fresh_folder, move_into_place

# An `ImageModel`, whose module imports this one.
Model: TypeAlias = Any
# Name of a signature → its traced function, for batches of any size, and the specs of its inputs.
Traced = dict[str, tuple[Any, list[tf.TensorSpec]]]

# Policies and dtypes of computation that are not float32, those of quantized layers included.
_OTHER_DTYPE = re.compile(r'"(\w+_from_)?(?:mixed_)?(?:bfloat16|float16|float64)"')


def trace(model: Model, names: Collection[str] | None = None) -> Traced:
    """The signatures of a model as graphs: those with these names, or all."""
    traced = {}
    with cpu.inference():
        for name, (function, specs) in model.signatures().items():
            if names is None or name in names:
                graph = tf.function(function, input_signature=specs, autograph=False)
                traced[name] = (graph.get_concrete_function(), specs)
    return traced


def write_saved_model(model: Model, traced: Traced, folder: Path) -> None:
    """Writes a SavedModel of the model's signatures, which needs TensorFlow alone.

    `keras.export.ExportArchive` would store each weight twice.
    """
    module = tf.Module()
    functions = {name: function for name, (function, _) in traced.items()}
    module.weights = exported_weights(model, traced)
    default = next(iter(functions.values()))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": default, **functions})


def replace_saved_model(model: Model, folder: Path) -> None:
    """Writes a SavedModel of a model in float32; one that is there already is replaced.

    Raises:
        UsageError: the folder holds something else, or the caller's own network cannot be rebuilt
            in float32.
    """
    is_taken = folder.is_file() or any(folder.glob("*"))
    if is_taken and not (folder / "saved_model.pb").exists():
        raise UsageError(f"{folder} exists and is no SavedModel; choose another folder")
    plain = in_float32(model)
    with fresh_folder(folder.absolute().parent, "writing") as temporary:
        write_saved_model(plain, trace(plain), temporary)
        move_into_place(temporary, folder, overwrite=True)


def exported_weights(model: Model, traced: Traced) -> list[tf.Variable]:
    """The weights that the signatures use; those of a discriminator are not among them."""
    used = {id(variable) for function, _ in traced.values() for variable in function.variables}
    return [weight.value for weight in model.saved_weights() if id(weight.value) in used]


# --- float32 ------------------------------------------------------------------------------


def in_float32(model: Model) -> Model:
    """The same model with every layer in float32, the caller's own networks included.

    Args:
        model: the model, which stays as it is.

    Returns:
        The model itself if all its layers are in float32 already, else a copy. A model of a
        distribution strategy is copied too, because TensorFlow cannot export its variables.

    Raises:
        UsageError: a layer's configuration does not rebuild it, or the call is within the scope of
            a strategy, in which the copy would get the same variables.
    """
    values = (weight.value for weight in model.weights)
    is_distributed = any(isinstance(v, tf.distribute.DistributedValues) for v in values)
    if is_distributed and tf.distribute.has_strategy():
        raise UsageError("a model is not exported within strategy.scope(); export it after that")
    layers = overrides.all_layers(model)
    if not is_distributed and all(layer.dtype_policy.name == "float32" for layer in layers):
        return model
    # Classes that Keras cannot find by their module, such as those of a script.
    classes = {keras.saving.get_registered_name(type(layer)): type(layer) for layer in layers}
    try:
        config = json.loads(_OTHER_DTYPE.sub(r'"\1float32"', json.dumps(model.get_config())))
        with keras.saving.custom_object_scope(classes):
            plain = type(model).from_config(config)
        plain.set_weights(model.get_weights())
    except Exception as error:  # whatever a layer's own methods raise
        text = f"the model cannot be rebuilt in float32 ({describe(error)})"
        advice = "pass networks in float32, or networks whose layers Keras can save"
        raise UsageError(f"{text}; {advice}") from error
    return plain
