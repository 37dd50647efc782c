"""`tfgen-serve --backend` in a process of its own: restarts, and its end."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from tests import commands
from tests.commands import PATIENCE
from tests.serving import processes
from tests.serving.conftest import MAX_BATCH
from tfgen.publishing.sampler import Sampler
from tfgen.serving.app import Settings, create_app
from tfgen.serving.catalog import Catalog
from tfgen.serving.models import LocalModels
from tfgen.serving.statistics import DataImages

pytestmark = pytest.mark.newest


class Backend(LocalModels):
    """Models that send signals to the server in front of them while they compute.

    Attributes:
        signals: the signal to send at a request, by the number of the request.
        count: number of requests so far.
        url: the address.
        front: the server in front.
    """

    url: str
    front: "Front"

    def __init__(self, catalog: Catalog, max_batch: int):
        super().__init__(catalog, max_batch)
        self.signals: dict[int, signal.Signals] = {}
        self.count = 0

    async def predict(self, name: str, number: int | None, body: bytes, compute: Any) -> bytes:
        self.count += 1
        if signum := self.signals.pop(self.count, None):
            await asyncio.to_thread(self.front.restart, signum)
        return await super().predict(name, number, body, compute)


class Front:
    """A server in front of another, in a process of its own, that can be restarted.

    Attributes:
        address: its address.
        statuses: the exit statuses of the processes that have ended.
    """

    def __init__(self, folder: Path, *flags: object):
        self.folder, self.flags = folder, flags
        self.process = processes.start(folder, "--port", 0, *flags)
        self.address = processes.read_address(self.process)
        self.statuses: list[int] = []
        self.restarting = threading.Thread()

    def restart(self, signum: signal.Signals) -> None:
        """Ends the process by a signal; another one takes its place when it has ended.

        Returns when the process no longer listens.
        """
        self.stop_listening(signum)
        self.restarting = threading.Thread(target=self._replace, args=(self.process,))
        self.restarting.start()

    def stop_listening(self, signum: signal.Signals) -> None:
        """Sends the process a signal, and returns when it no longer listens."""
        self.process.send_signal(signum)
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                socket.create_connection(
                    ("127.0.0.1", urlsplit(self.address).port), PATIENCE
                ).close()
                time.sleep(0.01)

    def _replace(self, process: subprocess.Popen[str]) -> None:
        process.communicate()
        self.statuses.append(process.returncode)
        port = urlsplit(self.address).port
        self.process = processes.start(self.folder, "--port", port, *self.flags)
        assert processes.read_address(self.process) == self.address

    def end(self, signum: signal.Signals) -> tuple[str, str]:
        """Ends the process by a signal; returns what else it printed."""
        self.process.send_signal(signum)
        return self.process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[Backend]:
    models = Backend(Catalog(folder), MAX_BATCH)
    app = create_app(models, DataImages(), Settings(timeout=PATIENCE))
    with processes.running(app) as url:
        models.url = url
        models.front = Front(folder, "--backend", url, "--models", "vae-tiny", "--quiet")
        yield models
        models.front.process.kill()
        models.front.process.communicate()


@pytest.fixture(scope="module")
def vae(folder: Path) -> Sampler:
    return Sampler(folder / "vae-tiny" / "2")


def test_a_command_outlasts_restarts(
    backend: Backend, vae: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # On a busy machine, a process may take longer to start than the usual delays.
    monkeypatch.setattr("tfgen.publishing.rest.BACKOFF", 0.7)
    backend.count, backend.signals = 0, {10: signal.SIGTERM, 30: signal.SIGKILL}
    flags = ["--n", 2000, "--batch-size", 50, "--url", backend.front.address, "--retries", 4]
    images = commands.npz("sample", "vae-tiny", *flags)["images"]
    backend.front.restarting.join()
    assert backend.front.statuses == [0, -signal.SIGKILL]
    # One request in flight was answered in spite of SIGTERM, the other one was sent again.
    assert backend.count == 2 * 2000 / 50 + 1
    monkeypatch.setattr(vae, "batch_size", 50)
    np.testing.assert_array_equal(images, vae.sample(2000))


def test_a_second_ctrl_c_does_not_wait_for_answers(
    backend: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, opened = threading.Event(), threading.Event()

    async def predict(*_: object) -> bytes:
        begun.set()
        await asyncio.to_thread(opened.wait, PATIENCE)
        return b"{}"

    monkeypatch.setattr(backend, "predict", predict)
    front = Front(folder, "--backend", backend.url, "--models", "vae-tiny", "--quiet")
    with ThreadPoolExecutor(1) as clients:
        address = f"{front.address}/v1/models/vae-tiny:predict"
        answer = clients.submit(requests.post, address, data=b"{}", timeout=PATIENCE)
        assert begun.wait(PATIENCE)
        front.stop_listening(signal.SIGINT)
        try:
            assert front.end(signal.SIGINT) == ("", "")
        finally:
            opened.set()
        # Nobody computed it: the connection is closed, or an error is sent before.
        assert answer.exception(PATIENCE) is not None or answer.result().status_code == 500
    assert front.process.returncode == 0
