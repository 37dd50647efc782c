"""Distribution strategies by name."""

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.system.quiet import hold_back_stderr
from tfgen.training.cluster import Cluster, read_cluster
from tfgen.training.rendezvous import SILENCE

# By how much TensorFlow's heartbeat timeout exceeds `SILENCE` [s].
_HEARTBEAT_MARGIN = 5.0


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
        _set_heartbeat_timeout(cluster)
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(cluster.addresses()),
            task_type=cluster.task.kind,
            task_id=cluster.task.index,
            rpc_layer="grpc",
        )
        # TensorFlow 2.20 writes there that its server was started.
        with hold_back_stderr(), _lock_released():
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    raise UsageError(f"unknown strategy {name!r}; known: none, mirrored, multiworker")


def _set_heartbeat_timeout(cluster: Cluster) -> None:
    """Lets `tfgen.training.crew` decide when a process counts as ended.

    Otherwise TensorFlow ends all processes with an error of its own if one of them is silent for
    10 s, for example because its machine is busy or paused. Apart from the time, this is how
    `MultiWorkerMirroredStrategy` configures TensorFlow, which keeps an earlier configuration.
    """
    from tensorflow.python.eager import context

    jobs = tf.compat.v1.ConfigProto().experimental.coordination_config.coordinated_job_list
    for kind, addresses in cluster.addresses().items():
        jobs.add(name=kind, num_tasks=len(addresses))
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{cluster.chief.kind}/replica:0/task:0",
        heartbeat_timeout_in_ms=round(1000 * (SILENCE + _HEARTBEAT_MARGIN)),
        coordinated_jobs=list(jobs),
    )


@contextlib.contextmanager
def _lock_released() -> Iterator[None]:
    """A context in which TensorFlow connects the processes without Python's interpreter lock.

    TensorFlow holds the lock while it waits for the other processes. Then no thread can notice that
    one of them has ended, nor take a signal. `ctypes` calls the same function without the lock.
    """
    from tensorflow.python import pywrap_tfe

    path = Path(tf.sysconfig.get_lib(), "libtensorflow_cc.so.2")
    if not path.exists():  # another operating system than Linux
        yield
        return
    library, name = ctypes.CDLL(str(path)), "TFE_EnableCollectiveOps"
    pointer, original = ctypes.c_void_p, getattr(pywrap_tfe, name)
    read_capsule = ctypes.pythonapi.PyCapsule_GetPointer
    read_capsule.restype, read_capsule.argtypes = pointer, (ctypes.py_object, ctypes.c_char_p)
    library.TF_NewStatus.restype, library.TF_Message.restype = pointer, ctypes.c_char_p
    enable = library.TFE_EnableCollectiveOps
    enable.restype, enable.argtypes = None, (pointer, ctypes.c_char_p, ctypes.c_size_t, pointer)

    def enable_collective_ops(context: Any, server: bytes) -> None:
        status = pointer(library.TF_NewStatus())
        try:
            enable(read_capsule(context, None), server, len(server), status)
            if library.TF_GetCode(status):
                message = library.TF_Message(status).decode(errors="replace")
                raise tf.errors.UnavailableError(None, None, message)
        finally:
            library.TF_DeleteStatus(status)

    setattr(pywrap_tfe, name, enable_collective_ops)
    try:
        yield
    finally:
        setattr(pywrap_tfe, name, original)


def scope(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """The strategy's scope; for None a context that does nothing."""
    return strategy.scope() if strategy is not None else contextlib.nullcontext()
