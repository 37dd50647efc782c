"""Wrong requests: each is answered with a status and one line, and harms no other request."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from tests.commands import PATIENCE
from tests.serving.conftest import MAX_BATCH

VAE, GAN = "/v1/models/vae-tiny", "/v1/models/gan-classes"
SEEDS = {"inputs": [7]}
POST = f"{VAE}:predict"
# Method, path, body (JSON unless bytes), status, and a part of the error.
WRONG: list[tuple[str, str, Any, int, str]] = [
    # The body. tests/serving/test_contract.py has more of these.
    ("POST", POST, b"", 400, "JSON Parse error"),
    ("POST", POST, b"[" * 90_000, 400, "JSON Parse error"),
    ("POST", POST, {"signature_name": "__saved_model_init_op"}, 400, "not found in"),
    ("POST", POST, {"inputs": [0] * (MAX_BATCH + 1)}, 400, "this server takes 50"),
    ("POST", POST, b" " * 2 * 10**7, 413, "larger than 0.1 MB"),
    ("POST", f"{GAN}:predict", {"inputs": {"seed": [7], "label": [3]}}, 400, "out of range"),
    # Names and versions.
    ("POST", "/v1/models/%2Fetc%2Fpasswd:predict", SEEDS, 404, "Latest(/etc/passwd)"),
    ("POST", "/v1/models/../vae-tiny:predict", SEEDS, 400, "Malformed request"),
    ("POST", f"/v1/models/{'x' * 5000}:predict", SEEDS, 404, "Servable not found"),
    ("POST", f"{VAE}/versions/{10**30}:predict", SEEDS, 400, "Malformed request"),
    ("POST", f"{VAE}/labels/canary:predict", SEEDS, 400, "Malformed request"),
    ("GET", "/v1/models/nobody", None, 404, "Latest(nobody)"),
    ("GET", f"{VAE}/versions/9/metadata", None, 404, "Specific(vae-tiny, 9)"),
    # Methods and verbs.
    ("GET", POST, None, 400, "Malformed request"),
    ("PROPFIND", POST, None, 405, "Method Not Allowed"),
    ("POST", f"{VAE}:classify", SEEDS, 400, "Malformed request"),
    ("POST", "/", b"", 405, "Method Not Allowed"),
    # The page.
    ("GET", "/page/..%2Fapp.py", None, 404, ""),
    ("GET", "/page/real/..%2F..%2Fsetup.png", None, 404, ""),
    ("GET", "/nothing", None, 404, "Not Found"),
]


def send(url: str, method: str, path: str, body: Any, **headers: str) -> requests.Response:
    """A request whose path is sent as it is."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = requests.Request(method, url, headers, data=None if method == "GET" else data)
    prepared = request.prepare()
    prepared.url = url + path  # not normalized
    return requests.Session().send(prepared, timeout=PATIENCE)


def assert_answers(url: str) -> None:
    """Asserts that the server answers a right request."""
    answer = requests.post(url + POST, json=SEEDS, timeout=PATIENCE).json()
    assert np.shape(answer["outputs"]) == (1, 6, 6, 1)


@pytest.mark.parametrize("case", WRONG, ids=[str(index) for index in range(len(WRONG))])
def test_a_wrong_request_is_refused(
    url: str, case: tuple[str, str, Any, int, str], capfd: pytest.CaptureFixture[str]
) -> None:
    method, path, body, status, message = case
    response = send(url, method, path, body)
    assert response.status_code == status
    content = response.json()
    assert content.keys() == {"error"} and message in content["error"]
    assert len(content["error"]) < 500 and "\n" not in content["error"]
    assert response.headers["Content-Type"] == "application/json"
    assert_answers(url)
    assert capfd.readouterr() == ("", "")


def test_a_compressed_body_is_refused(url: str) -> None:
    response = send(url, "POST", POST, b"{}", **{"Content-Encoding": "gzip"})
    assert (response.status_code, response.json().keys()) == (415, {"error"})


def test_what_is_not_http_and_clients_that_go_away_do_no_harm(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    address = urlsplit(url).hostname, urlsplit(url).port
    head = f"POST {POST} HTTP/1.1\r\nHost: localhost\r\n".encode()
    with socket.create_connection(address, PATIENCE) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert b" 400 " in client.recv(2**16).splitlines()[0]
    for sent in (
        b"",
        head[:20],
        b"GET /" + b"x" * 2**17,
        head + b"Content-Length: 99\r\n\r\n{",
        head + b'Content-Length: 15\r\n\r\n{"inputs": [7]}',
    ):
        with socket.create_connection(address, PATIENCE) as client:
            client.sendall(sent)
    assert_answers(url)
    assert capfd.readouterr() == ("", "")
