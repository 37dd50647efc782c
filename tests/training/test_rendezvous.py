"""How the processes of a training meet, with threads of this process in their place."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.commands import PATIENCE
from tests.training.cluster_processes import free_ports
from tfgen.errors import UsageError, WorkError
from tfgen.training import rendezvous
from tfgen.training.channel import MAX_PART, Channel, ChannelError
from tfgen.training.cluster import Cluster, Task
from tfgen.training.rendezvous import gather, join

pytestmark = pytest.mark.quick

VERSIONS = {"tfgen": "1", "tensorflow": "2"}
MINUTES = 1.0


def clusters(count: int) -> list[Cluster]:
    """The cluster as each of its processes sees it."""
    ports = free_ports(count)
    tasks = tuple(
        Task("worker", index, f"127.0.0.1:{port}", index == 0) for index, port in enumerate(ports)
    )
    return [Cluster(tasks, number) for number in range(count)]


def nothing(text: str) -> None:
    pass


def meet(*calls: Callable[[], Any]) -> list[Future]:
    """Calls all at once; returns their results, once all have ended."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [pool.submit(call) for call in calls]


def connect(cluster: Cluster) -> socket.socket:
    """A connection to the chief of a program that is no tfgen-train."""
    while True:
        try:
            return socket.create_connection(cluster.chief.endpoint)
        except OSError:
            time.sleep(0.01)


def test_all_meet_whatever_else_connects_and_the_port_is_free_for_tensorflow() -> None:
    chief, first, second = clusters(3)

    def disturb() -> None:
        endless = b"tfgen-workers/1\nJ\xff\xff\xff\xff"
        for content in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", endless):
            # The chief may close the connection at any of these lines.
            with connect(chief) as connection, contextlib.suppress(OSError):
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(100):
                    pass

    disturbance = threading.Thread(target=disturb)

    def follow(cluster: Cluster) -> Any:
        disturbance.join()  # afterwards, nobody would answer it
        channel, message = join(cluster, VERSIONS, MINUTES, nothing)
        channel.send({"echo": message["number"]})
        return channel

    def lead() -> Any:
        channels = gather(chief, VERSIONS, MINUTES, nothing)
        for number, channel in enumerate(channels):
            channel.send({"number": number})
        answers = [channel.receive() for channel in channels]
        # While the connections are open, another server can listen there.
        with socket.create_server(chief.chief.endpoint):
            return answers, channels

    disturbance.start()
    leader, *followers = meet(lead, lambda: follow(second), lambda: follow(first))
    answers, channels = leader.result()
    assert answers == [{"echo": 0}, {"echo": 1}]
    for channel in (*channels, *(follower.result() for follower in followers)):
        channel.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("version", "worker 1 at .* has tensorflow 3, the chief 2; install the same versions"),
        ("cluster", "TF_CONFIG of a process at 127.0.0.1 lists .*'b:2'.*; set the same cluster"),
        ("index", "two processes say that they are the chief at .*; give each an index"),
    ],
)
def test_a_process_that_does_not_belong_ends_all_with_one_line(
    change: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The chief says all the time for whom it waits.
    monkeypatch.setattr(rendezvous, "_FIRST_LINE", 0)
    monkeypatch.setattr(rendezvous, "_NEXT_LINE", 0)
    chief, worker, last = clusters(3)
    last_is_there = threading.Event()

    def note(text: str) -> None:
        if str(last.task) not in text:
            last_is_there.set()

    versions = {**VERSIONS, "tensorflow": "3"} if change == "version" else VERSIONS
    stranger = worker
    if change == "cluster":
        other = (*worker.tasks[:2], Task("worker", 2, "b:2", False))
        stranger = Cluster(other, 1)
    elif change == "index":
        stranger = Cluster(worker.tasks, 0)
    calls = [
        lambda: gather(chief, VERSIONS, MINUTES, note),
        lambda: join(last, VERSIONS, MINUTES, nothing),
    ]
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(call) for call in calls]
        assert last_is_there.wait(PATIENCE)  # so it is told too
        futures.append(pool.submit(join, stranger, versions, MINUTES, nothing))
    for future in futures:
        with pytest.raises(UsageError, match=message) as caught:
            future.result()
        assert "\n" not in str(caught.value)


def test_a_wait_in_vain_is_a_failure_for_all_who_came() -> None:
    chief, worker, _ = clusters(3)
    for future in meet(
        lambda: gather(chief, VERSIONS, 0.05, nothing),
        lambda: join(worker, VERSIONS, MINUTES, nothing),
    ):
        with pytest.raises(WorkError, match=r"waited 0\.05 minutes in vain for worker 2 at"):
            future.result()


def test_a_process_that_ended_while_waiting_can_be_started_again() -> None:
    chief, worker, last = clusters(3)
    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(gather, chief, VERSIONS, MINUTES, nothing)
        gone = Channel(connect(chief), 5.0)
        gone.greet()
        tasks = [task.address for task in chief.tasks]
        gone.send({"number": 1, "tasks": tasks, "versions": VERSIONS})
        gone.expect_greeting()
        gone.close()
        time.sleep(0.2)
        others = [pool.submit(join, c, VERSIONS, MINUTES, nothing) for c in (worker, last)]
        for channel in leader.result():
            channel.send({})
    for channel in (*leader.result(), *(other.result()[0] for other in others)):
        channel.close()


@pytest.mark.parametrize(("number", "missing"), [(0, "worker 1 at 127"), (1, "the chief at 127")])
def test_the_wait_says_for_whom_and_ends(
    number: int, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfgen.training.rendezvous._FIRST_LINE", 0.1)
    cluster, lines = clusters(2)[number], []
    wait = join if number else gather
    with pytest.raises(WorkError, match=f"waited 0.02 minutes in vain for {missing}.*TF_CONFIG"):
        wait(cluster, VERSIONS, 0.02, lines.append)
    assert [line.startswith(f"waiting for {missing}") for line in lines] == [True]


def test_a_port_in_use_is_named() -> None:
    chief, _ = clusters(2)
    with (
        socket.create_server(chief.chief.endpoint),
        pytest.raises(UsageError, match=f"the address {chief.chief.address} .* cannot be used"),
    ):
        gather(chief, VERSIONS, MINUTES, nothing)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("!cI", b"J", MAX_PART + 1),  # else the receiver would wait for 4 GB
        struct.pack("!cI", b"X", 2) + b"{}",
        struct.pack("!cI", b"J", 2) + b"[]",
        struct.pack("!cI", b"J", 2) + b"\x80\x04",
        struct.pack("!cI", b"J", MAX_PART) + b"[" * MAX_PART,
    ],
)
def test_bytes_that_are_no_message_are_refused(content: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel.__new__(Channel)
        channel._socket, channel._lock = ours, threading.Lock()
        sender = threading.Thread(target=theirs.sendall, args=(content,))
        sender.start()
        with pytest.raises(ChannelError):
            channel.receive()
        channel.close()
        sender.join()
