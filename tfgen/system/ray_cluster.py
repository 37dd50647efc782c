"""A Ray cluster that a command works on: its start, its resources, and its errors in one line.

Ray is an optional dependency, the extra `[ray]`.
"""

import contextlib
import importlib.util
import logging
import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from tfgen.errors import UsageError, WorkError, first_line
from tfgen.system.signals import same_handlers
from tfgen.system.status import status
from tfgen.system.terminal import count_noun

# Cores for each worker, unless the user sets the number of workers: most of the work of a worker
# runs on several cores.
_CORES_PER_WORKER = 4
# Read when Ray is imported and starts: it reports nothing to its makers, a machine may be slow, and
# without the dashboard, Ray Train warns each second that it cannot ask it.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "State API may be temporarily unavailable",
}


def check_installed() -> None:
    """Checks that Ray is installed; does not import it.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--ray needs Ray; install it in the checkout: pip install '.[ray]'")


class RayCluster(NamedTuple):
    """A cluster that this process is connected to.

    Attributes:
        ray: the module.
        workers: number of workers to start.
        resources: what Ray reserves for each: a core, and a GPU if the cluster has some.
    """

    ray: Any
    workers: int
    resources: dict[str, int]


@contextlib.contextmanager
def connected(
    address: str | None = None, asked: int = 0, *, shows_output: bool = False
) -> Iterator[RayCluster]:
    """A context in which this process is connected to a cluster; a local one ends with it.

    Args:
        address: of a running cluster, `host:6379` or `ray://host:10001`; None starts one on this
            machine.
        asked: number of workers; 0: one for each GPU, or without GPUs one for each four cores.
        shows_output: whether what the workers print is shown.

    Raises:
        UsageError: more workers are asked for than the cluster has GPUs, or without GPUs cores.
        WorkError: there is no cluster at the address, or none can be started.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    arguments: dict[str, Any] = {"address": address, "log_to_driver": shows_output}
    if address is None:
        # More workers than cores can run on one machine.
        cpus = max(os.cpu_count() or 1, asked)
        arguments |= {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    try:
        with same_handlers(), status("connecting to a Ray cluster"):
            import ray

            ray.init(**arguments, logging_level=logging.CRITICAL)
    except Exception as error:  # Ray raises many types, Exception itself among them
        fault = "cannot be started" if address is None else f"does not answer at {address}"
        raise WorkError(f"a Ray cluster {fault}: {first_line(error)}") from error
    try:
        total = ray.cluster_resources()
        cpus, gpus = int(total.get("CPU", 0)), int(total.get("GPU", 0))
        limit, unit = (gpus, "GPU") if gpus else (cpus, "CPU core")
        if asked > limit:
            has = f"the cluster has {count_noun(limit, unit)}"
            raise UsageError(f"--ray {asked} is too large; {has}")
        workers = asked or gpus or math.ceil(cpus / _CORES_PER_WORKER)
        yield RayCluster(ray, workers, {"num_cpus": 1, "num_gpus": int(gpus > 0)})
    finally:
        with same_handlers():
            ray.shutdown()
