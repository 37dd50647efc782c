"""What a request may cost: what waits, what is refused, what nobody waits for any more."""

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson
import pytest
import requests
from starlette.exceptions import HTTPException

from tests.commands import PATIENCE
from tests.serving.conftest import stub_serving, wait_for
from tests.serving.processes import running
from tfgen.publishing.signatures import Signature, TensorSpec
from tfgen.publishing.versions import Version
from tfgen.serving import models
from tfgen.serving.app import Settings, create_app
from tfgen.serving.models import Entry, Models, OpenVersion

# Steps after which a request ends also if no other one has its turn.
MOST = 10**5


class Gate:
    """A function that waits until it may go on; `first` has no answer until `last` is asked for."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.opened = threading.Event()

    def __call__(self, body: bytes) -> bytes | None:
        self.calls.append(body)
        self.opened.wait(PATIENCE)
        is_last = b"last" in self.calls or self.calls.count(b"first") == MOST
        return b"{}" if is_last or body != b"first" else None

    def close(self) -> None:
        """Lets all go on, also if a test fails: its threads would wait."""
        self.opened.set()


def post(url: str, body: bytes = b"{}", name: str = "x") -> requests.Response:
    return requests.post(f"{url}/v1/models/{name}:predict", data=body, timeout=PATIENCE)


def pending(url: str) -> int:
    return int(requests.get(f"{url}/healthz", timeout=PATIENCE).json()["pending"])


class Doubler:
    """A sampler without a model."""

    num_classes, part_size = 0, 64

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def call(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(len(inputs["seed"]))
        return {"images": 2 * inputs["seed"].astype(np.float32)}

    def opened(self) -> OpenVersion:
        """A version of this sampler, which computes 64 rows at once."""
        seed, images = (TensorSpec(dtype, (None,)) for dtype in (np.int32, np.float32))
        signature = Signature({"seed": seed}, {"images": images})
        sampler: Any = self
        return OpenVersion(sampler, {"serving_default": signature}, {}, {})


def test_a_large_request_is_computed_in_slices_or_refused_if_it_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = Doubler()
    opened = sampler.opened()
    models = Models(Path("nowhere"), 1000)
    monkeypatch.setattr(models, "open", lambda *asked: opened)

    def parts(rows: int) -> list[bytes | None]:
        body = orjson.dumps({"inputs": list(range(rows))})
        return list(models.predict("x", None, body, timeout=1e-9))

    assert len(parts(64)) == 1  # the first call compiles, and says nothing of the price
    *rest, answer = parts(150)
    assert rest == [None, None] and sampler.sizes == [64, 64, 64, 22]
    assert answer == orjson.dumps({"outputs": [2.0 * seed for seed in range(150)]})
    with pytest.raises(HTTPException, match="at most 128") as caught:
        parts(129)
    assert caught.value.status_code == 413 and len(sampler.sizes) == 4
    assert len(parts(128)) == 2  # by which the price may fall


def test_a_model_that_is_opened_does_not_make_another_one_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = threading.Event()
    begun: list[str] = []

    def open_version(version: Version) -> OpenVersion:
        begun.append(version.name)
        assert version.name == "warm" or go_on.wait(PATIENCE)
        return Doubler().opened()

    class Two(Models):
        def read(self) -> dict[str, dict[int, Entry]]:
            names = ("cold", "warm")
            return {n: {1: Entry(Version(n, 1, Path(n)), (0, 0))} for n in names}

    monkeypatch.setattr(models, "open_version", open_version)
    app = create_app(Two(Path("nowhere"), 10), Settings(workers=1, timeout=PATIENCE))
    with running(app) as url, ThreadPoolExecutor(3) as clients:
        body = orjson.dumps({"inputs": [7]})
        waiting = [clients.submit(post, url, body, "cold") for _ in range(3)]
        wait_for(lambda: "cold" in begun and pending(url) == 3)
        assert post(url, body, "warm").json() == {"outputs": [14.0]}
        assert not any(future.done() for future in waiting)
        go_on.set()
        assert [future.result().json() for future in waiting] == [{"outputs": [14.0]}] * 3
    assert begun.count("cold") == 1


@pytest.mark.parametrize(("queue", "size"), [(3, 1), (9, 10**5)], ids=["requests", "bytes"])
def test_beyond_the_limits_a_request_is_to_come_later(queue: int, size: int) -> None:
    gate, body = Gate(), b" " * size
    with (
        stub_serving(gate, workers=1, queue=queue, max_body=10**5) as url,
        ThreadPoolExecutor(5) as clients,
        closing(gate),
    ):
        futures = [clients.submit(post, url, body) for _ in range(5)]
        wait_for(lambda: pending(url) + sum(future.done() for future in futures) == 5)
        assert pending(url) == 4
        (refused,) = (future.result() for future in futures if future.done())
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert "The server is busy" in refused.json()["error"]
        # What needs no computing is answered all the while.
        assert requests.get(f"{url}/healthz", timeout=PATIENCE).status_code == 200
        assert requests.get(f"{url}/v1/models/x", timeout=PATIENCE).status_code == 200
        gate.close()
        assert sorted(future.result().status_code for future in futures) == [200] * 4 + [503]
        assert post(url, body).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    gate = Gate()
    with stub_serving(gate, workers=1, timeout=0.3) as url:
        late = post(url, b"first")
        assert (late.status_code, late.json().keys()) == (504, {"error"})
        gate.opened.set()
        wait_for(lambda: post(url).status_code == 200)
    # What it still lacked was not computed; on a busy machine, it is late before it is begun.
    assert gate.calls.count(b"first") <= 1


def test_a_request_that_nobody_waits_for_leaves_the_queue() -> None:
    gate = Gate()
    with stub_serving(gate, workers=1, queue=2) as url, ThreadPoolExecutor(2) as clients:
        first = clients.submit(post, url, b"first")
        wait_for(lambda: gate.calls == [b"first"])
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)) as client:
            client.request("POST", "/v1/models/x:predict", b"gone")
            wait_for(lambda: pending(url) == 2)
        wait_for(lambda: pending(url) == 1)
        last = clients.submit(post, url, b"last")
        wait_for(lambda: pending(url) == 2)
        gate.opened.set()
        assert (first.result().status_code, last.result().status_code) == (200, 200)
    assert b"gone" not in gate.calls and gate.calls.count(b"first") < MOST


def test_an_unexpected_failure_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(body: bytes) -> bytes:
        raise RuntimeError("of no\nkind that is known")

    with stub_serving(fail) as url:
        response = post(url)
        assert response.status_code == 500
        assert response.json() == {"error": "RuntimeError: of no kind that is known"}
        out, err = capfd.readouterr()
        assert (out, err) == ("", "tfgen-serve: error: RuntimeError: of no kind that is known\n")
