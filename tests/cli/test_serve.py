"""`tfgen-serve`: its start, its end, and what is wrong with its flags."""

import contextlib
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

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


@pytest.mark.slow
def test_a_request_in_flight_is_answered_before_the_end(tmp_path: Path) -> None:
    seeds = np.arange(500, dtype=np.int32)
    (tmp_path / "saved_models").mkdir()
    with serving_process(tmp_path) as (server, url):
        # The start-up line says that nobody has to wait for TensorFlow.
        assert "libtensorflow" in Path(f"/proc/{server.pid}/maps").read_text()
        answers: list[requests.Response] = []
        address, body = f"{url}/v1/models/gan:predict", {"inputs": seeds.tolist()}
        client = threading.Thread(
            target=lambda: answers.append(
                requests.post(address, json=body, timeout=commands.PATIENCE)
            )
        )
        client.start()
        wait_until_pending(url)
        server.send_signal(signal.SIGTERM)
        client.join()
        out, err = server.communicate(timeout=commands.PATIENCE)
        assert (server.returncode, out) == (0, "")
    images = np.float32(answers[0].json()["outputs"])
    sampler = Sampler(versions.shipped_folder() / "gan" / "1")
    # The server computes the batch in other parts: images of a seed agree to 1e-5.
    np.testing.assert_allclose(images, sampler.call("sample", seed=seeds)["images"], atol=1e-5)
    # uvicorn quotes the path of the line before 0.55.
    assert re.search(r'"POST /v1/models/gan(:|%3A)predict HTTP/1\.1" 200', err)
    assert re.fullmatch(r'(127\.0\.0\.1:\d+ - "\S+ \S+ HTTP/1\.1" 200\n)+', err)


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_answers(tmp_path: Path) -> None:
    # Seconds on any machine: the first samples of a flow.
    body = {"inputs": list(range(1000))}
    with (
        serving_process(tmp_path, "--models", "flow", "--quiet") as (server, url),
        ThreadPoolExecutor(1) as clients,
    ):
        path = f"{url}/v1/models/flow:predict"
        answer = clients.submit(requests.post, path, json=body, timeout=commands.PATIENCE)
        wait_until_pending(url)
        server.send_signal(signal.SIGINT)
        with contextlib.suppress(ConnectionRefusedError):
            while True:  # until it no longer listens
                address = "127.0.0.1", urlsplit(url).port
                socket.create_connection(address, commands.PATIENCE).close()
                time.sleep(0.01)
        server.send_signal(signal.SIGINT)
        assert server.communicate(timeout=commands.PATIENCE) == ("", "")
        # Nobody computed it: the connection is closed, or an error is sent before.
        assert answer.exception(commands.PATIENCE) or answer.result().status_code == 500
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--port", "70000"], 2, "port = 70000 is too large"),
        (["--host", "my..host"], 2, "cannot listen on my..host"),
        (["--host", ""], 2, "--host is empty"),
        (["--host", "192.0.2.1"], 2, "cannot listen on 192.0.2.1"),
        (["--models", "gna"], 2, "unknown model 'gna'"),
        (["--allow-host", "lab:8501"], 2, "without scheme and port"),
        (["--allow-origin", "localhost:3000"], 2, "is not like http://localhost:3000"),
        (["--data-dir", "nowhere"], 2, "--data-dir nowhere is not a folder"),
        (["--opne"], 2, "unknown flag --opne; did you mean --open?"),
    ],
)
def test_what_goes_wrong_is_one_line(
    flags: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    free = [] if "--port" in flags else ["--port", "0"]
    assert commands.main("serve", [*flags, *free]) == status
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("tfgen-serve: error: ") and err.count("\n") == 1
    assert message in err


def test_a_port_in_use_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert commands.main("serve", ["--port", port]) == 1
    error = capfd.readouterr().err
    assert re.fullmatch(
        rf"tfgen-serve: error: cannot listen on 127\.0\.0\.1:{port}: .* in use.*\n", error
    )


@pytest.mark.slow
def test_help_needs_no_tensorflow(tmp_path: Path) -> None:
    script = (
        f"import sys; from {commands.PACKAGE} import serve; serve.main(['--help']); "
        "assert not {'tensorflow', 'starlette', 'uvicorn'} & set(sys.modules)"
    )
    done = commands.python(["-c", script], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--allow-origin" in done.stdout
