"""Convert a signature of a sampler to one file that runs without TensorFlow: LiteRT or ONNX.

By default it is `decode`: images of latents. The latents of a seed need integer operations that
neither converter has, as does any other signature with seeds.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfgen.errors import TfgenError, UsageError, WorkError
from tfgen.models.base import ImageModel
from tfgen.models.export import in_float32, trace, write_saved_model
from tfgen.nn import overrides
from tfgen.publishing.export import Tensors, manifest_signatures
from tfgen.publishing.sampler import Sampler
from tfgen.system.quiet import hold_back_stderr

DECODE = "decode"


def convert(
    sampler: ImageModel | Sampler, file_format: str, signature: str = DECODE
) -> tuple[bytes, Tensors]:
    """Convert a signature of a model or of a published version, by default the decoder.

    Args:
        sampler: the model or the version.
        file_format: `litert` or `onnx`.
        signature: name of the signature.

    Returns:
        The bytes of the file, for batches of any size, in float32 whatever the model's policy; the
        inputs and outputs, with dtype and shape.

    Raises:
        UsageError: the model has no decoder.
        WorkError: the signature uses an operation that the format does not have, or the extra
            `[formats]` is not installed, which ONNX needs.
    """
    converter = {"litert": _to_litert, "onnx": _to_onnx}[file_format]
    known = sampler.manifest["signatures"] if isinstance(sampler, Sampler) else sampler.signatures()
    if signature not in known:
        raise UsageError(f"the model makes no images; it offers {', '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="tfgen-") as temporary:
        folder = Path(temporary)
        if isinstance(sampler, Sampler):
            shutil.copytree(sampler.version.path, folder, dirs_exist_ok=True)
            tensors = sampler.manifest["signatures"][signature]
        else:
            model = in_float32(sampler)
            traced = trace(model, [signature])
            write_saved_model(model, traced, folder)
            tensors = manifest_signatures(traced)[signature]
        _unshare_functions(folder / "saved_model.pb")
        content, fault = None, None
        # The converters' logs are not for the user, so the exception must not leave this block.
        with hold_back_stderr():
            try:
                content = converter(folder, signature)
            except Exception as error:  # each converter raises many types
                fault = error
    if isinstance(fault, TfgenError):  # a signal ended the conversion
        raise fault
    if content is None:
        kind = "" if isinstance(fault, ValueError) else f"{type(fault).__name__}: "
        reason = kind + " ".join(str(fault).split())[:300]
        raise WorkError(f"{signature} cannot be converted to {file_format}: {reason}") from fault
    return content, tensors


def _blame(node: str, operation: str, why: str) -> str:
    """Says which operation could not be converted, where in the graph, and what to do."""
    return f"{operation} ({node}): {why}; compute it from other operations"


def _unshare_functions(path: Path) -> None:
    """Gives each call its own copy of a function, which the converters inline; they cannot share.

    Args:
        path: file of a SavedModel, which is changed.
    """
    saved = SavedModel.FromString(path.read_bytes())
    library = saved.meta_graphs[0].graph_def.library
    functions = {function.signature.name: function for function in library.function}

    def unshare(caller: Any) -> None:
        for function in [value.func for node in caller.node_def for value in node.attr.values()]:
            called = functions.get(function.name)
            if called is not None and (
                caller.signature.name not in functions or "_noinline" in called.attr
            ):
                own = library.function.add()
                own.CopyFrom(called)
                own.attr.pop("_noinline", None)
                function.name += f"_{len(library.function)}"
                own.signature.name = function.name
                unshare(own)

    for function in functions.values():
        unshare(function)
    path.write_bytes(saved.SerializeToString())


def _to_litert(folder: Path, signature: str) -> bytes:
    # Without further settings, only the operations are allowed that every LiteRT runtime has.
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[signature])
    return converter.convert()


def _to_onnx(folder: Path, signature: str) -> bytes:
    import onnx
    import tf2onnx
    from tf2onnx.handler import tf_op

    overrides.copy_onnx_graphs_alone()
    loaded = tf.saved_model.load(str(folder))  # has the variables, so it must stay in scope
    function = loaded.signatures[signature]
    specs = function.structured_input_signature[1]

    def call(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return function(**dict(zip(specs, inputs, strict=True)))

    # Broadcasts shapes, which TFP's distributions do with shapes of the same rank.
    tf_op("BroadcastArgs", onnx_op="Max").register_compat_handler(lambda *_, **__: None, 12)
    traced = tf.function(call, autograph=False)
    with overrides.onnx_failures() as failures:
        try:
            model, _ = tf2onnx.convert.from_function(traced, list(specs.values()))
        except Exception as error:
            if failures and not isinstance(error, TfgenError):
                raise ValueError(_blame(*failures[0])) from error
            raise
    try:
        # tf2onnx keeps operations that it does not know, which only this check finds.
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ValueError(_blame(*failures[0]) if failures else str(error)) from error
    for tensor in (*model.graph.input, *model.graph.output):
        for size in tensor.type.tensor_type.shape.dim[:1]:
            size.dim_param = "batch"  # tf2onnx calls it unk__390 or the like
    return model.SerializeToString()


def in_half(content: bytes, inputs: Mapping[str, np.ndarray]) -> bytes:
    """An ONNX file with weights in `float16`, unless its outputs then change visibly.

    Args:
        content: the file.
        inputs: typical inputs.

    Returns:
        The file that computes with the rounded weights in `float32`; `content`, if an output
        changes by half a level of 255 of its range or more.
    """
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(content)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            name, values = tensor.name, numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}:half"))
            cast = helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT)
            model.graph.node.insert(0, cast)
    half = model.SerializeToString()
    full, rounded = (
        onnxruntime.InferenceSession(file).run(None, dict(inputs)) for file in (content, half)
    )
    is_close = all(
        np.abs(values - other).max() < np.ptp(values) / 510
        for values, other in zip(full, rounded, strict=True)
    )
    return half if is_close else content
