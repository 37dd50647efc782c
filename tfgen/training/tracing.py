"""A model and its steps as graphs, without memory for the weights; the peak memory of a graph."""

import collections
import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfgen.models.base import ImageModel

# Variables of at most so many bytes get their values, which building a model may read.
_SMALL = 2**18
# Operations whose output is the buffer of an input.
_ALIASES = {
    *("Identity", "IdentityN", "Reshape", "StopGradient", "Squeeze", "ExpandDims", "Bitcast"),
    *("PreventGradient", "Snapshot", "CheckNumerics"),
}
# Operations that cannot write their output into the buffer of an input.
_OUT_OF_PLACE = (
    *("Conv", "DepthwiseConv", "MatMul", "BatchMatMul", "Transpose", "Concat", "Tile", "Slice"),
    *("StridedSlice", "MaxPool", "AvgPool", "Gather", "Pad", "MirrorPad", "FusedBatchNorm"),
    *("DepthToSpace", "SpaceToDepth", "Pack", "Split", "Resize", "BroadcastTo", "Einsum", "Cast"),
)
# Operations without a buffer of their own: those of variables, and constants, which are counted
# once.
_WITHOUT_BUFFER = {"Const", "VarHandleOp", "ReadVariableOp", "Placeholder", "NoOp"}


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """A context in which large variables get a shape, but no value and so no memory.

    A model that is built here can be traced, but not computed. Small variables have their initial
    values. TensorFlow's public functions offer nothing of the kind.
    """
    from tensorflow.python.ops.resource_variable_ops import UninitializedVariable

    def create(next_creator: Any, **kwargs: Any) -> Any:
        initial = kwargs["initial_value"]
        if not callable(initial):
            return next_creator(**kwargs)  # the value is there already
        with _new_graph().as_default():
            value = tf.convert_to_tensor(initial())
        if tensor_bytes(value) <= _SMALL:
            return next_creator(**kwargs)
        names = ("trainable", "name", "aggregation", "synchronization")
        settings = {name: kwargs.get(name) for name in names}
        return UninitializedVariable(shape=value.shape, dtype=value.dtype, **settings)

    with tf.variable_creator_scope(create):
        yield


def _new_graph() -> Any:
    # Keras uses this class in the same way, to compute shapes.
    return tf.__internal__.FuncGraph("scratch")


def tensor_bytes(tensor: Any) -> int:
    """Bytes of a tensor or variable; 0 if they are not known before it is computed."""
    count = tensor.shape.num_elements()
    return 0 if count is None else count * max(0, tf.as_dtype(tensor.dtype).size or 0)


def trace_step(model: ImageModel, batch_size: int, training: bool) -> Any:
    """The graph of a training or test step, and what the step returns.

    Args:
        model: a compiled model.
        batch_size: images of the batch.
        training: whether it is a training step.
    """
    graph = _new_graph()
    with graph.as_default():
        placeholder = tf.compat.v1.placeholder
        data = placeholder(tf.uint8, (batch_size, *model.config.image_shape))
        if model.num_classes:
            data = (data, placeholder(tf.int64, (batch_size,)))
        graph.structured_outputs = (model.train_step if training else model.test_step)(data)
    return graph


def peak_bytes(graph: Any) -> int:
    """Peak memory of the tensors of a graph while it runs, without its inputs and variables.

    Simulates TensorFlow's executor with a single thread. Operations run in the order in which their
    inputs become ready, and a buffer is freed after its last use. Element-wise operations write
    into the buffer of an input that nothing else needs.
    """
    operations = _needed(graph)
    waiting, readers = {}, collections.defaultdict(list)
    for operation in operations:
        sources = {tensor.op for tensor in operation.inputs} | set(operation.control_inputs)
        sources &= operations.keys()
        waiting[operation] = len(sources)
        for source in sources:
            readers[source].append(operation)
    buffers = _Buffers(operations)
    queue = collections.deque(operation for operation in operations if not waiting[operation])
    while queue:
        operation = queue.popleft()
        buffers.run(operation)
        for reader in readers[operation]:
            waiting[reader] -= 1
            if not waiting[reader]:
                queue.append(reader)
    return buffers.peak


def _needed(graph: Any) -> dict[Any, None]:
    """The operations that outputs or side effects need, in the order of their creation."""
    outputs = tf.nest.flatten(graph.structured_outputs)
    stack = [tensor.op for tensor in outputs if tf.is_tensor(tensor) and tensor.graph is graph]
    stack += [operation for operation in graph.get_operations() if _has_effect(operation)]
    needed = set()
    while stack:
        operation = stack.pop()
        if operation not in needed:
            needed.add(operation)
            stack += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return {operation: None for operation in graph.get_operations() if operation in needed}


def _has_effect(operation: Any) -> bool:
    return "Assign" in operation.type or operation.type.startswith("ResourceApply")


class _Buffers:
    """The buffers of a graph that is being run.

    Args:
        operations: the operations that will run.

    Attributes:
        peak: largest number of bytes that were in use at a time.
    """

    def __init__(self, operations: Any):
        self._uses = collections.Counter(
            tensor.ref() for operation in operations for tensor in operation.inputs
        )
        self._sizes: dict[Any, int] = {}
        self._counts: collections.Counter[Any] = collections.Counter()
        self._owner: dict[Any, Any] = {}
        constants = (o.outputs[0] for o in operations if o.type == "Const")
        self._live = self.peak = sum(map(tensor_bytes, constants))

    def run(self, operation: Any) -> None:
        """Allocates the outputs of an operation, and frees inputs that nothing else needs."""
        if operation.type in _WITHOUT_BUFFER:
            return
        inputs = [self._owner.get(tensor.ref()) for tensor in operation.inputs]
        if operation.type in _ALIASES:
            for tensor, owner in zip(operation.outputs, inputs, strict=False):
                if owner is not None:
                    self._hold(tensor, owner)
            self._release(inputs)
            return
        in_place = not operation.type.startswith(_OUT_OF_PLACE)
        reusable = [owner for owner in inputs if owner is not None and self._counts[owner] == 1]
        inner = _inner_peak(operation)
        for tensor in operation.outputs:
            size = tensor_bytes(tensor)
            reused = next((o for o in reusable if in_place and self._sizes[o] == size), None)
            if reused is not None:
                reusable.remove(reused)
                self._hold(tensor, reused)
                continue
            owner = tensor.ref()
            self._sizes[owner] = size
            self._live += size
            self._hold(tensor, owner)
        self.peak = max(self.peak, self._live + inner)
        self._release(inputs)
        # Outputs that nothing needs.
        for tensor in operation.outputs:
            if not self._uses[tensor.ref()]:
                self._free_unused(self._owner[tensor.ref()])

    def _hold(self, tensor: Any, owner: Any) -> None:
        self._owner[tensor.ref()] = owner
        self._counts[owner] += self._uses[tensor.ref()]

    def _release(self, owners: list[Any]) -> None:
        for owner in owners:
            if owner is not None:
                self._counts[owner] -= 1
                self._free_unused(owner)

    def _free_unused(self, owner: Any) -> None:
        if self._counts[owner] <= 0:
            self._live -= self._sizes.pop(owner, 0)


def _inner_peak(operation: Any) -> int:
    """Peak memory of the functions that an operation calls, as a condition or a loop does."""
    names = [
        attribute.func.name
        for attribute in operation.node_def.attr.values()
        if attribute.WhichOneof("value") == "func"
    ]
    functions = [operation.graph._get_function(name) for name in names]
    return max((peak_bytes(f.graph) for f in functions if f is not None), default=0)
