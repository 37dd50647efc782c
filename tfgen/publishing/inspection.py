"""Checks a SavedModel before it is loaded: what its graph holds, and what can reach its saver.

A SavedModel needs a saver, which reads and writes checkpoint files. Its operations are allowed in
two functions only: the one that saves and the one that restores, which tf.saved_model.save writes
and the SaverDef names. Nothing else may call them. So no signature, no other function of the object
graph and no initialization can touch a file. Both functions use the file name that the loader
passes and no other, and loading cannot run the one that saves.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfgen.errors import WorkError
from tfgen.publishing.operations import ALLOWED, CALLS, RESTORING, SAVING, describe_forbidden

# What the saver appends to the file name for temporary files.
_SUFFIXES = (b".part", b"_temp/part")
# Attributes of the saver's functions. Others can make TensorFlow call a function in place of
# another one.
_FUNCTION_ATTRIBUTES = {"_construction_context", "_input_shapes"}
_DT_STRING = 7
# Operations between a file operation and the file name.
_MAX_DEPTH = 8

_SAVED_MODEL = "saved_model.pb"
# Other forms of the same file, which a loader may prefer.
_OTHER_FORMS = ("saved_model.cpb", "saved_model.pbtxt")

# Messages of TensorFlow's protocol buffers, which have no types.
_Node = Any
_Function = Any
_MetaGraph = Any


def find_fault(path: Path, allowed: frozenset[str] = ALLOWED) -> str | None:
    """What forbids to load the SavedModel in a folder, in one line; None if nothing does.

    Args:
        path: folder of the SavedModel.
        allowed: the operations that it may hold outside of its saver.

    Raises:
        WorkError: there is no SavedModel, or it is damaged.
    """
    return next(_saved_model_faults(path, allowed), None)


# --- the whole file -----------------------------------------------------------------------


def _saved_model_faults(path: Path, allowed: frozenset[str]) -> Iterator[str]:
    for name in _OTHER_FORMS:
        if (path / name).exists():
            yield f"it holds {name} beside {_SAVED_MODEL}"
    model = _read_saved_model(path)
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        yield f"{_SAVED_MODEL} is not of the form that tf.saved_model.save writes"
        return
    yield from _meta_graph_faults(model.meta_graphs[0], allowed)


def _read_saved_model(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        model = SavedModel.FromString((path / _SAVED_MODEL).read_bytes())
    except (OSError, DecodeError) as error:
        raise WorkError(f"{path} holds no SavedModel: {error}") from error
    if not model.meta_graphs:
        raise WorkError(f"{path} holds no SavedModel: {_SAVED_MODEL} has no graph")
    return model


def _meta_graph_faults(meta: _MetaGraph, allowed: frozenset[str]) -> Iterator[str]:
    nodes = meta.graph_def.node
    functions = meta.graph_def.library.function
    # An ambiguous name could be checked in one place and run in the other.
    for kind, names in (
        ("operations", [node.name for node in nodes]),
        ("functions", [function.signature.name for function in functions]),
    ):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            yield f"its graph holds two {kind} of the name {min(twice)}"
            return
    for name, signature in meta.signature_def.items():
        tensors = (*signature.inputs.values(), *signature.outputs.values())
        if any(tensor.WhichOneof("encoding") != "name" for tensor in tensors):
            yield f"signature {name} has sparse or composite tensors"
    saver, faults = _find_saver(meta)
    yield from faults
    yield from _operation_faults(meta, saver, allowed)
    if saver is not None:
        yield from _reach_faults(meta, saver)
        yield from _saving_faults(saver)
        yield from _restoring_faults(saver)


# --- the saver ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Saver:
    """The saver of a SavedModel.

    Attributes:
        save: the node of the graph that calls the function that saves.
        restore: the node that calls the function that restores.
        saving: the function that saves.
        restoring: the function that restores.
        filename: the placeholder of the graph that a loader feeds with the file name.
    """

    save: _Node
    restore: _Node
    saving: _Function
    restoring: _Function
    filename: str

    @property
    def nodes(self) -> set[str]:
        """Names of the nodes that call the saver's functions."""
        return {self.save.name, self.restore.name}

    @property
    def functions(self) -> set[str]:
        """Names of the saver's functions."""
        return {self.saving.signature.name, self.restoring.signature.name}


def _find_saver(meta: _MetaGraph) -> tuple[_Saver | None, list[str]]:
    """The saver that the SaverDef names, and what is wrong with it."""
    definition = meta.saver_def
    if not definition.restore_op_name and not definition.save_tensor_name:
        return None, []
    nodes = {node.name: node for node in meta.graph_def.node}
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    save = nodes.get(_node_name(definition.save_tensor_name))
    restore = nodes.get(_node_name(definition.restore_op_name))
    filename = nodes.get(_node_name(definition.filename_tensor_name))
    saving, restoring = (
        functions.get(node.attr["f"].func.name) if node is not None and node.op in CALLS else None
        for node in (save, restore)
    )
    if saving is None or restoring is None or saving is restoring:
        return None, ["its saver does not call a function to save and another function to restore"]
    if filename is None or filename.op != "Placeholder" or filename.input:
        return None, ["the file name of its saver is no placeholder"]
    return _Saver(save, restore, saving, restoring, filename.name), []


def _saving_faults(saver: _Saver) -> Iterator[str]:
    """Faults of the function that saves."""
    body = _Body(saver.saving, saver.save, saver.filename)
    yield from body.faults(SAVING)
    for node in body.nodes.values():
        if node.op == "SaveV2" and not body.uses_filename(node, 0):
            yield "its saver writes to another file than the loader names"
        if node.op == "MergeV2Checkpoints" and not body.uses_filename(node, 0, 1):
            yield "its saver merges other files than the loader names"


def _restoring_faults(saver: _Saver) -> Iterator[str]:
    """Faults of the function that restores, which a loader runs."""
    body = _Body(saver.restoring, saver.restore, saver.filename)
    yield from body.faults(RESTORING)
    for node in body.nodes.values():
        if node.op == "RestoreV2" and not body.uses_filename(node, 0):
            yield "its saver reads another file than the loader names"


class _Body:
    """The operations of one of the saver's functions, and where a file name comes from.

    Args:
        function: the function.
        call: the node that calls it.
        filename: the placeholder of the file name, in the graph of the call.
    """

    def __init__(self, function: _Function, call: _Node, filename: str):
        self.function = function
        self.nodes = {node.name: node for node in function.node_def}
        self.filenames = {
            argument.name
            for argument, tensor in zip(
                function.signature.input_arg, _data_inputs(call), strict=False
            )
            if tensor in (filename, f"{filename}:0") and argument.type == _DT_STRING
        }

    def faults(self, allowed: frozenset[str]) -> Iterator[str]:
        """Operations that do not belong to the saver, and what makes the function ambiguous."""
        name = self.function.signature.name
        if unknown := {node.op for node in self.nodes.values()} - allowed:
            yield f"its saver's function {name} holds {', '.join(sorted(unknown))}"
        arguments = self.function.signature.input_arg
        if (
            len(self.nodes) != len(self.function.node_def)
            or any(argument.number_attr or argument.type_list_attr for argument in arguments)
            or not set(self.function.attr) <= _FUNCTION_ATTRIBUTES
        ):
            yield f"its saver's function {name} is not of the form that TensorFlow writes"

    def uses_filename(self, node: _Node, *places: int) -> bool:
        """Whether those inputs of a node are the file name that the saver gets."""
        inputs = _data_inputs(node)
        return max(places) < len(inputs) and all(
            self.is_filename(inputs[place], _MAX_DEPTH) for place in places
        )

    def is_filename(self, tensor: str, depth: int) -> bool:
        """Whether a tensor is the file name that the saver gets, or names that begin with it."""
        if ":" not in tensor:
            return tensor in self.filenames
        node = self.nodes.get(_node_name(tensor))
        if node is None or depth == 0 or not (inputs := _data_inputs(node)):
            return False
        if node.op == "Pack":
            return all(self.is_filename(name, depth - 1) for name in inputs)
        if node.op == "StringJoin":
            suffixes = all(self.is_suffix(name, depth - 1) for name in inputs[1:])
            if not suffixes or node.attr["separator"].s:
                return False
        elif node.op not in ("Identity", "ShardedFilename"):
            return False
        return self.is_filename(inputs[0], depth - 1)

    def is_suffix(self, tensor: str, depth: int) -> bool:
        """Whether a tensor is one of the saver's suffixes of temporary files."""
        node = self.nodes.get(_node_name(tensor)) if ":" in tensor else None
        if node is None or depth == 0:
            return False
        if node.op == "Const":
            values = node.attr["value"].tensor.string_val
            return bool(values) and all(value in _SUFFIXES for value in values)
        if node.op != "Select":
            return False
        return all(self.is_suffix(name, depth - 1) for name in _data_inputs(node)[1:])


# --- everything else ----------------------------------------------------------------------


def _operation_faults(
    meta: _MetaGraph, saver: _Saver | None, allowed: frozenset[str]
) -> Iterator[str]:
    """Operations outside the saver's functions that are not allowed."""
    savers = saver.functions if saver is not None else set()
    library = meta.graph_def.library.function
    unknown = {node.op for node in meta.graph_def.node} - allowed
    for function in library:
        if function.signature.name not in savers:
            unknown |= {node.op for node in function.node_def} - allowed
    if unknown:
        yield f"its graph holds {describe_forbidden(unknown)}"


def _reach_faults(meta: _MetaGraph, saver: _Saver) -> Iterator[str]:
    """Whatever else than the saver's two nodes reaches the saver's functions."""
    library = meta.graph_def.library
    for node in meta.graph_def.node:
        if node.name not in saver.nodes and _references(node.attr, node.op) & saver.functions:
            yield f"operation {node.name} calls the saver"
        if {_node_name(tensor) for tensor in node.input} & saver.nodes:
            yield f"operation {node.name} runs the saver"
    for node in (saver.save, saver.restore):
        others = saver.functions - {node.attr["f"].func.name}
        if _references(node.attr, node.op) & others:
            yield f"operation {node.name} calls another function of the saver"
    for function in library.function:
        if _function_references(function) & saver.functions:
            yield f"function {function.signature.name} calls the saver"
    gradients = [
        *(name for pair in library.gradient for name in (pair.function_name, pair.gradient_func)),
        *(pair.gradient_func for pair in library.registered_gradients),
    ]
    if saver.functions & set(gradients):
        yield "a gradient calls the saver"
    if saver.functions & _object_functions(meta.object_graph_def):
        yield "an object of the SavedModel offers the saver's functions"
    if saver.nodes & {_node_name(tensor) for tensor in _entry_points(meta)}:
        yield "a signature or the initialization runs the saver"


def _entry_points(meta: _MetaGraph) -> Iterator[str]:
    """Tensors and operations of the graph that a loader or a server runs, except the saver's."""
    for signature in meta.signature_def.values():
        for tensor in (*signature.inputs.values(), *signature.outputs.values()):
            yield tensor.name
    for collection in meta.collection_def.values():
        yield from collection.node_list.value


def _object_functions(graph: Any) -> set[str]:
    """Names of all functions that the objects of a SavedModel offer, or that loading runs."""
    names = set(graph.concrete_functions)
    for node in graph.nodes:
        names |= {
            *node.function.concrete_functions,
            node.bare_concrete_function.concrete_function_name,
            node.captured_tensor.concrete_function,
        }
    return names


def _function_references(function: _Function) -> set[str]:
    names = _references(function.attr, "")
    for node in function.node_def:
        names |= _references(node.attr, node.op)
    return names


def _references(attributes: Mapping[str, Any], operation: str) -> set[str]:
    """Every name in an operation's attributes that can stand for a function."""
    names = {operation}
    for value in attributes.values():
        kind = value.WhichOneof("value")
        if kind == "s":
            names.add(value.s.decode(errors="replace"))
        elif kind == "func":
            names |= {value.func.name} | _references(value.func.attr, "")
        elif kind == "list":
            names |= {text.decode(errors="replace") for text in value.list.s}
            for function in value.list.func:
                names |= {function.name} | _references(function.attr, "")
    return names


def _data_inputs(node: _Node) -> list[str]:
    return [tensor for tensor in node.input if not tensor.startswith("^")]


def _node_name(tensor: str) -> str:
    """The name of the node that a tensor or a control input belongs to."""
    return tensor.removeprefix("^").partition(":")[0]
