"""What every request passes: whose it is, a line of log, and errors as JSON."""

import asyncio
import contextlib
import ipaddress
import os
import time
import traceback
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfgen.serving import connection
from tfgen.serving.refusal import RefusalError
from tfgen.serving.report import report_error

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
        # Whether more of the body is to come. Who sends `Expect` sends it only when it is read.
        is_arriving = "expect" not in Headers(scope=scope)

        async def receive_noting_end() -> Message:
            nonlocal is_arriving
            message = await receive()
            is_arriving = message.get("more_body", False)
            return message

        async def send_after_request(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # What is refused before its end is read to its end, and dropped.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(connection.LINGER):
                        while is_arriving:
                            await receive_noting_end()
            await send(message)

        await self._answer(scope, receive_noting_end, send_after_request)
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
            report_error(text)
            await error_response(RefusalError(500, text))(scope, receive, send)

    def check(self, headers: Headers) -> None:
        """Checks that a request is meant for this server, and not sent by a foreign page.

        Raises:
            RefusalError: its host or its origin is foreign.
        """
        host = headers.get("host", "")
        name = _host_name(host)
        if not name:
            raise RefusalError(403, "The request has no host name")
        if not self._is_own(name):
            name = name[:80]
            raise RefusalError(
                403,
                f"Unknown host name {name!r}; to allow it, start tfgen-serve with --allow-host "
                f"{name}",
            )
        origin = headers.get("origin")
        if origin is None or origin.lower() in self.origins or ANY in self.origins:
            return
        if origin.lower().partition("://")[2] != host.lower():
            raise RefusalError(
                403,
                f"Pages of {origin[:80]!r} may not use this server; to allow them, start it with "
                "--allow-origin",
            )

    def _is_own(self, name: str) -> bool:
        if name == "localhost" or name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _host_name(host: str) -> str:
    """The name in a `Host` header, without the port; the whole header if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return host


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
