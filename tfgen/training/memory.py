"""The memory that a training needs, found before any of it is allocated.

A model is built without values for its weights, and its step is traced. The bytes of the weights,
of the optimizers' state and of the step's tensors follow from their shapes.
"""

import collections
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tfgen.nn.overrides import uninitialized_variable

# TensorFlow, Keras and TensorFlow Probability, before a model is built.
BASE = 700 * 10**6
# Variables of at most so many bytes get their values, which building a model may read.
_SMALL = 2**16
# Operations whose output is the memory of their input, and those without memory of their own.
_ALIASES = {"Identity", "IdentityN", "Reshape", "StopGradient", "Squeeze", "ExpandDims", "Snapshot"}
_WITHOUT_MEMORY = {"Const", "VarHandleOp", "ReadVariableOp", "Placeholder", "NoOp"}


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """A context in which variables get shapes, but no values and so no memory.

    A model that is built in it can be traced, but not computed. Small variables get their values.
    """

    def create(next_creator: Callable[..., Any], **settings: Any) -> Any:
        initial_value = settings["initial_value"]
        if not callable(initial_value):
            return next_creator(**settings)  # the value is there already
        # A graph in which the value is described, but not computed; Keras has it for shapes, too.
        with tf.__internal__.FuncGraph("shapes").as_default():
            value = tf.convert_to_tensor(initial_value())
        if tensor_bytes(value) <= _SMALL:
            return next_creator(**settings)
        return uninitialized_variable(value.shape, value.dtype, settings.get("trainable"))

    with tf.variable_creator_scope(create):
        yield


def tensor_bytes(tensor: Any) -> int:
    """Bytes of a tensor or variable; 0 if a dimension is unknown before it is computed."""
    count = tf.TensorShape(tensor.shape).num_elements()
    return 0 if count is None else count * max(0, tf.as_dtype(tensor.dtype).size or 0)


def state_bytes(model: Any) -> int:
    """Bytes of the weights of a compiled model and of its optimizers' state."""
    optimizers = [variable for o in model.optimizers.values() for variable in o.variables]
    return sum(map(tensor_bytes, [*model.variables, *optimizers]))


def step_bytes(model: Any, batch_size: int) -> int:
    """Peak memory of the tensors of a training step, beside weights and optimizers [bytes].

    Args:
        model: a compiled model.
        batch_size: images of the batch.
    """
    batch: Any = tf.TensorSpec([batch_size, *model.config.image_shape], tf.uint8)
    if model.num_classes:
        batch = (batch, tf.TensorSpec([batch_size], tf.int64))
    return peak_bytes(tf.function(model.train_step).get_concrete_function(batch).graph)


def peak_bytes(graph: Any) -> int:
    """Peak memory of the tensors of a graph, without its inputs and variables [bytes].

    The operations run in the order of their creation, each tensor is in memory until its last use,
    and nothing is computed in place. TensorFlow needs less where it computes in place, and more
    where it runs operations side by side.
    """
    operations = graph.get_operations()
    owners: dict[Any, Any] = {}  # of each tensor, the tensor whose memory it has
    last_uses: dict[Any, int] = {}
    for position, operation in enumerate(operations):
        inputs = [owners[tensor.ref()] for tensor in operation.inputs]
        last_uses |= dict.fromkeys(inputs, position)
        is_alias = operation.type in _ALIASES and len(inputs) == len(operation.outputs)
        own = [tensor.ref() for tensor in operation.outputs]
        owners |= zip(own, inputs if is_alias else own, strict=True)
    freed = collections.defaultdict(list)
    for owner, position in last_uses.items():
        freed[position].append(owner)
    sizes: dict[Any, int] = {}
    used = peak = 0
    for position, operation in enumerate(operations):
        if operation.type not in _WITHOUT_MEMORY:
            for tensor in operation.outputs:
                if owners[tensor.ref()] == tensor.ref():
                    sizes[tensor.ref()] = tensor_bytes(tensor)
                    used += sizes[tensor.ref()]
        peak = max(peak, used + _bytes_within(operation))
        used -= sum(sizes.pop(owner, 0) for owner in freed[position])
    return peak


def _bytes_within(operation: Any) -> int:
    """Peak memory of the functions that an operation calls, as a condition or a loop does."""
    attributes = operation.node_def.attr.values()
    names = [value.func.name for value in attributes if value.WhichOneof("value") == "func"]
    functions = [operation.graph._get_function(name) for name in names]
    return max((peak_bytes(f.graph) for f in functions if f is not None), default=0)
