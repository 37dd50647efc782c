"""A bounded pool and queue: what waits, what is refused, what nobody waits for any more."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.serving.conftest import stub_serving
from tfgen.serving.connection import Connection

pytestmark = pytest.mark.newest


class Gate:
    """A function that waits until it may go on, and notes what it was called with."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.opened = threading.Event()

    def __call__(self, body: bytes) -> bytes:
        self.calls.append(body)
        self.opened.wait(30)
        return b'{"outputs": []}'


def post(url: str, body: bytes = b"{}") -> requests.Response:
    return requests.post(f"{url}/v1/models/x:predict", data=body, timeout=30)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def pending(url: str) -> int:
    text = requests.get(f"{url}/monitoring/prometheus/metrics", timeout=30).text
    (value,) = (
        line.split()[1] for line in text.splitlines() if line.startswith("tfgen_pending_requests ")
    )
    return int(value)


def test_the_body_of_an_answer_does_not_wait_for_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_delay = []

    class Noting(Connection):
        def connection_made(self, transport):
            super().connection_made(transport)
            own_socket = transport.get_extra_info("socket")
            no_delay.append(own_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr("tfgen.serving.server.Connection", Noting)
    with stub_serving(tmp_path, lambda body: b"{}") as url:
        post(url)
    assert no_delay == [1]


def test_beyond_the_queue_a_request_is_to_come_later(tmp_path: Path) -> None:
    gate = Gate()
    with (
        stub_serving(tmp_path, gate, workers=1, queue=2) as url,
        ThreadPoolExecutor(3) as clients,
    ):
        waiting = [clients.submit(post, url) for _ in range(3)]
        wait_for(lambda: pending(url) == 3)
        refused = post(url)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert "The server is busy" in refused.json()["error"]
        # What needs no computing is answered all the while.
        assert requests.get(f"{url}/healthz", timeout=30).status_code == 200
        assert requests.get(f"{url}/v1/models/x", timeout=30).status_code == 200
        gate.opened.set()
        assert [future.result().status_code for future in waiting] == [200] * 3
        assert post(url).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    gate = Gate()
    with stub_serving(tmp_path, gate, workers=1, timeout=0.3) as url:
        late = post(url)
        assert (late.status_code, late.json().keys()) == (504, {"error"})
        assert "0.3 s" in late.json()["error"]
        gate.opened.set()
        wait_for(lambda: pending(url) == 0)
        assert post(url).status_code == 200


def test_a_request_that_nobody_waits_for_leaves_the_queue(tmp_path: Path) -> None:
    gate = Gate()
    with (
        stub_serving(tmp_path, gate, workers=1, queue=2) as url,
        ThreadPoolExecutor(2) as clients,
    ):
        first = clients.submit(post, url, b"first")
        wait_for(lambda: gate.calls == [b"first"])
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{url}/v1/models/x:predict", data=b"gone", timeout=0.2)
        wait_for(lambda: pending(url) == 1)
        last = clients.submit(post, url, b"last")
        gate.opened.set()
        assert (first.result().status_code, last.result().status_code) == (200, 200)
        assert gate.calls == [b"first", b"last"]


def test_bodies_that_wait_take_only_so_much_memory(tmp_path: Path) -> None:
    gate, body = Gate(), b" " * 900
    with (
        stub_serving(tmp_path, gate, workers=1, queue=50, max_body=1000) as url,
        ThreadPoolExecutor(4) as clients,
    ):
        waiting = [clients.submit(post, url, body) for _ in range(4)]
        wait_for(lambda: pending(url) == 4)
        refused = post(url, body)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        gate.opened.set()
        assert [future.result().status_code for future in waiting] == [200] * 4
        assert post(url, body).status_code == 200


def test_an_unexpected_failure_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(body: bytes) -> bytes:
        raise RuntimeError("of no\nkind that is known")

    with stub_serving(tmp_path, fail) as url:
        response = post(url)
    assert response.status_code == 500
    assert response.json() == {"error": "RuntimeError: of no kind that is known"}
    out, err = capfd.readouterr()
    assert (out, err) == ("", "tfgen-serve: error: RuntimeError: of no kind that is known\n")


def test_requests_in_flight_are_answered_at_the_end(tmp_path: Path) -> None:
    gate = Gate()
    with ThreadPoolExecutor(2) as clients:
        with stub_serving(tmp_path, gate, workers=1) as url:
            waiting = [clients.submit(post, url) for _ in range(2)]
            wait_for(lambda: pending(url) == 2)
            threading.Timer(0.3, gate.opened.set).start()
        assert [future.result().status_code for future in waiting] == [200, 200]
        with pytest.raises(requests.ConnectionError):
            post(url)
