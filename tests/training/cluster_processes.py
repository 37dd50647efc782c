"""Processes of `tfgen-train` that train together on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.commands import PATIENCE, ROOT


def tf_configs(count: int) -> list[str]:
    """The variable TF_CONFIG of each worker of a cluster on this machine."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    cluster = {"worker": [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]}
    for listener in listeners:
        listener.close()
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


class Command:
    """A `tfgen-train` in a process of its own.

    Args:
        folder: its working directory.
        words: the arguments.
        log: file for its output, in `folder`.
        environment: further environment variables.
    """

    def __init__(self, folder: Path, words: list[str], log: str = "output.txt", **environment: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log = folder, folder / log
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        environment["PYTHONUNBUFFERED"] = "1"
        with self.log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tfgen", "train", *words],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Waits for something that happens before the process ends."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self._process.poll() is None and time.monotonic() < end, self.output
            time.sleep(0.02)

    def send(self, signum: int) -> None:
        self._process.send_signal(signum)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self._process.wait()

    def status(self) -> int:
        return self._process.wait(PATIENCE)


def start(folder: Path, words: list[str], count: int = 2) -> list[Command]:
    """Starts the same command in all workers of a cluster; the first one is the chief."""
    return [
        Command(folder, words, f"output{index}.txt", TF_CONFIG=config)
        for index, config in enumerate(tf_configs(count))
    ]
