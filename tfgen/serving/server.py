"""Runs the server: in the main thread of the command, or in a thread of a test or a notebook."""

import contextlib
import gc
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from tfgen.serving.connection import Connection

# Seconds that a connection stays open between two requests.
KEEP_ALIVE = 75
# Seconds beyond the time-out of a request that the server waits for answers when it ends.
_GRACE = 5


class Server(uvicorn.Server):
    """uvicorn's server, which a second Ctrl+C ends at once."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to end the server, or ends the process."""
        if self.should_exit and sig == signal.SIGINT:
            os._exit(0)  # Python itself would wait for the threads that compute
        super().handle_exit(sig, frame)


def run(listener: socket.socket, app: ASGIApp, timeout: float) -> None:
    """Answers requests until SIGTERM or Ctrl+C, and then those that have begun.

    Args:
        listener: a socket that listens.
        app: the application that answers.
        timeout: seconds that an answer takes at most.
    """
    # Else each large request has the garbage collector look at all that the imports have made.
    gc.freeze()
    new_server(app, timeout).run(sockets=[listener])


def new_server(app: ASGIApp, timeout: float) -> Server:
    """A server that is not running yet."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=round(timeout) + _GRACE,
    )
    return Server(config)


@contextlib.contextmanager
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
