"""Crafted versions: SavedModels that touch files where a version must not, with right hashes.

Each attack writes a version into a folder. The version would write `new` into the victim's folder,
delete that folder, or read the checkpoint `part` there. These attacks use TensorFlow's own means;
those that edit a graph are in `crafted_edits.py`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import tensorflow as tf

from tfgen.publishing import versions

# Takes the folder of the version, and that of the victim.
Attack: TypeAlias = Callable[[Path, Path], None]

SEED = [tf.TensorSpec([None], tf.int32, name="seed")]


def seal(path: Path) -> None:
    """Writes a manifest with the hashes of all files."""
    manifest = {"files": versions.hash_files(path), "signatures": {}, "num_classes": 0}
    (path / versions.MANIFEST).write_text(json.dumps(manifest))


def save(module: tf.Module, path: Path, signature: Any, **options: Any) -> None:
    """Writes a version with one signature."""
    tf.saved_model.save(
        module, str(path), {"sample": signature}, tf.saved_model.SaveOptions(**options)
    )
    seal(path)


# --- file operations ----------------------------------------------------------------------


def write_file(victim: Path, name: str = "new") -> tf.Tensor:
    """Writes a checkpoint; in a graph, whenever the tensor that it returns is computed."""
    operation = tf.raw_ops.SaveV2(
        prefix=str(victim / name),
        tensor_names=["x"],
        shape_and_slices=[""],
        tensors=[tf.constant([7.0, 8.0])],
    )
    return after(operation)


def after(operation: tf.Operation | None) -> tf.Tensor:
    """0, which in a graph is computed only after the operation."""
    with tf.control_dependencies([] if operation is None else [operation]):
        return tf.constant(0) + 0


def signature_of(body: Callable[[tf.Tensor], tf.Tensor]) -> Any:
    """A signature that computes something else, a scalar, on the way to its output."""

    def signature(seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"images": tf.cast(seed + tf.cast(body(seed), tf.int32), tf.float32)}

    return tf.function(signature, input_signature=SEED, autograph=False)


def nothing(seed: tf.Tensor) -> tf.Tensor:
    return tf.constant(0)


def plain(path: Path) -> None:
    """Writes a harmless version with a variable."""
    module = tf.Module()
    module.variable = tf.Variable([0.0], name="variable")
    save(
        module,
        path,
        tf.function(
            lambda seed: {"images": module.variable + tf.cast(seed, tf.float32)},
            input_signature=SEED,
            autograph=False,
        ),
    )


# --- attacks by TensorFlow's own means ----------------------------------------------------


def save_in_signature(path: Path, victim: Path) -> None:
    save(tf.Module(), path, signature_of(lambda seed: write_file(victim)))


def save_in_nested_function(path: Path, victim: Path) -> None:
    inner = tf.function(lambda: write_file(victim), autograph=False)
    middle = tf.function(lambda: inner(), autograph=False)
    save(tf.Module(), path, signature_of(lambda seed: middle()))


def save_in_branch(path: Path, victim: Path) -> None:
    def signature(seed: tf.Tensor) -> tf.Tensor:
        return tf.cond(seed[0] >= 0, lambda: write_file(victim), lambda: tf.constant(1))

    save(tf.Module(), path, signature_of(signature))


def save_in_loop(path: Path, victim: Path) -> None:
    def signature(seed: tf.Tensor) -> tf.Tensor:
        (steps,) = tf.while_loop(
            lambda step: step < 1, lambda step: step + 1 + write_file(victim), [tf.constant(0)]
        )
        return steps

    save(tf.Module(), path, signature_of(signature))


def save_in_case(path: Path, victim: Path) -> None:
    branches = [lambda: write_file(victim), lambda: tf.constant(1)]
    save(tf.Module(), path, signature_of(lambda seed: tf.switch_case(seed[0] - 1, branches)))


def save_in_object(path: Path, victim: Path) -> None:
    """In a function of the object graph that is no signature."""
    module = tf.Module()
    module.helper = tf.function(lambda: write_file(victim), input_signature=[], autograph=False)
    save(module, path, signature_of(nothing))


class Resource(tf.saved_model.experimental.TrackableResource):
    """A resource whose initialization writes a file; a loader initializes all resources."""

    def __init__(self, victim: Path, variable: tf.Variable):
        super().__init__()
        self.victim, self.variable = victim, variable

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name="resource")

    def _initialize(self) -> None:
        self.variable.assign(tf.cast(write_file(self.victim), tf.float32))


def save_in_initializer(path: Path, victim: Path) -> None:
    module = tf.Module()
    module.variable = tf.Variable(0.0)
    module.resource = Resource(victim, module.variable)
    save(module, path, signature_of(nothing))


def save_in_gradient(path: Path, victim: Path) -> None:
    @tf.custom_gradient
    def identity(x: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return upstream + tf.cast(write_file(victim), tf.float32)

        return tf.identity(x), gradient

    module = tf.Module()
    module.function = tf.function(
        identity, input_signature=[tf.TensorSpec([], tf.float32)], autograph=False
    )
    save(module, path, signature_of(nothing), experimental_custom_gradients=True)


def delete_in_signature(path: Path, victim: Path) -> None:
    """Merges the victim's checkpoint, and deletes that folder."""

    def delete(seed: tf.Tensor) -> tf.Tensor:
        operation = tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=[str(victim / "part")],
            destination_prefix=str(victim.parent / "merged"),
            delete_old_dirs=True,
        )
        return after(operation)

    save(tf.Module(), path, signature_of(delete))


def restore_in_signature(path: Path, victim: Path) -> None:
    """Returns a tensor of a checkpoint of somebody else."""

    def signature(seed: tf.Tensor) -> dict[str, tf.Tensor]:
        (tensor,) = tf.raw_ops.RestoreV2(
            prefix=str(victim / "part"),
            tensor_names=["x"],
            shape_and_slices=[""],
            dtypes=[tf.float32],
        )
        return {"images": tensor}

    save(tf.Module(), path, tf.function(signature, input_signature=SEED, autograph=False))


def assign_in_signature(path: Path, victim: Path) -> None:
    module = tf.Module()
    module.variable = tf.Variable(0.0)
    save(
        module,
        path,
        signature_of(lambda seed: module.variable.assign(tf.cast(seed[0], tf.float32))),
    )


ATTACKS: dict[str, Attack] = {
    craft.__name__: craft
    for craft in (
        save_in_signature,
        save_in_nested_function,
        save_in_branch,
        save_in_loop,
        save_in_case,
        save_in_object,
        save_in_initializer,
        save_in_gradient,
        delete_in_signature,
        restore_in_signature,
        assign_in_signature,
    )
}
