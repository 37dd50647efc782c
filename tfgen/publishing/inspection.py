"""Check a SavedModel before it is loaded: its operations, and that nothing reaches its saver.

A SavedModel needs a saver, which reads and writes checkpoint files. Three rules keep everything
else away from files:

1. Outside of the saver, only operations of the allow-list are in the graph and in its functions.
2. The saver is two functions that the SaverDef names: one saves, and one restores the file that
   the loader names. They hold nothing but the operations that tf.saved_model.save writes.
3. Nothing else refers to these two functions, or to the two operations that call them: no
   signature, no other function, no object and no initialization.

A loader runs the function that restores, and never the one that saves.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfgen.errors import WorkError
from tfgen.publishing.operations import ALLOWED, CALLS, RESTORING, SAVING

# Attributes of the saver's functions. Others can make TensorFlow call a function in place of
# another one.
_FUNCTION_ATTRIBUTES = {"_construction_context", "_input_shapes"}
_SAVED_MODEL = "saved_model.pb"
# Other forms of the same file, which a loader may prefer.
_OTHER_FORMS = ("saved_model.cpb", "saved_model.pbtxt")


def find_fault(path: Path, allowed: frozenset[str] = ALLOWED) -> str | None:
    """Why the SavedModel in a folder must not be loaded, in one line; None if it may be.

    Args:
        path: folder of the SavedModel.
        allowed: the operations that it may hold outside of its saver.

    Raises:
        WorkError: there is no SavedModel, or it is damaged.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        graphs = SavedModel.FromString((path / _SAVED_MODEL).read_bytes()).meta_graphs
    except (OSError, DecodeError) as error:
        raise WorkError(f"{path} holds no SavedModel: {error}") from error
    for name in _OTHER_FORMS:
        if (path / name).exists():
            return f"it holds {name} beside {_SAVED_MODEL}"
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        return f"{_SAVED_MODEL} is not of the form that tf.saved_model.save writes"
    return next(_faults(graphs[0], allowed), None)


def _faults(meta: Any, allowed: frozenset[str]) -> Iterator[str]:
    """The faults of a graph; the caller stops at the first one."""
    library = meta.graph_def.library
    nodes = {node.name: node for node in meta.graph_def.node}
    functions = {function.signature.name: function for function in library.function}
    # An ambiguous name could be checked in one place and run in the other.
    if len(nodes) < len(meta.graph_def.node) or len(functions) < len(library.function):
        yield "its graph holds two operations or two functions of one name"
    tensors = [
        tensor
        for signature in meta.signature_def.values()
        for tensor in (*signature.inputs.values(), *signature.outputs.values())
    ]
    if any(tensor.WhichOneof("encoding") != "name" for tensor in tensors):
        yield "its signatures have sparse or composite tensors"

    # The node that saves and the one that restores, and the function that each of them calls.
    saver: dict[str, str] = {}
    content, names = meta.SerializeToString(), meta.saver_def
    for tensor, operations in (names.save_tensor_name, SAVING), (names.restore_op_name, RESTORING):
        if not tensor:
            continue
        call: Any = nodes.get(_node_name(tensor))
        name = call.attr["f"].func.name if call is not None and call.op in CALLS else ""
        if name not in functions:
            yield "its saver does not call a function to save and one to restore"
        yield from _saver_faults(functions[name], operations, call, names.filename_tensor_name)
        # Where it is defined, and where its node calls it.
        if content.count(name.encode()) != 2:
            yield "something other than its saver refers to the functions of the saver"
        saver[call.name] = name

    outside = [node for node in nodes.values() if node.name not in saver]
    for name in functions.keys() - saver.values():
        outside += functions[name].node_def
    if forbidden := ", ".join(sorted({node.op for node in outside} - allowed)):
        yield f"its graph holds operations that are not allowed: {forbidden}"
    used = {tensor for node in nodes.values() for tensor in node.input}
    used |= {tensor.name for tensor in tensors}
    used |= {name for entry in meta.collection_def.values() for name in entry.node_list.value}
    if saver.keys() & set(map(_node_name, used)):
        yield "something other than its loader runs the saver"


def _saver_faults(
    function: Any, operations: frozenset[str], call: Any, filename: str
) -> Iterator[str]:
    """The faults of a function of the saver: contents that TensorFlow does not write.

    Args:
        function: the function.
        operations: the allowed operations.
        call: the node that calls the function.
        filename: the tensor with the name of the file.
    """
    unknown = {node.op for node in function.node_def} - operations
    if unknown or not set(function.attr) <= _FUNCTION_ATTRIBUTES:
        text = ", ".join(sorted(unknown)) or "attributes"
        yield f"its saver's function {function.signature.name} holds {text}"
    # What is restored is the file that the loader names: the first argument.
    arguments = [argument.name for argument in function.signature.input_arg][:1]
    files = [list(node.input[:1]) for node in function.node_def if node.op == "RestoreV2"]
    is_first = all(file == arguments for file in files)
    if files and not (is_first and [*map(_with_index, call.input[:1])] == [_with_index(filename)]):
        yield "its saver reads another file than the loader names"


def _node_name(tensor: str) -> str:
    """The name of the node that a tensor or a control input belongs to."""
    return tensor.removeprefix("^").partition(":")[0]


def _with_index(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"
