"""The cores of a CPU, divided between computations that run at the same time.

A chain of small operations, each of which depends on the one before, uses several cores badly. Two
such chains side by side, each with half of the cores, take less time than one after the other.

No Keras here: a published version is opened without it.
"""

import contextlib
import contextvars
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import tensorflow as tf

from tfgen.sampling import Arrays

SWITCH = "TFGEN_CPU_SPEEDUPS"
_ENABLED = contextvars.ContextVar("speedups", default=os.environ.get(SWITCH, "1") != "0")
# With fewer rows, a part of a batch costs more in calls than it saves.
_LEAST_ROWS = 16

# The most parts of a batch that are computed at the same time.
_parts = 1


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process, by its number; a fork needs its own."""
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


def share_cores(parts: int = 2, *, split_batches: bool = True) -> None:
    """Divides the cores between operations that run at the same time.

    Does nothing if there is a GPU, if `TF_NUM_INTRAOP_THREADS` is set, or if TensorFlow is already
    in use.

    Args:
        parts: number of operations that run at the same time; at most one for each core.
        split_batches: whether published versions and runs compute batches of 32 and more images in
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


def in_parts(
    function: Callable[..., Arrays], inputs: Mapping[str, np.ndarray], most_rows: int
) -> Arrays:
    """`function(**inputs)`, in parts of the batch if `share_cores` was called.

    Args:
        function: takes arrays by name and returns arrays by name, all with the batch first. Each
            row's result must depend on that row alone, up to rounding. It may be called by several
            threads at once.
        inputs: arrays by name.
        most_rows: largest number of rows in a part.
    """
    rows = len(next(iter(inputs.values()), ()))
    threads = min(_parts, rows // _LEAST_ROWS) if enabled() else 1
    if threads < 2:
        return function(**inputs)
    share = -(-rows // (threads * most_rows))
    pieces = {name: np.array_split(array, threads * share) for name, array in inputs.items()}

    def compute(thread: int) -> list[Arrays]:
        parts = range(thread * share, (thread + 1) * share)
        return [function(**{name: arrays[i] for name, arrays in pieces.items()}) for i in parts]

    # This thread computes the first parts itself. The threads of the pool stay, because the first
    # call of TensorFlow in a thread takes longer.
    futures = [_pool(os.getpid()).submit(compute, thread) for thread in range(1, threads)]
    try:
        outputs = compute(0)
    finally:
        wait(futures)  # Also after an error in this thread.
    for future in futures:
        outputs += future.result()
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}
