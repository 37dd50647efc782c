"""How the processes of a training meet before TensorFlow connects them.

The chief listens on its own address of TF_CONFIG, which TensorFlow's server uses later, and the
others connect to it. TensorFlow would wait in C++ code, deaf to signals, and without saying for
whom. The connections stay open: `tfgen.training.crew` uses them during the training.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from tfgen.errors import UsageError, WorkError
from tfgen.training.channel import Channel, ChannelError
from tfgen.training.cluster import Cluster, Task

# Longest time without a sign of life before a process counts as ended [s].
SILENCE = 40.0
# Longest time in which a new connection must say who it is [s].
_GREETING = 5.0
# Time between two attempts to connect, or between two looks at the clock [s].
_PAUSE = 0.5
# Time before the first line about who is missing, and between two such lines [s].
_FIRST_LINE, _NEXT_LINE = 2.0, 60.0


class _Waiting:
    """Says from time to time for whom a process waits, and when it has waited long enough."""

    def __init__(self, minutes: float, say: Callable[[str], None]):
        self._minutes, self._say = minutes, say
        self._end = time.monotonic() + 60 * minutes
        self._line_at = time.monotonic() + _FIRST_LINE

    def check(self, missing: Sequence[Task]) -> None:
        """Prints a line if one is due.

        Raises:
            WorkError: the time is over.
        """
        now = time.monotonic()
        names = ", ".join(map(str, missing)) or "the other workers"
        if now > self._end:
            raise WorkError(
                f"waited {self._minutes:g} minutes in vain for {names}; start the same command "
                "there, and check that TF_CONFIG is right and the port can be reached; "
                "--wait-minutes sets another limit"
            )
        if now > self._line_at:
            self._say(f"waiting for {names}")
            self._line_at = now + _NEXT_LINE


def gather(
    cluster: Cluster, versions: Mapping[str, str], minutes: float, say: Callable[[str], None]
) -> list[Channel]:
    """Waits for all other processes of the cluster; the chief calls it.

    Args:
        cluster: the cluster.
        versions: versions of the packages that must agree, by package.
        minutes: longest time to wait.
        say: prints a line.

    Returns:
        A channel to each of `cluster.tasks[1:]`, in this order.

    Raises:
        UsageError: the address is not free, or a process does not belong to this training; the
            others are told why.
        WorkError: not all came in time.
    """
    waiting = _Waiting(minutes, say)
    channels: dict[int, Channel] = {}
    try:
        with _listen(cluster.task) as listener:
            while len(channels) < len(cluster.tasks) - 1:
                numbers = range(1, len(cluster.tasks))
                waiting.check([cluster.tasks[n] for n in numbers if n not in channels])
                sources: list[Any] = [listener, *channels.values()]
                ready, _, _ = select.select(sources, [], [], _PAUSE)
                for number in [n for n, channel in channels.items() if channel in ready]:
                    # It has nothing to say yet, so it has ended; another one may take its place.
                    channels.pop(number).close()
                if listener in ready:
                    connection, (host, *_) = listener.accept()
                    _admit(Channel(connection, _GREETING), host, cluster, versions, channels)
    except BaseException as error:
        for channel in channels.values():
            status = getattr(error, "exit_status", 1)
            _refuse(channel, str(error) or "the chief was interrupted", status)
        raise
    for channel in channels.values():
        channel.settimeout(SILENCE)
    return [channels[number] for number in sorted(channels)]


def _listen(task: Task) -> socket.socket:
    host, port = task.endpoint
    # A service in front of the machine may own the address; TensorFlow listens on all of them too.
    for place in (host, ""):
        try:
            # Its connections keep the port. They share it with TensorFlow's server, since both
            # allow that (SO_REUSEADDR, which create_server sets).
            if not place and socket.has_dualstack_ipv6():
                family = socket.AF_INET6
                return socket.create_server((place, port), family=family, dualstack_ipv6=True)
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((place, port), family=family)
        except OSError as error:
            if not place or isinstance(error, PermissionError):
                raise UsageError(
                    f"the address {task.address} of this process in TF_CONFIG cannot be used "
                    f"({error.strerror}); end the program that uses the port, or choose another"
                ) from error
    raise AssertionError


def _admit(
    channel: Channel,
    host: str,
    cluster: Cluster,
    versions: Mapping[str, str],
    channels: dict[int, Channel],
) -> None:
    """Adds the channel of a process that belongs to the training; drops other programs.

    Raises:
        UsageError: a process of tfgen does not belong to the training.
    """
    try:
        channel.greet()
        channel.expect_greeting()
        hello = channel.receive()
        assert isinstance(hello, dict)
        number, addresses, theirs = hello["number"], hello["tasks"], hello["versions"]
        assert isinstance(theirs, dict)
    except (OSError, ChannelError, KeyError, AssertionError):
        channel.close()  # a port scan, or a health check
        return
    fault = None
    if addresses != [task.address for task in cluster.tasks]:
        fault = (
            f"TF_CONFIG of a process at {host} lists {str(addresses)[:200]}, and that of the chief "
            f"{[task.address for task in cluster.tasks]}; set the same cluster everywhere"
        )
    elif not isinstance(number, int) or not 0 < number < len(cluster.tasks) or number in channels:
        fault = f"two processes have the place {str(number)[:20]} of the cluster"
        if isinstance(number, int) and 0 <= number < len(cluster.tasks):
            fault = f"two processes say that they are {cluster.tasks[number]}"
        fault += "; give each an index of its own in TF_CONFIG"
    else:
        for package, version in versions.items():
            if theirs.get(package) != version:
                fault = (
                    f"{cluster.tasks[number]} has {package} {str(theirs.get(package))[:40]}, the "
                    f"chief {version}; install the same versions everywhere"
                )
    if fault is not None:
        _refuse(channel, fault, UsageError.exit_status)
        raise UsageError(fault)
    channels[number] = channel


def _refuse(channel: Channel, message: str, status: int) -> None:
    with contextlib.suppress(OSError, ChannelError):
        channel.send({"failed": message, "status": status})
    channel.close()


def join(
    cluster: Cluster, versions: Mapping[str, str], minutes: float, say: Callable[[str], None]
) -> tuple[Channel, dict[str, Any]]:
    """Connects to the chief and waits until all are there; every other process calls it.

    Returns:
        The channel, and the first message of the chief.

    Raises:
        UsageError: a process does not belong to the training of that chief.
        WorkError: not all came in time.
    """
    waiting = _Waiting(minutes, say)
    while True:
        waiting.check([cluster.chief])
        with contextlib.suppress(OSError, ChannelError):  # not there yet, or of a run that ends
            connection = socket.create_connection(cluster.chief.endpoint, timeout=_GREETING)
            channel = Channel(connection, _GREETING)
            try:
                channel.greet()
                channel.expect_greeting()
                tasks = [task.address for task in cluster.tasks]
                channel.send({"number": cluster.number, "tasks": tasks, "versions": dict(versions)})
                while not select.select([channel], [], [], _PAUSE)[0]:
                    waiting.check([])  # only the chief knows who is missing
                message = channel.receive()
            except BaseException:
                channel.close()
                raise
            if isinstance(message, dict):
                if "failed" in message:
                    _fail(message)
                channel.settimeout(SILENCE)
                return channel, message
        time.sleep(_PAUSE)


def _fail(message: Mapping[str, Any]) -> NoReturn:
    kind = UsageError if message.get("status") == UsageError.exit_status else WorkError
    raise kind(str(message["failed"])[:2000])
