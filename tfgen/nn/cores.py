"""The cores of a CPU, divided between computations that run at the same time.

A chain of small operations, each of which depends on the one before, uses several cores badly. Two
such chains side by side, each with half of the cores, take less time than one after the other.

No Keras here: a published version is opened without it.
"""

import contextlib
import contextvars
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.sampling import Arrays

SWITCH = "TFGEN_CPU_SPEEDUPS"
_ENABLED = contextvars.ContextVar("speedups", default=os.environ.get(SWITCH, "1") != "0")
# With fewer rows, a part of a batch costs more than it saves.
_LEAST_ROWS = 4

# The most parts of a batch that are computed at the same time.
_parts = 1


@contextlib.contextmanager
def speedups(enabled: bool) -> Iterator[None]:
    """A context in which steps and exports are traced with speed-ups, if `enabled`, or without."""
    token = _ENABLED.set(enabled)
    try:
        yield
    finally:
        _ENABLED.reset(token)


def enabled() -> bool:
    """Whether the speed-ups are on."""
    return _ENABLED.get()


def share_cores(parts: int = 2, *, split_batches: bool = True) -> None:
    """Divides the cores between operations that run at the same time.

    Does nothing if there is a GPU, if `TF_NUM_INTRAOP_THREADS` is set, or if TensorFlow is already
    in use.

    Args:
        parts: number of operations that run at the same time; at most one for each core.
        split_batches: whether published versions and runs compute batches of 8 and more images in
            parts, `parts` of them at the same time. A process that computes several batches at a
            time does not need this.
    """
    global _parts
    if not enabled() or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    if tf.config.get_visible_devices("GPU"):
        return
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(max(1, cores // parts))
        _parts = min(parts, cores) if split_batches else 1


class InParts:
    """A function of batches that computes parts of them at the same time, after `share_cores`.

    The parts are the iterations of a loop in a graph, of which TensorFlow runs several side by
    side. Python threads, one for each part, would wait for each other between their operations.

    Args:
        function: a traced function, which takes tensors by name and returns tensors by name, all
            with the batch first. Each row's result must depend on that row alone, up to rounding.
        inputs: dtypes and shapes of what it takes, `[B, …]` each.
        most_rows: largest number of rows in a part.
    """

    def __init__(self, function: Any, inputs: Mapping[str, tf.TensorSpec], most_rows: int):
        self._function, self._most_rows = function, most_rows
        stacked = {
            name: tf.TensorSpec([None, *spec.shape], spec.dtype) for name, spec in inputs.items()
        }
        self._loop = tf.function(self._compute_parts, input_signature=[stacked], autograph=False)

    def __call__(self, **inputs: np.ndarray) -> Arrays:
        """The outputs by name, `[B, …]` each, of inputs by name, `[B, …]` each."""
        rows = len(next(iter(inputs.values()), ()))
        threads = min(_parts, rows // _LEAST_ROWS) if enabled() else 1
        if threads < 2:
            tensors = {name: tf.constant(array) for name, array in inputs.items()}
            outputs = self._function(**tensors)
            return {name: output.numpy() for name, output in outputs.items()}
        parts = threads * -(-rows // (threads * self._most_rows))
        stacked = {name: tf.constant(_stack(array, parts)) for name, array in inputs.items()}
        return {
            name: output.numpy().reshape(-1, *output.shape[2:])[:rows]
            for name, output in self._loop(stacked).items()
        }

    def _compute_parts(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The outputs of all parts, `[parts, rows, …]` each, of inputs of the same form."""
        outputs: dict[str, tf.Tensor] = tf.map_fn(
            lambda part: self._function(**part),
            inputs,
            fn_output_signature={
                name: tf.TensorSpec(output.shape, output.dtype)
                for name, output in self._function.structured_outputs.items()
            },
            parallel_iterations=_parts,
        )
        return outputs


def _stack(array: np.ndarray, parts: int) -> np.ndarray:
    """The rows as `[parts, rows, …]`; the last one fills up the last part."""
    rows = -(-len(array) // parts)
    filled = np.concatenate([array, np.repeat(array[-1:], parts * rows - len(array), axis=0)])
    return filled.reshape(parts, rows, *array.shape[1:])
