"""`tfgen-serve`: its start, its end, and what is wrong with its flags."""

import re
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import requests

from tests import commands
from tests.serving.processes import serving_process
from tfgen.publishing import versions
from tfgen.publishing.sampler import Sampler

pytestmark = pytest.mark.newest


def test_a_request_in_flight_is_answered_before_the_end(tmp_path: Path) -> None:
    seeds = np.arange(500, dtype=np.int32)
    (tmp_path / "saved_models").mkdir()
    with serving_process(tmp_path) as (server, url):
        # The start-up line says that nobody has to wait for TensorFlow.
        assert "libtensorflow" in Path(f"/proc/{server.pid}/maps").read_text()
        assert requests.get(f"{url}/healthz", timeout=commands.PATIENCE).status_code == 200
        answers: list[requests.Response] = []
        address, body = f"{url}/v1/models/gan:predict", {"inputs": seeds.tolist()}
        client = threading.Thread(
            target=lambda: answers.append(
                requests.post(address, json=body, timeout=commands.PATIENCE)
            )
        )
        client.start()
        metrics = f"{url}/monitoring/prometheus/metrics"
        while (
            "tfgen_pending_requests 1" not in requests.get(metrics, timeout=commands.PATIENCE).text
        ):
            assert client.is_alive()
        server.send_signal(signal.SIGTERM)
        client.join()
        out, err = server.communicate(timeout=commands.PATIENCE)
        assert (server.returncode, out) == (0, "")
    images = np.float32(answers[0].json()["outputs"])
    sampler = Sampler(versions.shipped_folder() / "gan" / "1")
    # The server computes the batch in other parts: images of a seed agree to 1e-5.
    np.testing.assert_allclose(images, sampler.call("sample", seed=seeds)["images"], atol=1e-5)
    lines = err.splitlines()
    assert lines[0].startswith("127.0.0.1 GET /healthz 200 ")
    assert lines[-1].startswith("127.0.0.1 POST /v1/models/gan:predict 200 ")
    assert all(re.fullmatch(r"127\.0\.0\.1 [A-Z]+ /\S* 200 \d+ ms", line) for line in lines)


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--port", "70000"], 2, "port = 70000 is too large"),
        (["--port", "x"], 2, "'x' is not an integer"),
        (["--host", "no-such-host.invalid"], 2, "--host 'no-such-host.invalid' is unknown"),
        (["--host", "my..host"], 2, "--host 'my..host' is unknown (not a valid host name)"),
        (["--host", ""], 2, "--host '' is empty"),
        (["--host", "192.0.2.1"], 2, "--host 192.0.2.1 is not an address of this machine"),
        (["--models", "vae"], 2, "--models names the models of --backend"),
        (["--backend", "localhost"], 2, "--backend 'localhost' is not the address of a server"),
        (
            ["--backend", "http://127.0.0.1:1", "--models", "vae"],
            1,
            "no server answers at http://127.0.0.1:1",
        ),
        (["--backend", "http://127.0.0.1:1", "--models", "../x"], 2, "'../x' is not a valid name"),
        (["--allow-host", "http://lab"], 2, "--allow-host 'http://lab' is not the name of a host"),
        (["--allow-host", "lab:8501"], 2, "pass it without scheme and port"),
        (["--allow-origin", "localhost:3000"], 2, "pass one like http://localhost:3000"),
        (["--allow-origin", "http://lab/"], 2, "without a path"),
        (["--data-dir", "nowhere"], 2, "--data-dir nowhere is not a folder"),
        (["--data-dir", "file"], 2, "--data-dir file is not a folder"),
        (["--saved-models", "file"], 2, "file is a file; pass the folder"),
        (["--timeout", "0"], 2, "timeout = 0.0 is too small"),
        (["--workers", "0"], 2, "workers = 0 is too small"),
        (["--max-body", "-1"], 2, "max_body = -1.0 is too small"),
        (["--opne"], 2, "unknown flag --opne; did you mean --open?"),
        (["vae"], 2, "unexpected argument 'vae'"),
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
    Path("file").touch()
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
        rf"tfgen-serve: error: cannot listen on 127\.0\.0\.1:{port}: another program listens "
        r"there; end it, or pass another --port .*\n",
        error,
    )


def test_help_needs_no_tensorflow(tmp_path: Path) -> None:
    script = (
        f"import sys; from {commands.PACKAGE} import serve; serve.main(['--help']); "
        "assert not {'tensorflow', 'starlette', 'uvicorn'} & set(sys.modules)"
    )
    done = commands.python(["-c", script], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--allow-origin" in done.stdout
