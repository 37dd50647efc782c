"""`tfgen-serve`: TensorFlow Serving's REST interface on this machine, and a web page."""

import contextlib
import errno
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfgen.errors import UsageError, WorkError
from tfgen.publishing import versions
from tfgen.settings.fields import Config, option
from tfgen.system.quiet import import_quietly
from tfgen.system.terminal import count_noun

from ._command import SAVED_MODELS, run_command
from ._flags import Parser, add_flags, read_flags

if TYPE_CHECKING:
    from tfgen.serving.app import Models, Settings
    from tfgen.serving.listing import Listing

PROG = "tfgen-serve"
_HOST = re.compile(r"[\w.-]+")
_ORIGIN = re.compile(r"\*|\w+://[^/\s]+")
# Requests that are passed on to --backend at once, by default.
_PASSED_ON = 16


@dataclass(frozen=True)
class ServeOptions(Config):
    """The flags of `tfgen-serve`."""

    saved_models: Path = option(
        SAVED_MODELS, "folder of published samplers; new versions are served when they appear"
    )
    host: str = option(
        "127.0.0.1",
        "address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 for other machines too",
    )
    port: int = option(8501, "port to listen on; 0 chooses a free one", minimum=0, maximum=65_535)
    open: bool = option(False, "open the page in the browser")
    backend: str | None = option(
        None,
        "show the samplers of a TensorFlow Serving server in place of those in --saved-models: "
        "its REST address, http://host:8501",
    )
    models: tuple[str, ...] | None = option(
        None,
        "names of the models of --backend (default: the shipped names and those in --saved-models, "
        "as far as the server has them)",
    )
    data_dir: Path | None = option(
        None, "folder of prepared data sets, for real images on the page (default: MNIST only)"
    )
    workers: int | None = option(
        None,
        "requests that are computed at once (default: one for each core; with --backend 16)",
        minimum=1,
        maximum=256,
    )
    queue: int = option(
        100, "maximum number of waiting requests; further ones get status 503", minimum=0
    )
    max_batch: int = option(
        1000, "maximum batch size of a request (no effect with --backend)", minimum=1
    )
    max_body: float = option(64.0, "maximum body size of a request [MB]", above=0, maximum=2048)
    timeout: float = option(
        60.0,
        "time limit for receiving a request, and again for answering it [s]",
        above=0,
        maximum=86_400,
    )
    allow_host: tuple[str, ...] = option(
        (), "further host names of this server, besides localhost and IP addresses"
    )
    allow_origin: tuple[str, ...] = option(
        (), "origins whose pages may send requests, such as http://localhost:3000; * for all (CORS)"
    )
    quiet: bool = option(False, "do not log requests")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.models is not None and self.backend is None:
            raise UsageError("--models names the models of --backend; pass --backend too")
        for name in self.models or ():
            versions.check_name(name)
        for host in self.allow_host:
            if not _HOST.fullmatch(host):
                raise UsageError(
                    f"--allow-host {host!r} is not the name of a host; pass it without scheme and "
                    "port"
                )
        for origin in self.allow_origin:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"--allow-origin {origin!r} is not an origin; pass one like "
                    "http://localhost:3000, without a path, or *"
                )

    @property
    def threads(self) -> int:
        """Number of requests that are computed, or passed on, at once."""
        return self.workers or ((os.cpu_count() or 1) if self.backend is None else _PASSED_ON)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG,
        "Serve published models over TensorFlow Serving's REST interface on this machine, with a "
        "web page to explore them.",
    )
    add_flags(parser, ServeOptions)
    options = read_flags(parser.parse(argv), ServeOptions)
    versions.check_folder(options.saved_models)
    if options.data_dir is not None and not options.data_dir.is_dir():
        raise UsageError(
            f"--data-dir {options.data_dir} is not a folder; pass a folder of prepared data sets"
        )
    with listen(options.host, options.port) as listener:
        models, listing = served(options)
        # Before the start-up line, so that no answer takes the seconds of these imports; a client
        # that connects meanwhile waits. While tensorflow_datasets is imported, imports in other
        # threads can fail, so there must be none yet.
        import_quietly("tfgen.publishing.sampler", "tensorflow_datasets")
        from tfgen.nn.cores import share_cores

        # Else the requests would compete for all of them.
        share_cores(options.threads, split_batches=False)
        with ended_by_signals():
            serve(listener, models, listing, options)


def serve(
    listener: socket.socket, models: "Models", listing: "Listing", options: ServeOptions
) -> None:
    """Says what is served and where, and answers requests until a signal ends it."""
    from tfgen.serving.app import create_app
    from tfgen.serving.server import run

    app = create_app(models, listing, settings(options))
    if options.backend is None and not options.saved_models.is_dir():
        print(f"{options.saved_models} does not exist yet: the shipped models are served")
    print(started(len(listing.content()["models"]), listener, options), flush=True)
    if options.open:
        threading.Thread(target=open_page, args=(address(listener),), daemon=True).start()
    run(listener, app, options.timeout)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: the host is unknown, or not this machine's.
        WorkError: the port is taken or reserved.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not host:  # the empty name means all addresses
        raise UsageError("--host '' is empty; pass 0.0.0.0 to be reached by other machines")
    try:
        socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        return socket.create_server((host, port), family=family, backlog=1024)
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", "not a valid host name")
        raise UsageError(f"--host {host!r} is unknown ({reason})") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"--host {host} is not an address of this machine") from error
        faults = {
            errno.EADDRINUSE: "another program listens there; end it, or",
            errno.EACCES: "ports below 1024 are reserved;",
        }
        fault = faults.get(error.errno or 0, f"{os.strerror(error.errno or 0)};")
        raise WorkError(
            f"cannot listen on {host}:{port}: {fault} pass another --port (0 chooses a free one)"
        ) from error


@contextlib.contextmanager
def ended_by_signals() -> Any:
    """A context that Ctrl+C and SIGTERM end, as the usual end of a server.

    uvicorn answers the requests that have begun, and then sends itself the signal again.
    """

    def end(signum: int, frame: Any) -> None:
        raise SystemExit(0)

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def served(options: ServeOptions) -> "tuple[Models, Listing]":
    """What is served, and what the page shows of it.

    Raises:
        UsageError: the server of `--backend` has not one of the `--models`.
        WorkError: it does not answer.
    """
    from tfgen.serving.catalog import Catalog
    from tfgen.serving.data_images import DataImages
    from tfgen.serving.listing import Listing
    from tfgen.serving.local import LocalModels

    images = DataImages(options.data_dir)
    catalog = Catalog(options.saved_models)
    if options.backend is None:
        return LocalModels(catalog, options.max_batch), Listing(catalog, images)
    from tfgen.serving.backend import BackendListing, BackendModels

    models = BackendModels(options.backend, options.timeout, options.threads)
    listing = BackendListing(models, options.models, catalog, images)
    listing.check()
    return models, listing


def settings(options: ServeOptions) -> "Settings":
    """The limits of the server."""
    from tfgen.serving.app import Settings

    own = [] if options.host in ("0.0.0.0", "::") else [options.host]
    return Settings(
        workers=options.threads,
        queue=options.queue,
        max_body=round(1e6 * options.max_body),
        timeout=options.timeout,
        hosts=(*own, *options.allow_host),
        origins=options.allow_origin,
        # Without a standard error, there is no log.
        log=None if options.quiet or sys.stderr is None else log,
    )


def log(line: str) -> None:
    """Writes a line to standard error."""
    with contextlib.suppress(OSError, ValueError):  # the reader of a pipe has ended
        print(line, file=sys.stderr, flush=True)


def address(listener: socket.socket) -> str:
    """The URL of the server on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def started(count: int, listener: socket.socket, options: ServeOptions) -> str:
    """The line that says what is served and where."""
    source = f" of {options.backend}" if options.backend else ""
    return f"serving {count_noun(count, 'model')}{source} at {address(listener)} (Ctrl+C stops)"


def open_page(url: str) -> None:
    """Opens the page in the browser."""
    import webbrowser

    if not webbrowser.open(url):
        print(f"{PROG}: no browser was found; open {url} in one", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
