"""The cores of a CPU, divided between computations that run at the same time. No Keras here.

A chain of small operations, each of which depends on the one before, uses several cores badly. Two
such chains side by side, each with half of the cores, take less time than one after the other.
"""

import contextlib
import contextvars
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from tfgen.sampling import Arrays

SWITCH = "TFGEN_CPU_SPEEDUPS"
_ENABLED = contextvars.ContextVar("speedups", default=os.environ.get(SWITCH, "1") != "0")
# With fewer rows, a part of a batch costs more in calls than it saves.
_LEAST_ROWS = 16

# The number of parts that the cores of this process were divided into.
_parts = 1


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process, by its number: a process that was forked has none of its parent."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="part")


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


def share_cores(parts: int = 2) -> None:
    """Divides the cores between operations that run at the same time.

    Does nothing if there is a GPU, if `TF_NUM_INTRAOP_THREADS` is set, or if TensorFlow is already
    in use.

    Args:
        parts: number of operations that run at the same time; at most one for each core.
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
        _parts = min(parts, cores)


def in_parts(function: Callable[..., Arrays], inputs: Mapping[str, np.ndarray]) -> Arrays:
    """`function(**inputs)`; if `share_cores` divided the cores, for parts of the batch at once.

    Args:
        function: takes arrays by name and returns arrays by name, all with the batch first. Each
            row's result must depend on that row alone.
        inputs: arrays by name.
    """
    rows = len(next(iter(inputs.values()), ()))
    parts = min(_parts, rows // _LEAST_ROWS)
    if parts < 2:
        return function(**inputs)
    pieces = {name: np.array_split(array, parts) for name, array in inputs.items()}

    def compute(part: int) -> Arrays:
        return function(**{name: arrays[part] for name, arrays in pieces.items()})

    # This thread computes one part itself. The threads of the pool stay, because the first call of
    # TensorFlow in a thread takes longer.
    futures = [_pool(os.getpid()).submit(compute, part) for part in range(1, parts)]
    outputs = [compute(0), *(future.result() for future in futures)]
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}
