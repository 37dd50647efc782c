"""The processes of one training, as the environment variable TF_CONFIG lists them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfgen.errors import UsageError

VARIABLE = "TF_CONFIG"
# Set for processes that a launcher has started: the flags with which it starts them again.
LAUNCHER = "TFGEN_LAUNCHER"
# Tasks that a cluster may list, but that have nothing to do in this kind of training.
_IDLE = ("ps", "evaluator")
_EXAMPLE = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Task:
    """One process of a cluster.

    Attributes:
        kind: `chief` or `worker`.
        index: its number among the tasks of its kind.
        address: `host:port`, where TensorFlow's server listens during the training.
        is_chief: whether it is the process that writes for all.
    """

    kind: str
    index: int
    address: str
    is_chief: bool

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port, for a socket."""
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)

    def __str__(self) -> str:
        name = "the chief" if self.is_chief else f"worker {self.index}"
        return f"{name} at {self.address}"


@dataclass(frozen=True)
class Cluster:
    """All processes of a training.

    Attributes:
        tasks: the chief first, then the workers by index.
        number: the place of this process in `tasks`.
    """

    tasks: tuple[Task, ...]
    number: int

    @property
    def task(self) -> Task:
        """This process."""
        return self.tasks[self.number]

    @property
    def chief(self) -> Task:
        """The process that writes for all."""
        return self.tasks[0]

    def addresses(self) -> dict[str, list[str]]:
        """The addresses by kind of task, as TensorFlow takes them."""
        addresses: dict[str, list[str]] = {}
        for task in self.tasks:
            addresses.setdefault(task.kind, []).append(task.address)
        return addresses


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster:
    """The cluster in TF_CONFIG.

    The chief is the task `chief`, or worker 0 if there is none. Tasks `ps` and `evaluator` of the
    cluster are left out, since this training has no use for them.

    Args:
        environment: the environment variables.

    Raises:
        UsageError: the variable is missing or wrong, or this process is such a task.
    """
    text = environment.get(VARIABLE, "")
    if not text.strip():
        raise UsageError(
            f"--strategy multiworker needs the environment variable {VARIABLE}, such as "
            f"{_EXAMPLE}; to train in this process alone, pass --strategy none"
        )
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"it is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise _wrong("it is no JSON object")
    tasks = _read_tasks(config.get("cluster"))
    kind, index = _read_own(config.get("task"))
    for number, task in enumerate(tasks):
        if (task.kind, task.index) == (kind, index):
            return Cluster(tuple(tasks), number)
    count = sum(task.kind == kind for task in tasks)
    raise _wrong(f"its task is {kind} {index}, but its cluster has {count} of type {kind}")


def _read_tasks(cluster: Any) -> list[Task]:
    if not isinstance(cluster, dict) or not cluster:
        raise _wrong("it has no cluster")
    for kind, addresses in cluster.items():
        if kind not in ("chief", "worker", *_IDLE):
            raise _wrong(f"its cluster has the unknown type {kind!r}; use chief and worker")
        if not isinstance(addresses, list):
            raise _wrong(f"the entry {kind} of its cluster is no list of addresses")
    chiefs, workers = cluster.get("chief", []), cluster.get("worker", [])
    if len(chiefs) > 1:
        raise _wrong(f"its cluster has {len(chiefs)} chiefs; there can be only one")
    if not chiefs and not workers:
        raise _wrong("its cluster has neither a chief nor a worker")
    tasks = [Task("chief", 0, _checked(address), True) for address in chiefs]
    tasks += [
        Task("worker", index, _checked(address), not chiefs and index == 0)
        for index, address in enumerate(workers)
    ]
    addresses = [task.address for task in tasks]
    if twice := {address for address in addresses if addresses.count(address) > 1}:
        raise _wrong(f"its cluster has the address {min(twice)} twice")
    return tasks


def _checked(address: Any) -> str:
    host, colon, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    is_port = port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 2**16
    if not host or not colon or not is_port:
        raise _wrong(f"{address!r} is no address of the form HOST:PORT")
    return str(address)


def _read_own(task: Any) -> tuple[str, int]:
    if not isinstance(task, dict) or not {"type", "index"} <= task.keys():
        raise _wrong("it has no task with type and index")
    kind, index = task["type"], task["index"]
    if kind in _IDLE:
        raise UsageError(
            f"this process is a task of type {kind} in {VARIABLE}, which has nothing to do in a "
            "training of tfgen; start tfgen-train in the chief and the workers only"
        )
    if kind not in ("chief", "worker"):
        raise _wrong(f"its task has the unknown type {kind!r}; use chief or worker")
    try:
        return kind, int(index)  # some launchers write the number as a string
    except (TypeError, ValueError):
        raise _wrong(f"the index of its task is {index!r}, which is no integer") from None


def _wrong(fault: str) -> UsageError:
    return UsageError(f"the environment variable {VARIABLE} is wrong: {fault}; use {_EXAMPLE}")
