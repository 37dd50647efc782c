"""The routes of the server: TensorFlow Serving's REST interface, the page, and its state."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tfgen.serving import metrics, page_files
from tfgen.serving.guard import ANY, Guard, error_response
from tfgen.serving.listing import Listing
from tfgen.serving.metrics import Metrics
from tfgen.serving.pool import RETRY_AFTER, Pool
from tfgen.serving.refusal import RefusalError, invalid, not_found

METRICS_PATH = "/monitoring/prometheus/metrics"
_PATH = re.compile(
    r"/v1/models(?:/(?P<name>[^/:]+))?"
    r"(?:/versions/(?P<number>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<verb>/metadata|:predict|:classify|:regress)?",
    re.ASCII,
)
_METHODS = {":predict": "POST", ":classify": "POST", ":regress": "POST"}
_ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_MAX_NUMBER = 2**63 - 1
# Threads for what needs no computing: it reads files, or asks the server of --backend.
READERS = 4
# The bodies that are held at once are at most this many times as large as the largest body.
_BODIES = 4


class Models(Protocol):
    """What is served: `LocalModels`, or the models of a server, `BackendModels`.

    Each method returns the JSON of an answer, and raises a `RefusalError` if there is none.
    """

    def status(self, name: str, number: int | None) -> bytes:
        """The states of a model's versions."""

    def metadata(self, name: str, number: int | None) -> bytes:
        """The signatures of a version."""

    def predict(self, name: str, number: int | None, body: bytes) -> bytes:
        """The outputs of a signature."""

    def close(self) -> None:
        """Releases threads and connections."""


@dataclass(frozen=True)
class Settings:
    """Limits of the server, and who may use it.

    Attributes:
        workers: threads that compute.
        queue: most requests that wait for a thread.
        max_body: most bytes of a request's body.
        timeout: seconds for a request to arrive, and again to be answered.
        hosts: names of the server, beside `localhost` and IP addresses.
        origins: origins of other pages that may use it.
        log: writes a line of log a request; None writes none.
    """

    workers: int = 2
    queue: int = 100
    max_body: int = 64 * 10**6
    timeout: float = 60.0
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    log: Callable[[str], object] | None = None


class Server:
    """The endpoints of the server."""

    def __init__(self, models: Models, listing: Listing, settings: Settings):
        self.models, self.listing, self.settings = models, listing, settings
        self.pool = Pool(settings.workers, settings.queue, settings.timeout)
        self.readers = Pool(READERS, settings.queue, settings.timeout)
        self.metrics = Metrics()
        self._held = 0
        # The models that were answered for: other names in requests are not counted by name.
        self._names: set[str] = set()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Runs what goes on beside the requests, and ends it."""
        self.listing.start(self.pool)
        yield
        self.listing.close()
        self.pool.close()
        self.readers.close()
        self.models.close()

    async def model(self, request: Request) -> Response:
        """Answers a request of TensorFlow Serving's REST interface."""
        start = time.perf_counter()
        name, api, status = "", "", 500
        try:
            name, api, call = self._parse(request.method, request.scope["raw_path"].decode())
            answer = await self._call(request, api, call)
            if answer is None:  # nobody waits for it any more
                status = 499
            else:
                status = 200
                self._names.add(name)
            return Response(answer, status, media_type="application/json")
        except RefusalError as refusal:
            status = refusal.status
            return error_response(refusal)
        finally:
            known = name if name in self._names else ""
            self.metrics.record(known, api, status, time.perf_counter() - start)

    def _parse(self, method: str, path: str) -> tuple[str, str, Callable[..., bytes]]:
        """The model's name, what is asked of it, and the function that answers."""
        match = _PATH.fullmatch(path)
        verb = (match["verb"] or "") if match else ""
        if match is None or method != _METHODS.get(verb, "GET"):
            raise invalid(f"Malformed request: {method} {path[:200]}")
        if match["name"] is None:
            raise invalid("Missing model name in request.")
        name, number = unquote(match["name"]), None
        if match["number"] is not None:
            number = int(match["number"][:20])
            if number > _MAX_NUMBER:
                raise invalid(f"Failed to convert version: {match['number'][:40]} to numeric.")
        if match["label"] is not None:
            raise invalid(f"Unrecognized servable version label: {unquote(match['label'])[:80]}")
        if verb in (":classify", ":regress"):
            raise invalid(
                f"Expected {verb[1:]} signature method_name to be tensorflow/serving/{verb[1:]}. "
                "Was: tensorflow/serving/predict"
            )
        api = verb[1:] or "status"
        function = getattr(self.models, api)
        return name, api, lambda *body: function(name, number, *body)

    async def _call(self, request: Request, api: str, call: Callable[..., bytes]) -> bytes | None:
        if api == "status":
            return await self.readers.run(call, lambda: _gone(request))
        with self._holding() as hold:
            body = await self._read_body(request, hold)
            arguments = (body,) if api == "predict" else ()
            return await self.pool.run(lambda: call(*arguments), lambda: _gone(request))

    @contextlib.contextmanager
    def _holding(self) -> Any:
        """A context in which a body counts into what all bodies may hold."""
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._held += size
            if self._held > _BODIES * self.settings.max_body:
                raise RefusalError(
                    503,
                    "The server is busy: waiting requests use too much memory; try again later",
                    {"Retry-After": str(RETRY_AFTER)},
                )

        try:
            yield hold
        finally:
            self._held -= held

    async def _read_body(self, request: Request, hold: Callable[[int], None]) -> bytes:
        """The body of a request.

        Raises:
            RefusalError: it is too large (413), compressed (415), too slow (408), or cut off (400).
        """
        limit = self.settings.max_body
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            raise _too_large(limit)
        if request.headers.get("content-encoding", "identity") != "identity":
            raise RefusalError(415, "Send the body without Content-Encoding")
        body = bytearray()
        try:
            async with asyncio.timeout(self.settings.timeout):
                async for chunk in request.stream():
                    hold(len(chunk))
                    body += chunk
                    if len(body) > limit:
                        raise _too_large(limit)
        except TimeoutError:
            raise RefusalError(
                408,
                f"The body of the request did not arrive within {self.settings.timeout:g} s",
            ) from None
        except ClientDisconnect:
            raise invalid("The body of the request is cut off") from None
        return bytes(body)

    async def health(self, request: Request) -> Response:
        """Says that the server is up."""
        return Response(b'{"status": "ok"}', media_type="application/json")

    async def prometheus(self, request: Request) -> Response:
        """Numbers about the requests."""
        gauges = {"tfgen_pending_requests": self.pool.pending, "tfgen_body_bytes": self._held}
        return PlainTextResponse(self.metrics.text(gauges), media_type=metrics.CONTENT_TYPE)

    async def models_json(self, request: Request) -> Response:
        """What the page shows: the models, their versions and their figures."""
        content = await self.readers.run(self.listing.content, lambda: _gone(request))
        return page_files.response(orjson.dumps(content), "models.json")

    async def real_images(self, request: Request) -> Response:
        """Test images of a model's data set."""
        name = request.path_params["name"]
        image = await self.readers.run(
            lambda: self.listing.real_images(name), lambda: _gone(request)
        )
        if image is None:
            raise not_found(name)
        return page_files.response(image, "real.png")

    async def page(self, request: Request) -> Response:
        """A file of the page."""
        return page_files.read(request.path_params.get("file", page_files.INDEX))


def _too_large(limit: int) -> RefusalError:
    return RefusalError(
        413, f"The body of the request is larger than {limit / 1e6:g} MB (tfgen-serve --max-body)"
    )


async def _gone(request: Request) -> None:
    """Waits until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def create_app(models: Models, listing: Listing, settings: Settings) -> Starlette:
    """The server as an ASGI application.

    Args:
        models: what is served.
        listing: what the page shows.
        settings: its limits, and who may use it.
    """
    server = Server(models, listing, settings)
    routes = [
        # TensorFlow Serving says of every wrong method that the request is malformed.
        Route("/v1/{path:path}", server.model, methods=list(_ALL_METHODS)),
        Route("/healthz", server.health),
        Route(METRICS_PATH, server.prometheus),
        Route("/page/models.json", server.models_json),
        Route("/page/real/{name}.png", server.real_images),
        Route("/page/{file}", server.page),
        Route("/", server.page),
    ]
    middleware = [Middleware(Guard, settings.hosts, settings.origins, settings.log)]
    if settings.origins:
        origins = [ANY] if ANY in settings.origins else settings.origins
        middleware.append(
            Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"])
        )
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={HTTPException: answer_error, RefusalError: answer_error},
        lifespan=server.lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def answer_error(request: Request, error: Exception) -> Response:
    """The answer to a request that a route refuses."""
    if isinstance(error, HTTPException):  # Starlette's own: no such route, no such method
        error = RefusalError(error.status_code, error.detail, dict(error.headers or {}))
    assert isinstance(error, RefusalError)
    return error_response(error)
