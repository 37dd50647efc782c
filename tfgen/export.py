"""Exports a model as a SavedModel with named signatures and publishes it as the next version."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfgen import versions
from tfgen.atomic import fresh_folder
from tfgen.errors import UsageError
from tfgen.models.base import GenerativeModel

Signatures = dict[str, dict[str, dict[str, dict[str, Any]]]]


def check_publishable(model: GenerativeModel, saved_models: Path, name: str) -> None:
    """Refuses to publish under a name whose newest version has other signatures.

    A server that follows the name would otherwise change its inputs or its image shape under its callers.

    Raises:
        UsageError: the signatures differ, or the folder is not one that can be written.
    """
    versions.check_folder(saved_models)
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise UsageError(f"name {name!r} cannot be published; use letters, digits, '-', '_' and '.'")
    try:
        # Told now, not after the training; nothing stays.
        with fresh_folder(saved_models / name, "writing"):
            pass
    except OSError as error:
        raise UsageError(
            f"{saved_models / name} cannot be written ({error.strerror}); choose another --saved-models or "
            "--name, or train with --no-publish"
        ) from error
    numbers = versions.version_numbers(saved_models / name)
    if not numbers:
        return
    before = versions.read_manifest(saved_models / name / str(numbers[-1]))["signatures"]
    now = describe_signatures(model)
    for signature in sorted(before.keys() | now.keys()):
        if before.get(signature) != now.get(signature):
            raise UsageError(
                f"{name} version {numbers[-1]} in {saved_models} has another signature {signature!r}; "
                "publish under another --name, or train with --no-publish"
            )


def describe_signatures(model: GenerativeModel) -> Signatures:
    """Names, dtypes and shapes of all inputs and outputs, as the manifest holds them."""
    table: Signatures = {}
    for name, (function, specs) in model.signatures().items():
        outputs = concrete(function, specs).structured_outputs
        table[name] = {
            "inputs": {spec.name: _spec(spec) for spec in specs},
            "outputs": {key: _spec(value) for key, value in sorted(outputs.items())},
        }
    return table


def _spec(tensor: Any) -> dict[str, Any]:
    return {"dtype": tensor.dtype.name, "shape": [None if d is None else int(d) for d in tensor.shape]}


def publish(
    model: GenerativeModel, saved_models: Path, name: str, *, run: Mapping[str, Any], weights: str
) -> Path:
    """Publishes a model's sampler as the next version of `name`, in float32 whatever its policy.

    Args:
        model: the trained model.
        saved_models: the folder of all names.
        name: what to publish as.
        run: the run's configuration, for the manifest.
        weights: `best` or `last`, for the manifest.

    Returns:
        The version's folder.

    Raises:
        UsageError: the name's newest version has other signatures.
    """
    check_publishable(model, saved_models, name)
    plain = in_float32(model)

    def write(folder: Path) -> dict[str, Any]:
        write_saved_model(plain, folder)
        return {
            "family": run.get("family"),
            "weights": weights,
            "num_classes": plain.num_classes,
            "run": dict(run),
            "signatures": describe_signatures(plain),
            "evaluation": None,
        }

    return versions.publish(saved_models, name, write)


def in_float32(model: GenerativeModel) -> GenerativeModel:
    """The same model with all computation in float32; the model itself where that is so already."""
    if model.dtype_policy.name == "float32":
        return model
    plain = type(model).from_config({**model.get_config(), "dtype": "float32"})
    plain.set_weights(model.get_weights())
    return plain


def write_saved_model(model: GenerativeModel, folder: Path) -> None:
    """Writes the SavedModel with the model's signatures; it loads where only TensorFlow is installed.

    Not by `keras.export.ExportArchive`, which stores each weight twice.
    """
    module = tf.Module()
    functions = {name: concrete(function, specs) for name, (function, specs) in model.signatures().items()}
    # What the signatures use, and no more: a discriminator is not served.
    used = {id(variable) for function in functions.values() for variable in function.variables}
    module.weights = [weight.value for weight in model.weights if id(weight.value) in used]
    default = next(iter(functions.values()))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": default, **functions})


def concrete(function: Callable[..., dict[str, tf.Tensor]], specs: list[tf.TensorSpec]) -> Any:
    """A signature traced once, for batches of any size."""
    return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
