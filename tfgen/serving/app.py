"""The server: TensorFlow Serving's REST interface, the page, and the server's state."""

import atexit
import contextlib
import gc
import logging
import os
import re
import socket
import traceback
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tfgen.errors import describe
from tfgen.serving.listing import Listing, run_pictures
from tfgen.serving.models import SMALL_BODY, Models
from tfgen.serving.pool import Pool
from tfgen.serving.refusal import busy, invalid, not_found, report_error

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<number>\d{1,19}))?"
    r"(?P<verb>/metadata|:predict)?",
    re.ASCII,
)
# Most connections at once.
MAX_CONNECTIONS = 1000
# Seconds beyond the time-out of a request that the server waits for answers when it ends.
_GRACE = 5
PAGE = Path(__file__).parent / "page"
_PAGE_HEADERS = {
    # Nothing from another host, and no script or style inside of the HTML.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The files are small, and a newer tfgen has other ones.
    "Cache-Control": "no-cache",
}


class Settings(NamedTuple):
    """Limits of the server, and who may use it.

    Attributes:
        workers: threads that compute.
        queue: most requests that wait for a thread.
        max_body: most bytes of a request's body.
        timeout: seconds for an answer.
        hosts: names of the server, beside those of this machine for itself; `*`: any.
        origins: origins of other pages that may use it; `*`: any.
    """

    workers: int = 2
    queue: int = 100
    max_body: int = 64 * 10**6
    timeout: float = 60.0
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


class Endpoints:
    """The endpoints of the server."""

    def __init__(self, models: Models, settings: Settings, data_dir: Path | None):
        self.models, self.settings = models, settings
        self.in_flight = 0
        self.pool = Pool(settings.workers, settings.queue, settings.timeout)
        self.listing = Listing(models, self.pool, data_dir)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Ends what goes on beside the requests."""
        yield
        self.listing.close()
        self.pool.close()
        self.models.close()

    async def model(self, request: Request) -> Response:
        """Answers a request of TensorFlow Serving's REST interface."""
        # A proxy may see the end of such a request elsewhere.
        if {"content-length", "transfer-encoding"}.issubset(request.headers.keys()):
            raise HTTPException(400, "Content-Length beside chunks", {"Connection": "close"})
        name, number, api = parse(request.method, request.scope["raw_path"].decode())
        if api == "predict":
            async with self._body(request, name, number) as body:
                prepare = partial(self.models.open, name, number)
                steps = self.models.predict(name, number, body, self.settings.timeout)
                answer = await self.pool.answer(request, prepare, steps)
        else:  # it computes nothing
            answer = await run_in_threadpool(getattr(self.models, api), name, number)
        # 499: nobody waits for it any more.
        return Response(answer, 499 if answer is None else 200, media_type="application/json")

    @contextlib.asynccontextmanager
    async def _body(self, request: Request, name: str, number: int | None) -> AsyncIterator[bytes]:
        """A context with the body of a request, which is read to its end also if it is refused.

        Otherwise many clients would see no answer but a broken connection.

        Raises:
            HTTPException: it is too large (413) or compressed (415), has more values than a batch
                (400), or is large while others fill the memory (503); there is no such model (404).
        """
        if request.headers.get("content-encoding", "identity") != "identity":
            raise HTTPException(415, "Send the body without Content-Encoding")
        stream, body, most = request.stream(), bytearray(), SMALL_BODY
        try:
            async for chunk in stream:
                body += chunk
                self.in_flight += len(chunk)
                if len(body) > most:
                    most = await run_in_threadpool(self.models.most_bytes, name, number)
                if len(body) > (limit := min(most, self.settings.max_body)):
                    raise HTTPException(413, f"The body is larger than {limit / 1e6:g} MB")
                if most > SMALL_BODY and self.in_flight > 4 * self.settings.max_body:
                    raise busy(f"{self.in_flight / 1e6:.0f} MB of requests wait for answers")
            # A number of an image has a comma and three brackets at most.
            if most > SMALL_BODY and 8 * sum(map(body.count, (b",", b"[", b"{"))) > most:
                raise invalid("The body has more values than the largest batch")
            yield bytes(body)
        finally:
            self.in_flight -= len(body)
            body.clear()
            async for _ in stream:
                pass

    async def health(self, request: Request) -> Response:
        """Says that the server is up, and how many requests are computed or wait."""
        return JSONResponse({"status": "ok", "pending": self.pool.pending})

    async def models_json(self, request: Request) -> Response:
        """What the page shows: the models, their versions and their figures."""
        content = orjson.dumps(await run_in_threadpool(self.listing.content))
        return Response(content, headers=_PAGE_HEADERS, media_type="application/json")

    async def real_images(self, request: Request) -> Response:
        """Test images of a model's data set."""
        name = request.path_params["name"]
        image = await run_in_threadpool(self.listing.real_images, name)
        if image is None:
            raise not_found(name)
        return Response(image, headers=_PAGE_HEADERS, media_type="image/png")

    async def run_picture(self, request: Request) -> Response:
        """A picture of a run."""
        name, picture = (request.path_params[key] for key in ("name", "picture"))
        path = run_pictures().get(name, {}).get(picture)  # no path is made of other names
        if path is None:
            raise not_found(name)
        return FileResponse(path, headers=_PAGE_HEADERS)

    async def page(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params.get("file", "index.html")
        if name not in {path.name for path in PAGE.iterdir()}:  # no path is made of another name
            raise HTTPException(404, f"The page has no file {name[:80]!r}")
        return FileResponse(PAGE / name, headers=_PAGE_HEADERS)


def parse(method: str, path: str) -> tuple[str, int | None, str]:
    """The model's name, the version's number, and what is asked of it.

    Raises:
        HTTPException: there is no such path, or it has another method.
    """
    match = _PATH.fullmatch(path)
    methods = ("POST",) if match and match["verb"] == ":predict" else ("GET", "HEAD")
    if match is None or method not in methods:
        raise invalid(f"Malformed request: {method} {path[:200]}")
    number = None if match["number"] is None else int(match["number"])
    return unquote(match["name"]), number, (match["verb"] or "/status")[1:]


def create_app(models: Models, settings: Settings, data_dir: Path | None = None) -> Starlette:
    """The server as an ASGI application.

    Args:
        models: what is served.
        settings: the server's limits, and who may use it.
        data_dir: folder of prepared data sets, of which the page shows images.
    """
    server = Endpoints(models, settings, data_dir)
    routes = [
        Route("/v1{path:path}", server.model, methods=["GET", "POST"]),
        Route("/healthz", server.health),
        Route("/page/models.json", server.models_json),
        Route("/page/real/{name}.png", server.real_images),
        Route("/page/runs/{name}/{picture}.png", server.run_picture),
        Route("/page/{file}", server.page),
        Route("/", server.page),
    ]
    # The pages of another host, whose name was made to mean this machine, send its name.
    hosts = ["localhost", "127.0.0.1", "[::1]", *settings.hosts]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    middleware = [trusted]
    if origins := list(settings.origins):
        cors = Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"])
        middleware.append(cors)
    handlers = dict.fromkeys((HTTPException, ClientDisconnect, Exception), answer_error)
    return Starlette(
        routes=routes, middleware=middleware, exception_handlers=handlers, lifespan=server.lifespan
    )


async def answer_error(request: Request, error: Exception) -> Response:
    """An error in TensorFlow Serving's form, `{"error": "..."}`."""
    if isinstance(error, ClientDisconnect):
        error = invalid("The body of the request is cut off")
    if not isinstance(error, HTTPException):
        if os.environ.get("TFGEN_TRACEBACK"):
            traceback.print_exception(error)
        report_error(describe(error))
        error = HTTPException(500, describe(error))
    body = orjson.dumps({"error": error.detail})
    return Response(body, error.status_code, error.headers, "application/json")


class _Server(uvicorn.Server):
    """A server that ends at the first signal, and whose process ends at the second one."""

    should_exit: bool

    def handle_exit(self, sig: int, frame: Any) -> None:
        # Called between two instructions of the main thread, also while the event loop is busy.
        if self.should_exit:
            os._exit(0)
        self.should_exit = True


def new_server(app: ASGIApp, timeout: float) -> uvicorn.Server:
    """A server that is not running yet.

    Args:
        app: the application that answers.
        timeout: seconds that an answer takes at most.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=round(timeout) + _GRACE,
    )
    return _Server(config)


def run(listener: socket.socket, app: ASGIApp, timeout: float, has_log: bool) -> None:
    """Answers requests until SIGTERM or Ctrl+C, and then those that have begun; ends the process.

    A second signal ends it at once.

    Args:
        listener: a socket that listens.
        app: the application that answers.
        timeout: seconds that an answer takes at most.
        has_log: whether each request is a line on standard error.
    """
    # Else each large request has the garbage collector look at all that the imports have made.
    gc.freeze()
    server = new_server(app, timeout)
    if has_log:
        logger = logging.getLogger("uvicorn.access")
        logger.setLevel(logging.INFO)
        logger.addHandler(logging.StreamHandler())
        # An open page asks for it every few seconds.
        logger.addFilter(lambda record: "/healthz" not in record.getMessage())
        logger.propagate = False
    server.run(sockets=[listener])
    # Python itself would wait for the threads that compute.
    atexit._run_exitfuncs()
    os._exit(0)
