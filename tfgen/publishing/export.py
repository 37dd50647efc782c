"""Exports a model as a SavedModel with named signatures and publishes it as the next version.

Beside the versions stands `models.config`, which tells TensorFlow Serving of all names; in each
version, if the extra `[serving]` is installed, requests that a server warms up with.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen import registry
from tfgen.errors import UsageError, WorkError
from tfgen.models.base import ImageModel
from tfgen.nn import cpu
from tfgen.publishing import versions
from tfgen.system.atomic import fresh_folder, write_bytes

Signatures = dict[str, dict[str, dict[str, dict[str, Any]]]]
# Each signature traced, for batches of any size, with the specs of its inputs.
Traced = dict[str, tuple[Any, list[tf.TensorSpec]]]

# Where TensorFlow Serving looks for them (its saved_model_warmup documentation).
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
# Batch sizes that a server is warmed up with.
_WARMED_UP = (1, 32)
MODELS_CONFIG = "models.config"
# The folder's path within the server's official container.
_CONTAINER_FOLDER = "/models"
_OURS = "# Written by tfgen at each publishing; without this line it is left as it is."


def check_publishable(
    model: ImageModel, saved_models: Path, name: str, traced: Traced | None = None
) -> None:
    """Refuses to publish under a name whose newest version has other signatures.

    A server that follows the name would otherwise change its inputs or its image shape under its
    callers.

    Raises:
        UsageError: the signatures differ, or the folder is not one that can be written.
    """
    versions.check_folder(saved_models)
    versions.check_name(name)
    try:
        # Told now, not after the training; nothing stays.
        with fresh_folder(saved_models / name, "writing"):
            pass
    except OSError as error:
        raise UsageError(
            f"{saved_models / name} cannot be written ({error.strerror}); publish elsewhere, or not at all"
        ) from error
    numbers = versions.version_numbers(saved_models / name)
    if not numbers:
        return
    before = versions.read_manifest(saved_models / name / str(numbers[-1]))["signatures"]
    now = describe(traced or trace(model))
    for signature in sorted(before.keys() | now.keys()):
        if before.get(signature) != now.get(signature):
            raise UsageError(
                f"{name} version {numbers[-1]} in {saved_models} has another signature {signature!r}; "
                "publish under another --name, or not at all"
            )


def trace(model: ImageModel) -> Traced:
    """All signatures of a model as graphs."""
    with cpu.inference():
        return {
            name: (
                tf.function(
                    function, input_signature=specs, autograph=False
                ).get_concrete_function(),
                specs,
            )
            for name, (function, specs) in model.signatures().items()
        }


def describe(traced: Traced) -> Signatures:
    """Names, dtypes and shapes of all inputs and outputs, as the manifest holds them."""
    return {
        name: {
            "inputs": {spec.name: _spec(spec) for spec in specs},
            "outputs": {
                key: _spec(value) for key, value in sorted(function.structured_outputs.items())
            },
        }
        for name, (function, specs) in traced.items()
    }


def _spec(tensor: Any) -> dict[str, Any]:
    return {
        "dtype": tensor.dtype.name,
        "shape": [None if d is None else int(d) for d in tensor.shape],
    }


def publish(
    model: ImageModel,
    saved_models: str | Path,
    name: str,
    *,
    run: Mapping[str, Any] | None = None,
    weights: str = "last",
    evaluation: Mapping[str, Any] | None = None,
) -> Path:
    """Publishes a model's sampler as the next version of `name`, in float32 whatever its policy.

    Args:
        model: the trained model.
        saved_models: the folder of all names.
        name: what to publish as.
        run: the run's configuration, for the manifest; None: what the model itself can tell.
        weights: `best` or `last`, for the manifest.
        evaluation: of these weights, for the manifest.

    Returns:
        The version's folder.

    Raises:
        UsageError: the name's newest version has other signatures.
        WorkError: the version is published, and `models.config` cannot be written.
    """
    saved_models = Path(saved_models)
    plain = in_float32(model)
    traced = trace(plain)
    check_publishable(plain, saved_models, name, traced)
    run = run or registry.describe_model(model)

    def write(folder: Path) -> dict[str, Any]:
        write_saved_model(plain, traced, folder)
        write_warmup(plain, traced, folder, name)
        return {
            "family": run.get("family"),
            "weights": weights,
            "num_classes": plain.num_classes,
            "run": dict(run),
            "signatures": describe(traced),
            "evaluation": None if evaluation is None else dict(evaluation),
        }

    published = versions.publish(saved_models, name, write)
    try:
        write_models_config(saved_models)
    except OSError as error:
        told = f"published {published}, but {saved_models / MODELS_CONFIG} cannot be written"
        raise WorkError(f"{told}: {error.strerror}") from error
    return published


def weights_sha256(model: ImageModel) -> str:
    """SHA-256 (hex) of all weights of a model."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def in_float32(model: ImageModel) -> ImageModel:
    """The same model with all computation in float32; the model itself where that is so already."""
    if model.dtype_policy.name == "float32":
        return model
    plain = type(model).from_config({**model.get_config(), "dtype": "float32"})
    plain.set_weights(model.get_weights())
    return plain


def write_saved_model(model: ImageModel, traced: Traced, folder: Path) -> None:
    """Writes the SavedModel with the model's signatures; it loads where only TensorFlow is
    installed.

    Not by `keras.export.ExportArchive`, which stores each weight twice.
    """
    module = tf.Module()
    functions = {name: function for name, (function, _) in traced.items()}
    module.weights = exported_weights(model, traced)
    default = next(iter(functions.values()))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": default, **functions})


def exported_weights(model: ImageModel, traced: Traced) -> list[tf.Variable]:
    """The weights that the signatures use, and no more: a discriminator is not served."""
    used = {id(variable) for function, _ in traced.values() for variable in function.variables}
    return [weight.value for weight in model.weights if id(weight.value) in used]


def write_warmup(model: ImageModel, traced: Traced, folder: Path, name: str) -> bool:
    """Writes requests of each signature, with which a server runs a version before it serves it.

    Returns:
        Whether it did: the extra `[serving]` may be missing.
    """
    try:
        from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    path = folder / WARMUP
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in _WARMED_UP:
            inputs = model.example_inputs(size)
            for signature, (_, specs) in traced.items():
                spec = model_pb2.ModelSpec(name=name, signature_name=signature)
                request = predict_pb2.PredictRequest(model_spec=spec)
                for each in specs:
                    request.inputs[each.name].CopyFrom(tf.make_tensor_proto(inputs[each.name]))
                log = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
    return True


def write_models_config(saved_models: Path) -> None:
    """Writes what a TensorFlow Serving server takes as `--model_config_file`: all names in the
    folder.

    The folder is `/models` in the server's container. A file that does not begin as tfgen's is left
    alone. Of two writers the later one may have looked first; so each looks again after it has
    written.
    """
    path, before = saved_models / MODELS_CONFIG, None
    if path.exists() and not path.read_bytes().startswith(_OURS.encode()):
        return
    while before != (names := versions.names(saved_models)):
        entries = "".join(
            f'  config {{\n    name: "{name}"\n    base_path: "{_CONTAINER_FOLDER}/{name}"\n'
            '    model_platform: "tensorflow"\n  }\n'
            for name in names
        )
        write_bytes(path, f"{_OURS}\nmodel_config_list {{\n{entries}}}\n".encode())
        before = names
