"""A Ray cluster that a command works on: its start, its resources, and its errors in one line.

Ray is an optional dependency, the extra `[ray]`. Whatever works on a cluster shares this:
`check_installed` before any work, then `connected`.
"""

import contextlib
import importlib.util
import logging
import math
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tfgen.errors import UsageError, WorkError
from tfgen.system.terminal import count_noun

# Cores for each worker, unless the user sets the number of workers: most of the work of a worker
# runs on several cores.
_CORES_PER_WORKER = 4
# Bytes of Ray's store for objects on this machine. Workers pass numbers to each other, no images.
_OBJECT_STORE = 100 * 2**20
# Ray gives a node 30 seconds to start. The first start after an installation may need longer, since
# Python then compiles Ray's modules; the second one finds them compiled.
_LOCAL_STARTS = 2
# Read when Ray starts; without it, Ray reports its use over the network.
_USAGE_STATS = "RAY_USAGE_STATS_ENABLED"


def check_installed() -> None:
    """Checks that Ray is installed; does not import it.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--ray needs Ray; install it with: pip install 'tfgen[ray]'")


@dataclass(frozen=True)
class RayCluster:
    """A cluster that this process is connected to.

    Attributes:
        ray: the module.
        num_cpus: cores of all its machines.
        num_gpus: GPUs of all its machines.
    """

    ray: Any
    num_cpus: int
    num_gpus: int

    def count_workers(self, asked: int) -> int:
        """The number of workers.

        Args:
            asked: by the user; 0: one for each GPU, or without GPUs one for each four cores.

        Raises:
            UsageError: there are more than GPUs, or without GPUs more than cores.
        """
        limit, unit = (self.num_gpus, "GPU") if self.num_gpus else (self.num_cpus, "CPU core")
        if asked > limit:
            raise UsageError(
                f"--ray {asked} is too large; the cluster has {count_noun(limit, unit)}"
            )
        return asked or self.num_gpus or math.ceil(self.num_cpus / _CORES_PER_WORKER)

    @property
    def worker_resources(self) -> dict[str, int]:
        """What Ray reserves for each worker: a core, and a GPU if the cluster has some."""
        return {"num_cpus": 1, "num_gpus": int(self.num_gpus > 0)}


@contextlib.contextmanager
def connected(address: str | None = None, least_cpus: int = 0) -> Iterator[RayCluster]:
    """A context in which this process is connected to a cluster.

    Handlers of signals that Ray replaces are restored at once. A local cluster ends with the
    context; it has no dashboard, and reports nothing to Ray's makers.

    Args:
        address: of a running cluster, `host:6379` or `ray://host:10001`; None starts one on this
            machine.
        least_cpus: cores that a local cluster counts at least, so that more workers than cores can
            run.

    Raises:
        UsageError: the address is wrong.
        WorkError: there is no cluster at the address, or none can be started.
    """
    os.environ[_USAGE_STATS] = "0"
    with _same_handlers():
        import ray

        _init(ray, address, least_cpus)
    try:
        resources = ray.cluster_resources()
        yield RayCluster(ray, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))
    finally:
        with _same_handlers():
            ray.shutdown()


def _init(ray: Any, address: str | None, least_cpus: int) -> None:
    """Connects to a cluster, or starts one; errors as of `connected`."""
    if address is None:
        arguments = {
            "address": "local",
            "num_cpus": max(os.cpu_count() or 1, least_cpus),
            "object_store_memory": _OBJECT_STORE,
            "include_dashboard": False,
        }
        starts, fault = _LOCAL_STARTS, "cannot be started"
    else:
        arguments = {"address": address}
        starts, fault = 1, f"does not answer at {address}"
    for starts_left in reversed(range(starts)):
        try:
            ray.init(**arguments, logging_level=logging.CRITICAL, log_to_driver=False)
            return
        except Exception as error:  # Ray raises many types, Exception itself among them
            if address is not None and isinstance(error, ValueError):
                wrong = f"--ray-address {address} is wrong: {first_line(error)}"
                raise UsageError(wrong) from error
            ray.shutdown()
            if not starts_left:
                raise WorkError(f"a Ray cluster {fault}: {first_line(error)}") from error


def original_error(error: Exception) -> Exception:
    """What a worker raised, without the traceback that Ray adds; a lost worker as a WorkError.

    Args:
        error: raised by `ray.get`.
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return cause
    return WorkError(f"a worker of the Ray cluster was lost: {first_line(error)}")


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the name of its class."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


@contextlib.contextmanager
def _same_handlers() -> Iterator[None]:
    """A context at whose end the handlers of SIGINT and SIGTERM are those of its start."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            with contextlib.suppress(ValueError):  # only the main thread may set them
                signal.signal(signum, handler)
