"""Distribution strategies by name."""

import contextlib
from typing import Any

import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.training.cluster import read_cluster


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
        cluster = read_cluster()
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(cluster.addresses()),
            task_type=cluster.task.kind,
            task_id=cluster.task.index,
            rpc_layer="grpc",
        )
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    raise UsageError(f"unknown strategy {name!r}; known: none, mirrored, multiworker")


def scope(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """The strategy's scope; for None a context that does nothing."""
    return strategy.scope() if strategy is not None else contextlib.nullcontext()
