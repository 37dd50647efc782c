"""`tfgen-serve --backend` in a process of its own, and its end."""

import contextlib
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.commands import PATIENCE
from tests.serving.conftest import stub_serving
from tests.serving.processes import serving_process

pytestmark = pytest.mark.slow


def test_a_second_ctrl_c_does_not_wait_for_answers(tmp_path: Path) -> None:
    begun, opened = threading.Event(), threading.Event()

    def predict(body: bytes) -> bytes:
        begun.set()
        opened.wait(PATIENCE)
        return b"{}"

    flags = ["--models", "vae", "--quiet"]
    with (
        stub_serving(predict) as url,
        serving_process(tmp_path, "--backend", url, *flags) as (server, front),
        ThreadPoolExecutor(1) as clients,
    ):
        path = f"{front}/v1/models/vae:predict"
        answer = clients.submit(requests.post, path, data=b"{}", timeout=PATIENCE)
        assert begun.wait(PATIENCE)
        server.send_signal(signal.SIGINT)
        with contextlib.suppress(ConnectionRefusedError):
            while True:  # until it no longer listens
                address = "127.0.0.1", urlsplit(front).port
                socket.create_connection(address, PATIENCE).close()
                time.sleep(0.01)
        server.send_signal(signal.SIGINT)
        try:
            assert server.communicate(timeout=PATIENCE) == ("", "")
        finally:
            opened.set()
        # Nobody computed it: the connection is closed, or an error is sent before.
        assert answer.exception(PATIENCE) is not None or answer.result().status_code == 500
    assert server.returncode == 0
