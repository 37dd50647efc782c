"""Processes of `tfgen-train` that train together on this machine, for the benchmarks."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfgen.errors import WorkError

# Longest time that a process may take [s].
PATIENCE = 400.0


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [listener.getsockname()[1] for listener in listeners]


def environments(ports: Sequence[int]) -> list[dict[str, str]]:
    """The environment of each process of a cluster; one process alone has no TF_CONFIG."""
    alone = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    if len(ports) == 1:
        return [alone]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    tasks = [{"type": "worker", "index": index} for index in range(len(ports))]
    return [{**alone, "TF_CONFIG": json.dumps({"cluster": cluster, "task": t})} for t in tasks]


class Process:
    """A process whose working directory stands for the disk of its machine.

    Args:
        command: the arguments of Python.
        folder: the working directory.
        environment: the environment variables.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]):
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "output.txt"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=folder,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def lines(self) -> list[str]:
        """The lines that it has printed."""
        return self._log.read_text().splitlines()

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, signum: int) -> None:
        """Sends a signal."""
        self._process.send_signal(signum)

    def is_stopped(self) -> bool:
        """Whether SIGSTOP has stopped it."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def stop(self) -> None:
        """Stops the process until it gets SIGCONT; returns when it has stopped."""
        self.send(signal.SIGSTOP)
        while self.is_alive() and not self.is_stopped():
            time.sleep(1e-4)

    def kill(self) -> None:
        """Ends the process at once."""
        self.send(signal.SIGKILL)
        self._process.wait()

    def status(self) -> int:
        """Waits for the end; returns the exit status.

        Raises:
            WorkError: it does not end.
        """
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            last = self.lines[-1] if self.lines else "nothing"
            raise WorkError(
                f"a process has not ended in {PATIENCE:g} s; it printed {last}"
            ) from None


@contextlib.contextmanager
def started(command: Sequence[str], folder: Path, ports: Sequence[int]) -> Iterator[list[Process]]:
    """The same command in a process for each port; those that are left are killed at the end.

    Args:
        command: the arguments of Python.
        folder: a subfolder of it, `disk<index>`, is the working directory of a process.
        ports: where the processes reach each other.
    """
    processes: list[Process] = []
    try:
        for index, environment in enumerate(environments(ports)):
            processes.append(Process(command, folder / f"disk{index}", environment))
        yield processes
    finally:
        for process in processes:
            process.kill()


def finish(command: Sequence[str], folder: Path, count: int) -> list[Process]:
    """Runs a command in so many processes to its end.

    Raises:
        WorkError: a process failed.
    """
    with started(command, folder, free_ports(count)) as processes:
        for process in processes:
            if status := process.status():
                text = " ".join(process.lines[-5:])[-1000:]
                raise WorkError(f"a process ended with exit status {status}: {text}")
    return processes
