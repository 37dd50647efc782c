"""What every request passes: whose it is, a line of log, and errors as JSON."""

import ipaddress
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfgen.serving.refusal import RefusalError

# Origins of this name may be any, for `--allow-origin '*'`.
ANY = "*"


class Guard:
    """ASGI middleware that refuses foreign requests, writes the log, and answers errors as JSON.

    Args:
        app: the application.
        hosts: names by which the server may be called, beside `localhost` and IP addresses. A page
            of another host, whose name was made to mean this machine, is so refused (DNS
            rebinding).
        origins: the pages of which other hosts may send requests.
        log: writes a line of log; None writes none.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        log: Callable[[str], object] | None = None,
    ):
        self.app, self.log = app, log
        self.hosts = {host.lower() for host in hosts}
        self.origins = {origin.lower() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 499

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._answer(scope, receive, send_noting_status)
        if self.log is not None:
            self.log(log_line(scope, status, time.perf_counter() - start))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.check(Headers(scope=scope))
            await self.app(scope, receive, send)
        except RefusalError as refusal:
            await error_response(refusal)(scope, receive, send)
        except Exception as error:
            if os.environ.get("TFGEN_TRACEBACK"):
                traceback.print_exc()
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            print(f"tfgen-serve: error: {text}", file=sys.stderr)
            await error_response(RefusalError(500, text))(scope, receive, send)

    def check(self, headers: Headers) -> None:
        """Checks that a request is meant for this server, and not sent by a foreign page.

        Raises:
            RefusalError: its host or its origin is foreign.
        """
        host = headers.get("host", "")
        if not self._is_own(host):
            raise RefusalError(
                403,
                f"This server is not known by the name {host[:80]!r}; to allow the name, start it "
                "with --allow-host",
            )
        origin = headers.get("origin")
        if origin is None or origin.lower() in self.origins or ANY in self.origins:
            return
        if urlsplit(origin).netloc.lower() != host.lower():
            raise RefusalError(
                403,
                f"Pages of {origin[:80]!r} may not use this server; to allow them, start it with "
                "--allow-origin",
            )

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name == "localhost" or name in self.hosts:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def error_response(refusal: RefusalError) -> Response:
    """An error in TensorFlow Serving's form, `{"error": "..."}`."""
    body = orjson.dumps({"error": refusal.message})
    return Response(body, refusal.status, refusal.headers, "application/json")


def log_line(scope: Scope, status: int, seconds: float) -> str:
    """A line about a request: `127.0.0.1 POST /v1/models/gan:predict 200 12 ms`."""
    client = (scope.get("client") or ("-",))[0]
    # The raw path, in which a line break is %0A.
    path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
    return f"{client} {scope['method']} {path} {status} {1e3 * seconds:.0f} ms"
