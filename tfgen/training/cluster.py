"""Distribution strategies; several workers, as the environment variable TF_CONFIG lists them.

TensorFlow connects the workers and notices when one is lost. All of them see one run directory on
shared storage, where the chief alone writes.
"""

import contextlib
import functools
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfgen.errors import UsageError, WorkError, first_line, original_error
from tfgen.system.signals import SIGNALS, same_handlers

# Longest text that workers exchange.
_LONGEST = 8192
# Time until all workers must see a file that the chief has written [s].
_PATIENCE = 45.0
# What TensorFlow raises when another worker has ended or does not answer.
_LOSSES = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


class Task(NamedTuple):
    """This process among the workers.

    Attributes:
        number: its index; the chief has 0.
        workers: number of workers.
    """

    number: int = 0
    workers: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process writes for all."""
        return self.number == 0


def read_task() -> Task:
    """This process among the workers that TF_CONFIG lists.

    Raises:
        UsageError: the variable is missing or wrong.
    """
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers = [
            (kind, index)
            for kind in ("chief", "worker")
            for index in range(len(config["cluster"].get(kind, ())))
        ]
        task = config["task"]["type"], int(config["task"]["index"])
        return Task(workers.index(task), len(workers))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        text = "--strategy multiworker needs TF_CONFIG in the environment, with this process in it"
        raise UsageError(f"{text}; docs/distributed.md has examples") from error


def make_strategy(name: str) -> Any:
    """The strategy of that name, or None for a single device.

    Args:
        name: `none`; `mirrored`, over all GPUs of this machine, or its logical CPUs without a GPU;
            `multiworker`, over the processes that the environment variable `TF_CONFIG` lists.

    Raises:
        UsageError: `TF_CONFIG` is wrong.
    """
    if name == "none":
        return None
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        devices = [device.name for device in tf.config.list_logical_devices(kind)]
        return tf.distribute.MirroredStrategy(devices)
    read_task()
    with same_handlers() as is_main:
        if is_main:
            # Python's handlers do not run while TensorFlow waits for the other workers.
            for signum in SIGNALS:
                signal.signal(signum, signal.SIG_DFL)
        return tf.distribute.MultiWorkerMirroredStrategy()


@functools.cache
def _gathering(strategy: Any) -> Any:
    return tf.function(lambda values: strategy.gather(values, axis=0), autograph=False)


def exchange(strategy: Any, value: Any) -> list[Any]:
    """The values of all workers, the chief's first; all workers call it at the same step.

    Args:
        strategy: a `MultiWorkerMirroredStrategy`.
        value: this worker's value, for JSON.
    """
    text = json.dumps(value)
    codes = np.array([list(map(ord, text.ljust(_LONGEST)))], np.int32)
    values = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(codes))
    texts = ["".join(map(chr, row)) for row in _gathering(strategy)(values).numpy()]
    # The replicas of a worker follow each other.
    return [json.loads(text) for text in texts[:: len(texts) // read_task().workers]]


def check_alike(strategy: Any, properties: dict[str, Any]) -> None:
    """Refuse a worker that differs from the chief; all workers raise the error.

    Args:
        strategy: a `MultiWorkerMirroredStrategy`.
        properties: what must be equal, by names for the message.

    Raises:
        UsageError: a worker differs from the chief.
    """
    chief, *others = exchange(strategy, properties)
    for number, worker in enumerate(others, 1):
        for name, expected in chief.items():
            if worker[name] != expected:
                text = f"{name} of worker {number} is {worker[name]}, that of the chief {expected}"
                raise UsageError(f"{text}; all need the same command, data set and versions")


def check_shared(strategy: Any, folder: Path) -> None:
    """Check that all workers see the folder that the chief writes to.

    Raises:
        UsageError: a worker does not see it; all workers raise the error.
    """
    task, path = read_task(), folder / ".workers"
    token = str(time.time_ns())
    if task.is_chief:
        path.write_text(token)
    token, *_ = exchange(strategy, token)
    end = time.monotonic() + _PATIENCE
    while not (is_seen := path.is_file() and path.read_text() == token) and time.monotonic() < end:
        time.sleep(0.5)
    are_seen = exchange(strategy, is_seen)
    if task.is_chief:
        path.unlink()
    if not all(are_seen):
        text = f"worker {are_seen.index(False)} does not see the run directory {folder}"
        raise UsageError(f"{text}; name a folder that all workers share with --run-dir")


@contextlib.contextmanager
def losses_named(strategy: str) -> Iterator[None]:
    """A context that turns the loss of another worker into a one-line error.

    Args:
        strategy: name of the strategy; only `multiworker` has other workers.

    Raises:
        WorkError: another worker was lost.
    """
    try:
        yield
    except Exception as error:
        first = original_error(error)
        if strategy != "multiworker" or not isinstance(first, _LOSSES):
            raise
        # The message may begin with a stack of calls.
        match = re.search("Collective .*", str(first))
        cause = f"{type(first).__name__}: {match[0] if match else first_line(first)}"
        text = "another worker has ended or does not answer; continue with --resume in every worker"
        raise WorkError(f"{text} (TensorFlow says {cause})") from error
