"""Requests on the wire: each is answered with its status, and harms no other request."""

import base64
import collections
import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from tests.commands import PATIENCE, ROOT

VAE, GAN = "/v1/models/vae-tiny", "/v1/models/gan-classes"
SEEDS = {"inputs": [7]}
POST = f"{VAE}:predict"
# Method, path, body (JSON unless bytes), status, and a part of the error.
WRONG: list[tuple[str, str, Any, int, str]] = [
    # The body; of 50 images of 6 × 6, and a seed each. tests/serving/test_contract.py has more.
    ("POST", POST, b" " * 2 * 10**7, 413, "larger than 0.124736 MB"),
    ("POST", POST, b'{"inputs": [' + b"[0]," * 20_000 + b"0]}", 400, "more values"),
    ("POST", "/v1/models/nobody:predict", b" " * 2 * 10**7, 404, "Latest(nobody)"),
    ("POST", f"{GAN}:predict", {"inputs": {"seed": [7], "label": [3]}}, 400, "out of range"),
    # Names and versions.
    ("POST", "/v1/models/%2Fetc%2Fpasswd:predict", SEEDS, 404, "Latest(/etc/passwd)"),
    ("POST", f"/v1/models/{'x' * 5000}:predict", SEEDS, 404, "Servable not found"),
    # Methods.
    ("GET", POST, None, 400, "Malformed request"),
    ("PROPFIND", POST, None, 405, "Method Not Allowed"),
    # The page.
    ("GET", "/page/..%2Fapp.py", None, 404, ""),
    ("GET", "/page/real/..%2F..%2Fsetup.png", None, 404, ""),
    ("GET", "/nothing", None, 404, "Not Found"),
]
ANSWERS = ROOT.parent / "shared" / "serving-answers.json"
# Requests whose status is not that of TensorFlow Serving; docs/serve.md has the reasons.
DIFFERENCES = {
    200: "HEAD status, GET /, GET /healthz, GET /v1/models/gan?x=1, "
    "GET /v1/models/gan/metadata?x=1, POST /v1/models/gan:predict?x=1",
    400: "decode NaN, decode Inf, decode -Inf, decode 1e39, decode 1e300, decode [[]], GET /v1, "
    "GET /v1/models/gan/METADATA, GET /v1/models/gan/labels/stable",
    404: "GET /V1/MODELS/gan, POST /V1/models/gan:predict",
    405: "PUT predict, DELETE predict, PATCH predict, OPTIONS predict, PROPFIND predict, "
    "TRACE predict, PUT status, OPTIONS status, POST /",
}


def send(
    url: str, method: str, path: str, body: bytes = b"", *headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer to a request whose path is sent as it is, and its body."""
    address = urlsplit(url).hostname, urlsplit(url).port
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    with socket.create_connection(address, PATIENCE) as client:
        client.sendall("\r\n".join([*lines, *headers, "", ""]).encode() + body)
        response = http.client.HTTPResponse(client, method=method)
        response.begin()
        return response, response.read()


def assert_answers(url: str) -> None:
    """Asserts that the server answers a right request."""
    answer = requests.post(url + POST, json=SEEDS, timeout=PATIENCE).json()
    assert np.shape(answer["outputs"]) == (1, 6, 6, 1)


@pytest.mark.parametrize("case", WRONG, ids=[str(index) for index in range(len(WRONG))])
def test_a_wrong_request_is_refused(
    url: str, case: tuple[str, str, Any, int, str], capfd: pytest.CaptureFixture[str]
) -> None:
    method, path, body, status, message = case
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response, answer = send(url, method, path, b"" if method == "GET" else data)
    content = json.loads(answer)
    assert response.status == status
    assert content.keys() == {"error"} and message in content["error"]
    assert len(content["error"]) < 500 and "\n" not in content["error"]
    assert response.headers["Content-Type"] == "application/json"
    assert_answers(url)
    assert capfd.readouterr() == ("", "")


def test_the_framing_of_requests(url: str) -> None:
    body = json.dumps(SEEDS).encode()
    assert send(url, "POST", POST, body, "Content-Encoding: gzip")[0].status == 415
    response, answer = send(url, "HEAD", VAE)
    assert (response.status, answer) == (200, b"")
    response, _ = send(url, "POST", POST, b"0\r\n\r\n", "Transfer-Encoding: chunked")
    assert (response.status, response.headers["Connection"]) == (400, "close")


@pytest.mark.slow
@pytest.mark.skipif(not ANSWERS.exists(), reason="TensorFlow Serving's answers are not here")
def test_statuses_are_those_of_tensorflow_serving(url: str) -> None:
    differences = collections.defaultdict(set)
    for probe in json.loads(ANSWERS.read_text())["probes"]:
        coded = probe.get("base64")
        body = probe["body"].encode() if coded is None else base64.b64decode(coded)
        response, _ = send(url, probe["method"], probe["path"], body)
        if response.status != probe["status"]:
            differences[response.status].add(probe["name"])
    assert differences == {key: {*names.split(", ")} for key, names in DIFFERENCES.items()}


def test_what_is_not_http_and_clients_that_go_away_do_no_harm(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    address = urlsplit(url).hostname, urlsplit(url).port
    head = f"POST {POST} HTTP/1.1\r\nHost: localhost\r\n".encode()
    for sent in (
        b"",
        b"nonsense\r\n\r\n",
        head[:20],
        b"GET /" + b"x" * 2**17,
        head + b"Content-Length: 99\r\n\r\n{",
        head + b'Content-Length: 15\r\n\r\n{"inputs": [7]}',
    ):
        with socket.create_connection(address, PATIENCE) as client:
            client.sendall(sent)
    assert_answers(url)
    assert capfd.readouterr() == ("", "")
