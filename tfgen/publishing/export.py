"""Exports a model as a SavedModel with named signatures, as the next version of its name.

`models.config` beside the names tells TensorFlow Serving about all of them. If the extra
`[serving]` is installed, each version has requests with which a server warms up.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen import registry
from tfgen.errors import UsageError, WorkError
from tfgen.models.base import ImageModel
from tfgen.nn import cpu
from tfgen.publishing import inspection, operations, versions
from tfgen.system.atomic import fresh_folder, write_bytes

# Name of a signature → "inputs" or "outputs" → name of a tensor → its dtype and shape.
Signatures = dict[str, dict[str, dict[str, dict[str, Any]]]]
# Name of a signature → its traced function, for batches of any size, and the specs of its inputs.
Traced = dict[str, tuple[Any, list[tf.TensorSpec]]]

# Where TensorFlow Serving looks for warm-up requests, and their batch sizes.
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
_WARMUP_SIZES = (1, 32)
MODELS_CONFIG = "models.config"
# The folder of published samplers inside the server's official container.
_CONTAINER_FOLDER = "/models"
_FIRST_LINE = "# Written by tfgen at each publishing; without this line it is left as it is."
# Policies and dtypes of computation that are not float32, those of quantized layers included.
_OTHER_DTYPE = re.compile(r"^(.+_from_)?(mixed_)?(bfloat16|float16|float64)$")


def check_publishable(
    model: ImageModel, saved_models: Path, name: str, traced: Traced | None = None
) -> None:
    """Checks that a model can be published under a name; to be called before the training.

    Args:
        model: the model, trained or not.
        saved_models: folder of all names.
        name: name to publish under.
        traced: the model's signatures if they have been traced already.

    Raises:
        UsageError: the folder or the name cannot be used; the model's signatures use operations
            that a version may not hold; or they differ from those of the newest version of that
            name, whose clients rely on them.
    """
    versions.check_folder(saved_models)
    versions.check_name(name)
    try:
        with fresh_folder(saved_models / name, "writing"):
            pass
    except OSError as error:
        raise UsageError(
            f"{saved_models / name} cannot be written ({error.strerror}); publish elsewhere, "
            "or not at all"
        ) from error
    numbers = versions.version_numbers(saved_models / name)
    if traced is None:
        if not numbers and not _has_foreign_parts(model):
            return
        traced = trace(in_float32(model) if model.own_parts() else model)
    forbidden = operations.forbidden_operations(function for function, _ in traced.values())
    if forbidden:
        raise UsageError(
            f"{name} cannot be published: its signatures use "
            f"{operations.describe_forbidden(forbidden)}; compute without them, or do not publish"
        )
    if numbers:
        version = versions.read_manifest(saved_models / name / str(numbers[-1]))
        before, now = version["signatures"], describe(traced)
        for signature in sorted(before.keys() | now.keys()):
            if before.get(signature) != now.get(signature):
                raise UsageError(
                    f"{name} version {numbers[-1]} in {saved_models} has another signature "
                    f"{signature!r}; publish under another --name, or not at all"
                )


def _has_foreign_parts(model: ImageModel) -> bool:
    """Whether a model holds operations that tfgen's own tests do not know."""
    return bool(model.own_parts()) or not type(model).__module__.startswith("tfgen.models.")


def trace(model: ImageModel) -> Traced:
    """All signatures of a model as graphs."""
    traced = {}
    with cpu.inference():
        for name, (function, specs) in model.signatures().items():
            graph_function = tf.function(function, input_signature=specs, autograph=False)
            traced[name] = (graph_function.get_concrete_function(), specs)
    return traced


def describe(traced: Traced) -> Signatures:
    """Names, dtypes and shapes of all inputs and outputs, as a manifest holds them."""
    return {
        name: {
            "inputs": {spec.name: _describe_tensor(spec) for spec in specs},
            "outputs": {
                key: _describe_tensor(value)
                for key, value in sorted(function.structured_outputs.items())
            },
        }
        for name, (function, specs) in traced.items()
    }


def _describe_tensor(tensor: Any) -> dict[str, Any]:
    shape = [None if side is None else int(side) for side in tensor.shape]
    return {"dtype": tensor.dtype.name, "shape": shape}


def publish(
    model: ImageModel,
    saved_models: str | Path,
    name: str,
    *,
    run: Mapping[str, Any] | None = None,
    weights: str = "last",
    evaluation: Mapping[str, Any] | None = None,
) -> Path:
    """Publishes a model as the next version of a name, in float32 whatever its policy.

    Args:
        model: the trained model.
        saved_models: folder of all names.
        name: name to publish under.
        run: configuration of the run, for the manifest; None takes the model's own.
        weights: `best` or `last`, for the manifest.
        evaluation: evaluation of these weights, for the manifest.

    Returns:
        The folder of the version.

    Raises:
        UsageError: see `check_publishable`. Nothing remains on the disk.
        WorkError: the version is published, but `models.config` cannot be written.
    """
    saved_models = Path(saved_models)
    plain = in_float32(model)
    traced = trace(plain)
    check_publishable(plain, saved_models, name, traced)
    run = run or registry.describe_model(model)

    def write(folder: Path) -> dict[str, Any]:
        write_saved_model(plain, traced, folder)
        # By the check that opening a version makes: what is published can be opened.
        if fault := inspection.find_fault(folder):
            raise UsageError(f"{name} cannot be published: {fault}")
        write_warmup(plain, traced, folder, name)
        return {
            "family": run.get("family"),
            "weights": weights,
            "num_classes": plain.num_classes,
            "run": dict(run),
            "signatures": describe(traced),
            "evaluation": None if evaluation is None else dict(evaluation),
        }

    published = versions.write_version(saved_models, name, write)
    try:
        write_models_config(saved_models)
    except OSError as error:
        raise WorkError(
            f"published {published}, but {saved_models / MODELS_CONFIG} cannot be written: "
            f"{error.strerror}"
        ) from error
    return published


def weights_sha256(model: ImageModel) -> str:
    """SHA-256 (hex) of all weights of a model."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


# --- float32 ------------------------------------------------------------------------------


def in_float32(model: ImageModel) -> ImageModel:
    """The same model with every layer in float32, the caller's own networks included.

    Args:
        model: the model, which stays as it is.

    Returns:
        The model itself if all its layers are in float32 already, else a copy.

    Raises:
        UsageError: a layer's configuration does not rebuild it.
    """
    layers = model._flatten_layers()
    # Classes that Keras cannot find by their module, such as those of a script.
    classes = {keras.saving.get_registered_name(type(layer)): type(layer) for layer in layers}
    try:
        config = model.get_config()
        plain_config = _with_float32(config)
        if str(plain_config) == str(config):
            return model
        with keras.saving.custom_object_scope(classes):
            plain = type(model).from_config(plain_config)
        plain.set_weights(model.get_weights())
    except Exception as error:  # whatever a layer's own methods raise
        if all(layer.dtype_policy.name == "float32" for layer in layers):
            return model
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise UsageError(
            f"the model cannot be rebuilt in float32 ({type(error).__name__}: {reason}); pass "
            "networks in float32, or networks whose layers Keras can save"
        ) from error
    return plain


def _with_float32(config: Any, is_dtype: bool = False) -> Any:
    """A Keras configuration with float32 in place of every other dtype of computation.

    Args:
        config: of a model, a layer or a policy, or a part of one.
        is_dtype: whether the text in it is the name of a dtype or of a policy.
    """
    if isinstance(config, str):
        return _OTHER_DTYPE.sub(r"\1float32", config) if is_dtype else config
    if isinstance(config, Mapping):
        is_dtype |= str(config.get("class_name")).startswith("DTypePolicy")
        return {
            key: _with_float32(value, is_dtype or str(key).endswith("dtype"))
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_with_float32(value, is_dtype) for value in config)
    return config


# --- files --------------------------------------------------------------------------------


def write_saved_model(model: ImageModel, traced: Traced, folder: Path) -> None:
    """Writes a SavedModel of the model's signatures, which needs TensorFlow alone.

    `keras.export.ExportArchive` would store each weight twice.
    """
    module = tf.Module()
    functions = {name: function for name, (function, _) in traced.items()}
    module.weights = exported_weights(model, traced)
    default = next(iter(functions.values()))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": default, **functions})


def exported_weights(model: ImageModel, traced: Traced) -> list[tf.Variable]:
    """The weights that the signatures use; those of a discriminator are not among them."""
    used = {id(variable) for function, _ in traced.values() for variable in function.variables}
    return [weight.value for weight in model.weights if id(weight.value) in used]


def write_warmup(model: ImageModel, traced: Traced, folder: Path, name: str) -> bool:
    """Writes requests of each signature, which a server runs before it serves the version.

    Returns:
        Whether they were written: they need the extra `[serving]`.
    """
    try:
        from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    path = folder / WARMUP
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in _WARMUP_SIZES:
            inputs = model.example_inputs(size)
            for signature, (_, tensors) in traced.items():
                spec = model_pb2.ModelSpec(name=name, signature_name=signature)
                request = predict_pb2.PredictRequest(model_spec=spec)
                for tensor in tensors:
                    value = tf.make_tensor_proto(inputs[tensor.name])
                    request.inputs[tensor.name].CopyFrom(value)
                log = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
    return True


def write_models_config(saved_models: Path) -> None:
    """Writes the file that TensorFlow Serving takes as `--model_config_file`.

    It has all names in the folder, whose path is `/models` in the server's container. A file that
    does not begin with tfgen's own first line is left as it is. If two processes write at the same
    time, the second may have listed the names first; so the names are listed again after each
    writing.
    """
    path, written = saved_models / MODELS_CONFIG, None
    if path.exists() and not path.read_bytes().startswith(_FIRST_LINE.encode()):
        return
    while written != (names := versions.names(saved_models)):
        entries = "".join(
            f'  config {{\n    name: "{name}"\n    base_path: "{_CONTAINER_FOLDER}/{name}"\n'
            '    model_platform: "tensorflow"\n  }\n'
            for name in names
        )
        write_bytes(path, f"{_FIRST_LINE}\nmodel_config_list {{\n{entries}}}\n".encode())
        written = names
