"""Convert the decoder of a sampler to one file that runs without TensorFlow: LiteRT or ONNX.

The file computes what the signature `decode` computes: images of latents. The latents of a seed
need integer operations that neither converter has.
"""

import copy
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfgen.errors import TfgenError, UsageError, WorkError
from tfgen.models.base import ImageModel
from tfgen.models.export import in_float32, trace, write_saved_model
from tfgen.publishing.export import Tensors, describe
from tfgen.publishing.sampler import Sampler
from tfgen.system.quiet import hold_back_stderr

# The signature that is converted.
DECODE = "decode"


class Decoder(NamedTuple):
    """A converted decoder.

    Attributes:
        content: the bytes of the file.
        signature: its inputs and outputs, with dtype and shape.
    """

    content: bytes
    signature: Tensors


def convert(sampler: ImageModel | Sampler, file_format: str) -> Decoder:
    """Convert the decoder of a model or of a published version.

    Args:
        sampler: the model or the version.
        file_format: `litert` or `onnx`.

    Returns:
        The decoder, for batches of any size, in float32 whatever the model's policy.

    Raises:
        UsageError: the model has no decoder.
        WorkError: the decoder uses an operation that the format does not have, or the extra
            `[formats]` is not installed, which ONNX needs.
    """
    converter = {"litert": _to_litert, "onnx": _to_onnx}[file_format]
    known = sampler.manifest["signatures"] if isinstance(sampler, Sampler) else sampler.signatures()
    if DECODE not in known:
        raise UsageError(f"the model makes no images; it offers {', '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="tfgen-") as temporary:
        folder = Path(temporary)
        if isinstance(sampler, Sampler):
            shutil.copytree(sampler.version.path, folder, dirs_exist_ok=True)
            signature = sampler.manifest["signatures"][DECODE]
        else:
            model = in_float32(sampler)
            traced = trace(model, [DECODE])
            write_saved_model(model, traced, folder)
            signature = describe(traced)[DECODE]
        _unshare_functions(folder / "saved_model.pb")
        content, fault = None, None
        # The converters' logs are not for the user, so the exception must not leave this block.
        with hold_back_stderr():
            try:
                content = converter(folder)
            except Exception as error:  # each converter raises many types
                fault = error
    if isinstance(fault, TfgenError):  # a signal ended the conversion
        raise fault
    if content is None:
        reason = " ".join(str(fault).split())[:300]
        raise WorkError(f"the decoder cannot be converted to {file_format}: {reason}") from fault
    return Decoder(content, signature)


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


def _to_litert(folder: Path) -> bytes:
    # Without further settings, only the operations are allowed that every LiteRT runtime has.
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[DECODE])
    return converter.convert()


def _copy_alone(graph: Any, memo: dict[int, Any]) -> Any:
    """A deep copy of a graph of tf2onnx without the graph around it."""
    duplicate = memo[id(graph)] = object.__new__(type(graph))
    outside = {"parent_graph": memo.get(id(graph.parent_graph))}
    vars(duplicate).update(copy.deepcopy(vars(graph) | outside, memo))
    return duplicate


def _to_onnx(folder: Path) -> bytes:
    import onnx
    import tf2onnx.graph

    # Two thirds of the time would go to copies: of all for each optimization, lest it fails, and of
    # all around each loop, which tf2onnx does not use.
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")
    tf2onnx.graph.Graph.__deepcopy__ = _copy_alone
    loaded = tf.saved_model.load(str(folder))  # has the variables, so it must stay in scope
    decode = loaded.signatures[DECODE]
    specs = decode.structured_input_signature[1]

    def call(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return decode(**dict(zip(specs, inputs, strict=True)))

    model, _ = tf2onnx.convert.from_function(
        tf.function(call, autograph=False), list(specs.values())
    )
    # tf2onnx keeps operations that it does not know, which only this check finds.
    onnx.checker.check_model(model)
    return model.SerializeToString()
