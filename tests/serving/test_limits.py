"""A bounded pool and queue: what waits, what is refused, what nobody waits for any more."""

import asyncio
import gc
import socket
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.commands import PATIENCE
from tests.serving.conftest import StubModels, stub_serving, wait_for
from tfgen.serving import connection
from tfgen.serving.app import READERS
from tfgen.serving.connection import Connection
from tfgen.serving.pool import Pool

pytestmark = pytest.mark.newest


class Gate:
    """A function that waits until it may go on, and notes what it was called with."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.opened = threading.Event()

    def __call__(self, body: bytes) -> bytes:
        self.calls.append(body)
        self.opened.wait(PATIENCE)
        return b'{"outputs": []}'


def post(url: str, body: bytes = b"{}") -> requests.Response:
    return requests.post(f"{url}/v1/models/x:predict", data=body, timeout=PATIENCE)


def pending(url: str) -> int:
    text = requests.get(f"{url}/monitoring/prometheus/metrics", timeout=PATIENCE).text
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
        assert requests.get(f"{url}/healthz", timeout=PATIENCE).status_code == 200
        assert requests.get(f"{url}/v1/models/x", timeout=PATIENCE).status_code == 200
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


def test_what_leaves_the_queue_keeps_no_memory() -> None:
    gate, pool = Gate(), Pool(1, 1, 30)

    async def leave(call: Callable[[], bytes], condition: Callable[[], bool]) -> None:
        async def gone() -> None:
            while not condition():
                await asyncio.sleep(0.01)

        assert await pool.run(call, gone) is None

    class Call:
        def __call__(self) -> bytes:
            return b""

    asyncio.run(leave(lambda: gate(b""), lambda: bool(gate.calls)))  # keeps the only thread busy
    call = Call()
    reference = weakref.ref(call)
    asyncio.run(leave(call, lambda: True))
    del call
    gc.collect()
    is_kept = reference() is not None
    gate.opened.set()
    pool.close()
    assert not is_kept


def test_requests_that_need_no_computing_are_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(StubModels, "status", lambda *_: gate(b""))
    with (
        stub_serving(tmp_path, lambda body: b"{}", queue=0) as url,
        ThreadPoolExecutor(READERS) as clients,
    ):

        def status_of(path: str) -> int:
            return requests.get(url + path, timeout=PATIENCE).status_code

        waiting = [clients.submit(status_of, "/v1/models/x") for _ in range(READERS)]
        wait_for(lambda: len(gate.calls) == READERS)
        for path in ("/v1/models/x", "/page/models.json", "/page/real/x.png"):
            assert status_of(path) == 503
        assert (post(url).status_code, status_of("/")) == (200, 200)
        gate.opened.set()
        assert [future.result() for future in waiting] == [200] * READERS


def test_an_answer_that_is_not_read_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = threading.Event()

    class Noting(Connection):
        def connection_lost(self, exc):
            super().connection_lost(exc)
            lost.set()

    monkeypatch.setattr("tfgen.serving.server.Connection", Noting)
    monkeypatch.setattr(connection, "SEND_TIMEOUT", 0.2)
    with stub_serving(tmp_path, lambda body: bytes(5 * 10**7)) as url:
        address = urlsplit(url).hostname, urlsplit(url).port
        with socket.create_connection(address, PATIENCE) as client:
            client.sendall(
                b"POST /v1/models/x:predict HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: 2\r\n\r\n{}"
            )
            assert lost.wait(PATIENCE)


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


def test_a_failure_is_answered_without_a_standard_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Broken())
    with stub_serving(tmp_path, lambda body: 1 / 0) as url:
        assert post(url).json() == {"error": "ZeroDivisionError: division by zero"}


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
