"""Wrong requests: each is answered with a 4xx and `{"error": …}`, and the next one is answered."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from tests.commands import PATIENCE
from tests.serving.conftest import MAX_BATCH, MAX_BODY, serving, stub_serving
from tfgen.serving import connection

pytestmark = pytest.mark.newest

VAE, GAN = "/v1/models/vae-tiny", "/v1/models/gan-classes"
NO_IMAGE = {"signature_name": "encode", "inputs": [[[[0.5]] * 6] * 6]}
SEEDS = {"inputs": [7]}
# Sends the right requests, over a connection that stays open.
CLIENT = requests.Session()


def deep(levels: int) -> bytes:
    return b'{"inputs": ' + b"[" * levels + b"]" * levels + b"}"


# Method, path, body (JSON unless bytes), status, and a part of the error.
WRONG: list[tuple[str, str, Any, int, str]] = [
    # What is not JSON, or no predict request.
    ("POST", f"{VAE}:predict", b"", 400, "The document is empty"),
    ("POST", f"{VAE}:predict", b"seed=7", 400, "JSON Parse error"),
    ("POST", f"{VAE}:predict", b'{"inputs": [7]', 400, "JSON Parse error"),
    ("POST", f"{VAE}:predict", b"\x00\x01\x02", 400, "JSON Parse error"),
    ("POST", f"{VAE}:predict", b"\xff\xff", 400, "JSON Parse error"),
    ("POST", f"{VAE}:predict", deep(10_000), 400, "JSON Parse error"),
    ("POST", f"{VAE}:predict", deep(900), 400, "'seed'"),
    ("POST", f"{VAE}:predict", b"[" * 90_000, 400, "JSON Parse error"),
    ("POST", f"{VAE}:predict", b'{"inputs": [NaN]}', 400, "JSON Parse error"),
    ("POST", f"{VAE}:predict", b'{"inputs": [1e999]}', 400, "JSON Parse error"),
    ("POST", f"{VAE}:predict", [7], 400, "Is not object"),
    ("POST", f"{VAE}:predict", None, 400, "Is not object"),
    ("POST", f"{VAE}:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
    ("POST", f"{VAE}:predict", {"inputs": [7], "instances": [7]}, 400, "only one of"),
    # Signatures.
    ("POST", f"{VAE}:predict", {"signature_name": "sampel", **SEEDS}, 400, "not found in"),
    ("POST", f"{VAE}:predict", {"signature_name": ["sample"], **SEEDS}, 400, "a string"),
    ("POST", f"{VAE}:predict", {"signature_name": "x" * 9999, **SEEDS}, 400, "not found in"),
    ("POST", f"{VAE}:predict", {"signature_name": "__saved_model_init_op"}, 400, "not found in"),
    # Inputs, dtypes, shapes and ranges.
    ("POST", f"{VAE}:predict", {"inputs": {"seeds": [7]}}, 400, "Missing named input: seed"),
    ("POST", f"{VAE}:predict", {"inputs": {"seed": [7], "label": [1]}}, 400, "Unknown named"),
    ("POST", f"{VAE}:predict", {"instances": []}, 400, "No values in 'instances'"),
    ("POST", f"{VAE}:predict", {"instances": 7}, 400, "to be an list/array"),
    ("POST", f"{VAE}:predict", {"inputs": 7}, 400, "has the shape []"),
    ("POST", f"{VAE}:predict", {"inputs": [[7]]}, 400, "has the shape [1, 1]"),
    ("POST", f"{VAE}:predict", {"inputs": [7, [8]]}, 400, "is not of expected type"),
    ("POST", f"{VAE}:predict", {"inputs": ["7"]}, 400, "it has strings"),
    ("POST", f"{VAE}:predict", {"inputs": [7.5]}, 400, "numbers that are not integers"),
    ("POST", f"{VAE}:predict", {"inputs": [None]}, 400, "is not of expected type"),
    ("POST", f"{VAE}:predict", {"inputs": [True]}, 400, "is not of expected type"),
    ("POST", f"{VAE}:predict", {"inputs": [{"b64": "AAAA"}]}, 400, "is not of expected type"),
    ("POST", f"{VAE}:predict", {"inputs": [2**31]}, 400, "int32 takes"),
    ("POST", f"{VAE}:predict", {"inputs": [10**400]}, 400, "JSON Parse error"),
    ("POST", f"{VAE}:predict", {"inputs": [0] * (MAX_BATCH + 1)}, 400, "this server takes 50"),
    ("POST", f"{VAE}:predict", NO_IMAGE, 400, "images"),
    (
        "POST",
        f"{VAE}:predict",
        {"signature_name": "decode", "inputs": [[0.5]]},
        400,
        "has the shape [1, 1]; expected [any, 2]",
    ),
    (
        "POST",
        f"{VAE}:predict",
        {"signature_name": "decode", "inputs": [[1e39, 0]]},
        400,
        "too large for float32",
    ),
    ("POST", f"{GAN}:predict", {"inputs": [7]}, 400, "expecting an object"),
    ("POST", f"{GAN}:predict", {"instances": [7]}, 400, "expecting list of objects"),
    ("POST", f"{GAN}:predict", {"inputs": {"seed": [7]}}, 400, "Missing named input: label"),
    ("POST", f"{GAN}:predict", {"inputs": {"seed": [7], "label": [3]}}, 400, "out of range"),
    ("POST", f"{GAN}:predict", {"inputs": {"seed": [7], "label": [-1]}}, 400, "out of range"),
    ("POST", f"{GAN}:predict", {"inputs": {"seed": [7], "label": [0, 1]}}, 400, "batch sizes"),
    # Names and versions.
    ("POST", "/v1/models/nobody:predict", SEEDS, 404, "Servable not found for request: Latest(no"),
    ("POST", "/v1/models/..%2Fvae-tiny:predict", SEEDS, 404, "Latest(../vae-tiny)"),
    ("POST", "/v1/models/%2Fetc%2Fpasswd:predict", SEEDS, 404, "Latest(/etc/passwd)"),
    ("POST", "/v1/models/../vae-tiny:predict", SEEDS, 400, "Malformed request"),
    ("POST", "/v1/models/vae-tiny%00:predict", SEEDS, 404, "Servable not found"),
    ("POST", f"/v1/models/{'x' * 5000}:predict", SEEDS, 404, "Servable not found"),
    ("POST", f"{VAE}/versions/9:predict", SEEDS, 404, "Specific(vae-tiny, 9)"),
    ("POST", f"{VAE}/versions/{10**30}:predict", SEEDS, 400, "Failed to convert version"),
    ("POST", f"{VAE}/versions/-2:predict", SEEDS, 400, "Malformed request"),
    ("POST", f"{VAE}/versions/2/../2:predict", SEEDS, 400, "Malformed request"),
    ("POST", f"{VAE}/labels/canary:predict", SEEDS, 400, "Unrecognized servable version label"),
    ("GET", "/v1/models/nobody", None, 404, "Latest(nobody)"),
    ("GET", "/v1/models/nobody/metadata", None, 404, "Latest(nobody)"),
    ("GET", f"{VAE}/versions/9/metadata", None, 404, "Specific(vae-tiny, 9)"),
    ("GET", "/v1/models", None, 400, "Missing model name"),
    ("GET", "/v1/models/", None, 400, "Malformed request"),
    ("GET", "/v1/nothing", None, 400, "Malformed request"),
    # Methods and verbs.
    ("GET", f"{VAE}:predict", None, 400, "Malformed request"),
    ("POST", VAE, SEEDS, 400, "Malformed request"),
    ("PUT", f"{VAE}:predict", SEEDS, 400, "Malformed request"),
    ("DELETE", VAE, None, 400, "Malformed request"),
    ("OPTIONS", f"{VAE}:predict", None, 400, "Malformed request"),
    ("PROPFIND", f"{VAE}:predict", None, 405, "Method Not Allowed"),
    ("POST", f"{VAE}:classify", SEEDS, 400, "tensorflow/serving/classify"),
    ("POST", f"{VAE}:regress", SEEDS, 400, "tensorflow/serving/regress"),
    ("POST", f"{VAE}:explain", SEEDS, 400, "Malformed request"),
    ("POST", "/healthz", b"", 405, "Method Not Allowed"),
    ("POST", "/", b"", 405, "Method Not Allowed"),
    # The page.
    ("GET", "/page/nothing.js", None, 404, "no file"),
    ("GET", "/page/..%2Fapp.py", None, 404, ""),
    ("GET", "/page/%2e%2e/app.py", None, 404, ""),
    ("GET", "/page/real/nobody.png", None, 404, "nobody"),
    ("GET", "/page/real/..%2F..%2Fsetup.png", None, 404, ""),
    ("GET", "/nothing", None, 404, "Not Found"),
    # Size.
    ("POST", f"{VAE}:predict", b" " * (MAX_BODY + 1), 413, "larger than 0.1 MB"),
]


def send(url: str, method: str, path: str, body: Any) -> requests.Response:
    """A request whose path is sent as it is."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = requests.Request(method, url, data=None if method == "GET" else data)
    prepared = request.prepare()
    prepared.url = url + path  # not normalized
    return requests.Session().send(prepared, timeout=PATIENCE)


def assert_error(status: int, body: bytes, expected: int, message: str) -> None:
    content = json.loads(body)
    assert status == expected
    assert content.keys() == {"error"} and message in content["error"]
    assert len(content["error"]) < 500 and "Traceback" not in content["error"]


def assert_answers(url: str) -> None:
    """Asserts that the server answers a right request."""
    answer = CLIENT.post(f"{url}{VAE}:predict", json=SEEDS, timeout=PATIENCE).json()
    assert np.shape(answer["outputs"]) == (1, 6, 6, 1)


@pytest.mark.parametrize("case", WRONG, ids=[str(index) for index in range(len(WRONG))])
def test_a_wrong_request_is_refused(
    url: str, case: tuple[str, str, Any, int, str], capfd: pytest.CaptureFixture[str]
) -> None:
    method, path, body, status, message = case
    response = send(url, method, path, body)
    assert_error(response.status_code, response.content, status, message)
    assert response.headers["Content-Type"] == "application/json"
    assert_answers(url)
    assert capfd.readouterr() == ("", "")


# --- what is not HTTP, and clients that stop or wait ------------------------------------


@pytest.fixture(scope="module")
def hasty(folder: Path) -> Iterator[str]:
    """A server that waits half a second for a body, and not long for the rest of a wrong one."""
    with pytest.MonkeyPatch.context() as patch, serving(folder, timeout=0.5) as url:
        patch.setattr(connection, "LINGER", 0.3)
        yield url


def exchange(url: str, *parts: bytes, half_close: bool = False) -> tuple[int, bytes]:
    """Status and body of the answer to bytes on a connection of their own."""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), 30) as client:
        for part in parts:
            client.sendall(part)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := client.recv(2**16):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


HEAD = f"POST {VAE}:predict HTTP/1.1\r\nHost: localhost\r\n".encode()
CLOSE = b"Connection: close\r\n"


@pytest.mark.parametrize(
    ("parts", "status", "message"),
    [
        ([b"nonsense\r\n\r\n"], 400, "Invalid HTTP request"),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], 400, "Invalid HTTP request"),
        ([HEAD + b"Content-Length: x\r\n\r\n"], 400, "Invalid HTTP request"),
        ([HEAD + b"Content-Length: -1\r\n\r\n"], 400, "Invalid HTTP request"),
        ([HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n"], 400, "Invalid HTTP request"),
        ([HEAD + b"Content-Length: 999999999999\r\n\r\n"], 413, "larger than 0.1 MB"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], 400, "Invalid HTTP request"),
        ([HEAD + b"X: " + b"x" * 2**17], 431, "longer than 65536 bytes"),
        ([b"GET /" + b"x" * 2**17], 431, "longer than 65536 bytes"),
        ([HEAD + CLOSE + b"Content-Length: 9\r\n\r\n{"], 408, "did not arrive within 0.5 s"),
        (
            [HEAD + CLOSE + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"],
            415,
            "without Content-Encoding",
        ),
        (
            [HEAD.replace(b"localhost", b"evil.example") + CLOSE + b"\r\n"],
            403,
            "Unknown host name 'evil.example'; to allow it, start tfgen-serve with --allow-host e",
        ),
        (
            [HEAD + CLOSE + b"Origin: http://evil.example\r\nContent-Length: 2\r\n\r\n{}"],
            403,
            "Pages of 'http://evil.example'",
        ),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"fff\r\n" + b" " * 4095 + b"\r\n"] * 1
         + [b"fff\r\n" + b" " * 4095 + b"\r\n"] * 40, 413, "larger than 0.1 MB"),
    ],
)  # fmt: skip
def test_what_is_wrong_on_the_wire_is_refused(
    hasty: str, url: str, parts: list[bytes], status: int, message: str
) -> None:
    assert_error(*exchange(hasty, *parts), status, message)
    assert requests.get(f"{hasty}/healthz", timeout=PATIENCE).json() == {"status": "ok"}


def test_a_body_that_is_cut_off_is_refused(url: str) -> None:
    sent = HEAD + b"Content-Length: 99\r\n\r\n" + b'{"inputs": [7]'
    assert_error(*exchange(url, sent, half_close=True), 400, "cut off")
    assert_answers(url)


def test_a_client_that_goes_away_does_no_harm(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    address = urlsplit(url).hostname, urlsplit(url).port
    body = b'{"inputs": [7]}'
    for sent in (
        b"",
        HEAD[:20],
        HEAD + b"Content-Length: 99\r\n\r\n{",
        HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body,
    ):
        with socket.create_connection(address, PATIENCE) as client:
            client.sendall(sent)
    assert_answers(url)
    assert capfd.readouterr() == ("", "")


def test_a_slow_head_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER", 0.3)
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.3)
    with serving(folder) as url:
        assert_error(*exchange(url, HEAD), 408, "did not arrive within 0.3 s")
        assert_error(*exchange(url), 408, "did not arrive within 0.3 s")


def test_a_large_body_is_refused_to_a_client_that_sends_all_of_it(url: str) -> None:
    with requests.Session() as session:
        for _ in range(3):
            response = session.post(f"{url}{VAE}:predict", data=b" " * 2 * 10**7, timeout=PATIENCE)
            assert_error(response.status_code, response.content, 413, "larger than 0.1 MB")
        answer = session.post(f"{url}{VAE}:predict", json=SEEDS, timeout=PATIENCE)
        assert answer.status_code == 200


def test_a_large_body_is_read_before_the_connection_is_closed(url: str) -> None:
    body = b" " * 2 * 10**7
    sent = HEAD + CLOSE + b"Content-Length: %d\r\n\r\n" % len(body)
    assert_error(*exchange(url, sent, body), 413, "larger than 0.1 MB")


def test_who_waits_for_100_continue_need_not_send_a_large_body(url: str) -> None:
    sent = HEAD + CLOSE + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    assert_error(*exchange(url, sent), 413, "larger than 0.1 MB")


def test_a_request_is_answered_in_spite_of_what_comes_after_it(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    right = HEAD + b"Content-Length: 15\r\n\r\n" + b'{"inputs": [7]}'
    for after in (b"nonsense\r\n\r\n", HEAD + b"Content-Length: 9\r\nContent-Length: 8\r\n\r\n"):
        status, body = exchange(url, right + after)
        assert (status, json.loads(body).keys()) == (200, {"outputs"})
    assert capfd.readouterr() == ("", "")


def test_the_end_of_a_body_does_not_count_as_a_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b" " * 100_000
    first = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body + b"GET /healthz HTTP/1.1\r\n"

    class InOnePiece(connection.Connection):
        missing, received = len(first), b""

        def data_received(self, data):
            self.missing -= len(data)
            self.received += data
            if self.missing <= 0:
                super().data_received(self.received)
                self.received = b""

    monkeypatch.setattr("tfgen.serving.server.Connection", InOnePiece)
    with stub_serving(tmp_path, lambda body: b"{}") as url:
        status, answers = exchange(url, first, b"Host: localhost\r\n" + CLOSE + b"\r\n")
    assert status == 200 and answers.endswith(b'{"status": "ok"}')


def test_wrong_requests_leave_nothing_behind(url: str) -> None:
    def held() -> float:
        text = requests.get(f"{url}/monitoring/prometheus/metrics", timeout=PATIENCE).text
        return sum(
            float(line.split()[1])
            for line in text.splitlines()
            if line.startswith(("tfgen_body_bytes ", "tfgen_pending_requests "))
        )

    for name in ("a", "b", "c"):
        requests.post(f"{url}/v1/models/{name}:predict", data=b"x" * MAX_BODY, timeout=PATIENCE)
    text = requests.get(f"{url}/monitoring/prometheus/metrics", timeout=PATIENCE).text
    assert 'model_name="a"' not in text and 'status="NOT_FOUND"' in text
    assert held() == 0
