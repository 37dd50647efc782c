"""`tfgen-serve`: its start, its end, and what is wrong with its flags."""

import contextlib
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests

from tests import commands
from tests.serving.processes import serving_process
from tfgen.publishing import versions
from tfgen.publishing.sampler import Sampler


def wait_until_pending(url: str) -> None:
    """Waits until the server computes a request."""
    while not requests.get(f"{url}/healthz", timeout=commands.PATIENCE).json()["pending"]:
        time.sleep(0.01)


def wait_until_closed(url: str) -> None:
    """Waits until the server takes no more connections."""
    with contextlib.suppress(requests.ConnectionError):
        while requests.get(f"{url}/healthz", timeout=commands.PATIENCE):
            time.sleep(0.01)


# A server that computes nothing before there is the file `start`.
WAITING = f"""
import pathlib, sys, time
from tfgen.serving.models import Models
predict = Models.predict
def wait_and_predict(*request):
    while not pathlib.Path("start").exists():
        yield time.sleep(0.01)
    yield from predict(*request)
Models.predict = wait_and_predict
from {commands.PACKAGE} import serve
sys.exit(serve.main())
"""


@pytest.mark.slow
def test_a_request_in_flight_is_answered_before_the_end(tmp_path: Path) -> None:
    seeds = np.arange(500, dtype=np.int32)
    (tmp_path / "saved_models").mkdir()
    with (
        serving_process(tmp_path, code=WAITING) as (server, url),
        ThreadPoolExecutor(1) as clients,
    ):
        # The start-up line says that nobody has to wait for TensorFlow.
        assert "libtensorflow" in Path(f"/proc/{server.pid}/maps").read_text()
        address, body = f"{url}/v1/models/gan:predict", {"inputs": seeds.tolist()}
        answer = clients.submit(requests.post, address, json=body, timeout=commands.PATIENCE)
        wait_until_pending(url)
        server.send_signal(signal.SIGTERM)
        wait_until_closed(url)
        (tmp_path / "start").touch()
        images = np.float32(answer.result().json()["outputs"])
        out, err = server.communicate(timeout=commands.PATIENCE)
        assert (server.returncode, out) == (0, "")
    sampler = Sampler(versions.shipped_folder() / "gan" / "1")
    # The server computes the batch in slices: images of a seed agree to 1e-5.
    np.testing.assert_allclose(images, sampler.call("sample", seed=seeds)["images"], atol=1e-5)
    # uvicorn quotes the path of the line before 0.55.
    assert re.search(r'"POST /v1/models/gan(:|%3A)predict HTTP/1\.1" 200', err)
    assert re.fullmatch(r'(127\.0\.0\.1:\d+ - "\S+ \S+ HTTP/1\.1" 200\n)+', err)


# A server that computes for longer than the test waits.
ENDLESS = f"""
import sys, time
from tfgen.serving.models import Models
Models.open = lambda *request: None
Models.predict = lambda *request: map(time.sleep, [{2 * commands.PATIENCE}])
from {commands.PACKAGE} import serve
sys.exit(serve.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_late", [True, False])
def test_the_end_does_not_wait_for_what_nobody_waits_for(tmp_path: Path, is_late: bool) -> None:
    flags = ["--models", "vae", "--quiet", *(["--timeout", "0.1"] if is_late else [])]
    with (
        serving_process(tmp_path, *flags, code=ENDLESS) as (server, url),
        ThreadPoolExecutor(1) as clients,
    ):
        path = f"{url}/v1/models/vae:predict"
        answer = clients.submit(requests.post, path, timeout=commands.PATIENCE)
        if is_late:
            assert answer.result().status_code == 504
        else:
            wait_until_pending(url)
            server.send_signal(signal.SIGINT)
        server.send_signal(signal.SIGTERM)
        assert server.communicate(timeout=commands.PATIENCE) == ("", "")
        assert is_late or answer.exception(commands.PATIENCE)
    assert server.returncode == 0


def test_a_port_in_use_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert commands.main("serve", ["--port", port]) == 1
    error = capfd.readouterr().err
    assert re.fullmatch(
        rf"tfgen-serve: error: cannot listen on 127\.0\.0\.1:{port}: .* in use.*\n", error
    )
