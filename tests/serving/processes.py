"""Servers: in a thread of this process, and `tfgen-serve` in processes of their own."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.types import ASGIApp

from tests import commands
from tfgen.serving.app import new_server


@contextmanager
def running(app: ASGIApp, timeout: float = 60.0) -> Iterator[str]:
    """A context with a server in a thread of this process; it gives the server's URL."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = new_server(app, timeout)
    thread = threading.Thread(target=server.run, args=([listener],), name="server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def start(folder: Path, *flags: object, code: str = "") -> subprocess.Popen[str]:
    """Starts a server in a folder; or runs code that starts it."""
    environment = {**os.environ, "PYTHONPATH": str(commands.ROOT)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # as a user starts it
    program = ["-c", code] if code else ["-m", "tfgen", "serve"]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, flags)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_address(server: subprocess.Popen[str]) -> str:
    """The address of a server, from the line that it prints when it is ready."""
    assert server.stdout is not None
    line = server.stdout.readline()
    match = re.fullmatch(
        r"serving \d+ models? at (http://127\.0\.0\.1:\d+) \(Ctrl\+C stops\)\n", line
    )
    assert match, (line, server.communicate())
    return match[1]


@contextmanager
def serving_process(
    folder: Path, *flags: object, code: str = ""
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A context with a server, see `start`, and its address."""
    server = start(folder, "--port", 0, "--timeout", commands.PATIENCE, *flags, code=code)
    try:
        yield server, read_address(server)
    finally:
        server.kill()
        server.communicate()
