"""Distribution strategies by name."""

import contextlib
from typing import Any

import tensorflow as tf

from tfgen.errors import UsageError


def make_strategy(name: str) -> Any:
    """The strategy of that name, or None for a single device.

    Args:
        name: `none`; `mirrored`, over all GPUs of this machine, or its logical CPUs where there is none;
            `multiworker`, over the processes that the environment variable `TF_CONFIG` lists.

    Raises:
        UsageError: the name is unknown, or `TF_CONFIG` is wrong.
    """
    if name == "none":
        return None
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([d.name for d in tf.config.list_logical_devices(kind)])
    if name == "multiworker":
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except ValueError as error:
            raise UsageError(f"the environment variable TF_CONFIG lists no workers: {error}") from error
    raise UsageError(f"unknown strategy {name!r}; known: none, mirrored, multiworker")


def scope(strategy: Any) -> Any:
    """The strategy's scope; an empty one for None."""
    return strategy.scope() if strategy is not None else contextlib.nullcontext()
