"""Distribution strategies by name."""

import contextlib
import signal
import threading
from typing import Any

import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.training.cluster import read_task


def make_strategy(name: str) -> Any:
    """The strategy of that name, or None for a single device.

    Args:
        name: `none`; `mirrored`, over all GPUs of this machine, or its logical CPUs without a GPU;
            `multiworker`, over the processes that the environment variable `TF_CONFIG` lists.

    Raises:
        UsageError: the name is unknown, or `TF_CONFIG` is wrong.
    """
    if name == "none":
        return None
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        devices = [device.name for device in tf.config.list_logical_devices(kind)]
        return tf.distribute.MirroredStrategy(devices)
    if name == "multiworker":
        read_task()
        if threading.current_thread() is not threading.main_thread():
            return tf.distribute.MultiWorkerMirroredStrategy()
        # Python's handlers do not run while TensorFlow waits for the other workers.
        handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        finally:
            signal.signal(signal.SIGINT, handler)
    raise UsageError(f"unknown strategy {name!r}; known: none, mirrored, multiworker")


def scope(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """The strategy's scope; for None a context that does nothing."""
    return strategy.scope() if strategy is not None else contextlib.nullcontext()
