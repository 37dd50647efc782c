"""The cores of a CPU, divided between computations that run at the same time.

A chain of small operations, each of which depends on the one before, uses several cores badly. Two
such chains side by side, each with half of the cores, take less time than one after the other.

No Keras here: a published version is opened without it.
"""

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.nn import gpu
from tfgen.sampling import Arrays
from tfgen.system import machine

SWITCH = "TFGEN_CPU_SPEEDUPS"
_ENABLED = contextvars.ContextVar("speedups", default=os.environ.get(SWITCH, "1") != "0")
# A batch with fewer rows for each of the parts that run at the same time is not worth dividing: the
# loop over the parts takes up to 3 s at its first call, and saves little.
_LEAST_ROWS = 32
# Without AVX-512, a graph with fewer operations is slower in parts: its convolutions and products
# take most of the time, and use both cores well.
_LONG_GRAPH = 300

# The most parts of a batch that are computed at the same time.
_concurrent_parts = 1


@contextlib.contextmanager
def set_within(variable: contextvars.ContextVar[bool], value: bool) -> Iterator[None]:
    """A context in which a variable has another value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def speedups(enabled: bool) -> contextlib.AbstractContextManager[None]:
    """A context in which steps and exports are traced with speed-ups, if `enabled`, or without."""
    return set_within(_ENABLED, enabled)


def enabled() -> bool:
    """Whether the speed-ups are on, which are for a process that uses no GPU."""
    return _ENABLED.get() and not gpu.visible()


def share_cores(parts: int = 2, *, split_batches: bool = True) -> None:
    """Divides the cores between operations that run at the same time.

    Does nothing if a GPU is used, if `TF_NUM_INTRAOP_THREADS` is set, or if TensorFlow is already
    in use.

    Args:
        parts: number of operations that run at the same time; at most one for each core.
        split_batches: whether published versions and runs compute batches of 64 and more images in
            parts, `parts` of them at the same time. A process that computes several batches at a
            time does not need this.
    """
    global _concurrent_parts
    is_set = "TF_NUM_INTRAOP_THREADS" in os.environ
    if not enabled() or is_set:
        return
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(max(1, cores // parts))
        _concurrent_parts = min(parts, cores) if split_batches else 1


class PartedFunction:
    """Computes a batch in parts, several at the same time, if `share_cores` was called.

    One graph has a loop whose steps compute several parts, which TensorFlow does at the same time.
    This costs less than a thread of Python and a call for each part. Parts in several steps of a
    loop would wait for each other if the function itself has a loop.

    Args:
        function: a traced function, which takes tensors by name and returns tensors by name, all
            with the batch first. Each row's result must depend on that row alone, up to rounding.
        inputs: dtypes and shapes of what it takes, `[B, …]` each.
        most_rows: largest number of rows in a part.
    """

    def __init__(self, function: Any, inputs: Mapping[str, tf.TensorSpec], most_rows: int):
        self._function, self._inputs, self._most_rows = function, inputs, most_rows
        graph = function.graph.as_graph_def()
        bodies = (graph.node, *(body.node_def for body in graph.library.function))
        self._has_gain = machine.has_avx512() or sum(map(len, bodies)) >= _LONG_GRAPH

    def __call__(self, **inputs: np.ndarray) -> Arrays:
        """The outputs by name, `[B, …]` each, of inputs by name, `[B, …]` each.

        Raises:
            UsageError: the inputs have different numbers of rows.
        """
        sizes = {name: len(array) for name, array in inputs.items()}
        if len(set(sizes.values())) > 1:
            rows_of_each = ", ".join(f"{name} has {rows}" for name, rows in sizes.items())
            raise UsageError(f"the inputs have different numbers of rows: {rows_of_each}")
        rows = next(iter(sizes.values()), 0)
        concurrent = _concurrent_parts
        is_parted = enabled() and self._has_gain and rows >= concurrent * _LEAST_ROWS
        if concurrent == 1 or not is_parted:
            tensors = {name: tf.constant(array) for name, array in inputs.items()}
            outputs = self._function(**tensors)
            return {name: output.numpy() for name, output in outputs.items()}
        parts = concurrent * -(-rows // (concurrent * self._most_rows))
        size = -(-rows // parts)
        groups = (-1, concurrent, size)
        stacked = {name: tf.constant(_stack(array, groups)) for name, array in inputs.items()}
        return {
            name: output.numpy().reshape(-1, *output.shape[3:])[:rows]
            for name, output in self._loop(stacked).items()
        }

    @functools.cached_property
    def _loop(self) -> Any:
        """A graph from inputs `[groups, parts, size, …]` to outputs of that form."""
        outputs = {
            name: tf.TensorSpec([None, *output.shape], output.dtype)
            for name, output in self._function.structured_outputs.items()
        }

        def compute_group(group: dict[str, tf.Tensor]) -> Any:
            parts = [
                self._function(**{name: stacked[place] for name, stacked in group.items()})
                for place in range(_concurrent_parts)
            ]
            return tf.nest.map_structure(lambda *tensors: tf.stack(tensors), *parts)

        def compute(inputs: dict[str, tf.Tensor]) -> Any:
            return tf.map_fn(compute_group, inputs, fn_output_signature=outputs)

        stacked = {
            name: tf.TensorSpec([None, None, *spec.shape], spec.dtype)
            for name, spec in self._inputs.items()
        }
        loop = tf.function(compute, input_signature=[stacked], autograph=False)
        # TensorFlow counts the traces of all loops as one, and warns of many.
        return loop.get_concrete_function()


def _stack(array: np.ndarray, groups: tuple[int, int, int]) -> np.ndarray:
    """Rows as `[*groups, …]`. Copies of the last row complete the last part."""
    missing = -len(array) % (groups[1] * groups[2])
    filled = np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
    return filled.reshape(*groups, *array.shape[1:])
