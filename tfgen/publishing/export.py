"""Export a model as a SavedModel with named signatures, as the next version of its name.

`models.config` beside the names tells TensorFlow Serving about all of them. If the extra
`[serving]` is installed, each version has requests with which a server warms up.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.models.base import ImageModel
from tfgen.models.export import Traced, in_float32, trace, write_saved_model
from tfgen.publishing import inspection, operations, versions
from tfgen.system.atomic import fresh_folder, write_bytes

# "inputs" or "outputs" → name of a tensor → its dtype and shape.
Tensors = dict[str, dict[str, dict[str, Any]]]
# The inputs and outputs of each signature, by its name.
Signatures = dict[str, Tensors]

# Where TensorFlow Serving looks for warm-up requests, and their batch sizes.
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
_WARMUP_SIZES = (1, 32)
MODELS_CONFIG = "models.config"
_FIRST_LINE = "# Written by tfgen at each publishing; without this line it is left as it is."


def check_publishable(
    model: ImageModel, saved_models: Path, name: str, traced: Traced | None = None
) -> None:
    """Check that a model can be published under a name; call it before the training.

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
    versions.check_name(name)
    folder = saved_models / name
    try:
        with fresh_folder(folder, "writing"):
            pass
    except OSError as error:
        text = f"{folder} cannot be written ({error.strerror}); choose another folder"
        raise UsageError(text) from error
    numbers = versions.version_numbers(folder)
    if traced is None:
        is_own = not model.own_parts() and type(model).__module__.startswith("tfgen.models.")
        if is_own and not numbers:
            return  # its operations are known from tfgen's own tests
        traced = trace(in_float32(model))
    forbidden = operations.forbidden_operations(function for function, _ in traced.values())
    if forbidden:
        names = ", ".join(forbidden)
        raise UsageError(f"{name} cannot be published: it uses operations not allowed: {names}")
    if numbers:
        before = versions.read_manifest(folder / str(numbers[-1]))["signatures"]
        now = manifest_signatures(traced)
        changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
        if changed:
            text = f"its signatures {', '.join(changed)} differ from those of version {numbers[-1]}"
            raise UsageError(f"{folder} cannot take this model: {text}; pass another --name")


def manifest_signatures(traced: Traced) -> Signatures:
    """Names, dtypes and shapes of all inputs and outputs, as a manifest holds them."""
    signatures = {}
    for name, (function, specs) in traced.items():
        inputs = {spec.name: spec for spec in specs}
        sides = {"inputs": inputs, "outputs": dict(sorted(function.structured_outputs.items()))}
        signatures[name] = {
            side: {k: {"dtype": t.dtype.name, "shape": list(t.shape)} for k, t in tensors.items()}
            for side, tensors in sides.items()
        }
    return signatures


def publish(
    model: ImageModel,
    saved_models: str | Path,
    name: str,
    *,
    run: Mapping[str, Any] | None = None,
    weights: str = "last",
    origin: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
) -> Path:
    """Publish a model as the next version of a name, in float32 whatever its policy.

    Args:
        model: the trained model.
        saved_models: folder of all names.
        name: name to publish under.
        run: configuration of the run, for the manifest; None takes the model's own.
        weights: `best`, `last` or `epoch <number>`, for the manifest.
        origin: epoch of the weights and, for the best ones, the name and value of what was
            monitored; for the manifest.
        evaluation: evaluation of these weights, for the manifest.

    Returns:
        The folder of the version.

    Raises:
        UsageError: see `check_publishable`. No version remains on the disk.
    """
    saved_models = Path(saved_models)
    plain = in_float32(model)
    traced = trace(plain)
    check_publishable(plain, saved_models, name, traced)
    run = run or registry.describe_model(model)

    def write(folder: Path) -> dict[str, Any]:
        write_saved_model(plain, traced, folder)
        # The check that opening a version makes: what is published can be opened.
        if fault := inspection.find_fault(folder):
            raise UsageError(f"{name} cannot be published: {fault}")
        write_warmup(plain, traced, folder, name)
        return {
            "family": run.get("family"),
            "weights": weights,
            "weights_sha256": weights_sha256(model),
            **({} if origin is None else {"weights_origin": dict(origin)}),
            "num_classes": plain.num_classes,
            "run": dict(run),
            "signatures": manifest_signatures(traced),
            "evaluation": None if evaluation is None else dict(evaluation),
        }

    published = versions.write_version(saved_models, name, write)
    write_models_config(saved_models)
    return published


def weights_sha256(model: ImageModel) -> str:
    """SHA-256 (hex) of all weights of a model, and of its options of sampling if it has some."""
    config = model.config
    sampling = {field.name: getattr(config, field.name) for field in config.sampling_fields()}
    digest = hashlib.sha256(json.dumps(sampling).encode() if sampling else b"")
    for weight in model.saved_weights():
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()


# --- files --------------------------------------------------------------------------------


def write_warmup(model: ImageModel, traced: Traced, folder: Path, name: str) -> None:
    """Write requests of each signature, which a server runs before it serves the version.

    `serving_default` has requests of its own: a server prepares it apart from the signature that it
    stands for. They need the extra `[serving]`; without it, none are written.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return
    requests = {"serving_default": next(iter(traced.values())), **traced}
    path = folder / WARMUP
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in _WARMUP_SIZES:
            inputs = model.example_inputs(size)
            for signature, (_, tensors) in requests.items():
                request = predict_pb2.PredictRequest()
                request.model_spec.name, request.model_spec.signature_name = name, signature
                for tensor in tensors:
                    request.inputs[tensor.name].CopyFrom(tf.make_tensor_proto(inputs[tensor.name]))
                log = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def write_models_config(saved_models: Path) -> None:
    """Write the file that TensorFlow Serving takes as `--model_config_file`.

    It has all names in the folder, whose path is `/models` in the server's container. A file that
    does not begin with tfgen's own first line is left as it is.
    """
    path = saved_models / MODELS_CONFIG
    if path.exists() and not path.read_bytes().startswith(_FIRST_LINE.encode()):
        return
    entries = "".join(
        f'  config {{\n    name: "{name}"\n    base_path: "/models/{name}"\n'
        '    model_platform: "tensorflow"\n  }\n'
        for name in versions.names(saved_models)
    )
    write_bytes(path, f"{_FIRST_LINE}\nmodel_config_list {{\n{entries}}}\n".encode())
