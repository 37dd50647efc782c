"""Processes of `tfgen-train` that train together on this machine."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.commands import PACKAGE, PATIENCE, ROOT


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Command:
    """A `tfgen-train` in a process of its own, whose working directory stands for a disk."""

    def __init__(self, folder: Path, words: list[str], **environment: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        environment["PYTHONUNBUFFERED"] = "1"
        self.log = folder / "output.txt"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{PACKAGE}.train", *words],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Waits for something that happens before the process ends."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.is_alive() and time.monotonic() < end, self.output
            time.sleep(0.02)

    def wait_for(self, text: str) -> None:
        """Waits until the process has printed that."""
        self.wait_until(lambda: text in self.output)

    def wait_for_steps(self, count: int = 1) -> None:
        """Waits until checkpoints are written that were not there before."""
        folder, new = self.folder / "run" / "checkpoints", set()
        before = set(folder.glob("step-*"))

        def look() -> bool:
            new.update(set(folder.glob("step-*")) - before)
            return len(new) >= count

        self.wait_until(look)

    def wait_for_library(self, name: str) -> None:
        """Waits until the process has loaded a shared library."""
        maps = Path(f"/proc/{self._process.pid}/maps")
        self.wait_until(lambda: name in maps.read_text())

    def send(self, signum: int) -> None:
        self._process.send_signal(signum)

    def limit_files(self, size: int) -> None:
        """Lets files grow to so many bytes only, which has the effects of a full disk."""
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, size))

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self._process.wait()

    def status(self, seconds: float = PATIENCE) -> int:
        return self._process.wait(seconds)


class Process(Command):
    """One process of a cluster, with its `TF_CONFIG`."""

    def __init__(self, index: int, addresses: list[str], folder: Path, words: list[str]):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        super().__init__(folder, words, TF_CONFIG=json.dumps(config))


def start(folder: Path, words: list[str], count: int = 2) -> list[Process]:
    """Starts the same command in all processes of a cluster."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    return [Process(i, addresses, folder / f"disk{i}", words) for i in range(count)]
