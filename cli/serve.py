"""`tfgen-serve`: TensorFlow Serving's REST interface on this machine, and a web page."""

import errno
import os
import re
import socket
import sys
import threading
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from tfgen.errors import UsageError, WorkError
from tfgen.publishing import versions
from tfgen.publishing.artifacts import identify
from tfgen.settings.fields import Config, option
from tfgen.system.quiet import import_quietly
from tfgen.system.terminal import count_noun

from ._command import SAVED_MODELS, command

# Addresses that stand for all of this machine, and where the machine itself reaches them.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class ServeOptions(Config):
    """The flags of `tfgen-serve`."""

    saved_models: Path = option(
        SAVED_MODELS, "folder of published models; new versions are served when they appear"
    )
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 lets other machines connect")
    port: int = option(8501, "port to listen on; 0 chooses a free one", minimum=0, maximum=65_535)
    open: bool = option(False, "open the page in the browser")
    models: tuple[str, ...] | None = option(None, "names or archives to serve (default: all)")
    data_dir: Path | None = option(
        None, "folder of prepared data sets, for real images on the page (default: MNIST only)"
    )
    workers: int | None = option(
        None,
        "requests computed at once (default: one per core or two per GPU)",
        minimum=1,
        maximum=256,
    )
    queue: int = option(100, "maximum number of waiting requests; others get status 503", minimum=0)
    max_batch: int = option(1000, "maximum batch size of a request", minimum=1)
    max_body: float = option(64.0, "maximum body size of a request [MB]", above=0, maximum=2048)
    timeout: float = option(60.0, "time limit for an answer [s]", above=0, maximum=86_400)
    allow_host: tuple[str, ...] = option(
        (),
        "further host names of this server, besides localhost and --host; with --host 0.0.0.0 and "
        "no --allow-host, any Host header is accepted, so DNS rebinding is not prevented",
    )
    allow_origin: tuple[str, ...] = option(
        (), "origins whose pages may read answers, such as http://localhost:3000; * for all (CORS)"
    )
    quiet: bool = option(False, "do not log requests")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.host:  # all addresses, to Python
            raise UsageError("--host is empty; pass 0.0.0.0 to be reached by other machines")
        for flag, values, pattern, form in (
            ("host", self.allow_host, r"[\w.-]+", "the name of a host, without scheme and port"),
            ("origin", self.allow_origin, r"\*|\w+://[^/\s]+", "like http://localhost:3000, or *"),
        ):
            for value in values:
                if not re.fullmatch(pattern, value):
                    raise UsageError(f"--allow-{flag} {value!r} is not {form}")
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise UsageError(f"--data-dir {self.data_dir} is not a folder")


@command("tfgen-serve", ServeOptions)
def main(options: ServeOptions) -> None:
    """Serve published models over TensorFlow Serving's REST interface on this machine.

    A web page of the server explores them.
    """
    versions.read_folder(options.saved_models)
    with listen(options.host, options.port) as listener:
        only: dict[str, versions.Version | None] = {}
        for name in options.models or ():
            if (version := identify(name, options.saved_models).version) is None:
                raise UsageError(f"--models: {name} is not a published model")
            only[version.name] = None if name == version.name else version
        # Before the start-up line, so that no answer takes the seconds of these imports; a client
        # that connects meanwhile waits. While tensorflow_datasets is imported, imports in other
        # threads can fail, so there must be none yet.
        import_quietly("tfgen.publishing.sampler", "tensorflow_datasets")
        from tfgen.nn import gpu
        from tfgen.nn.cores import share_cores
        from tfgen.serving.app import Settings, create_app, run
        from tfgen.serving.models import Models

        models = Models(options.saved_models, options.max_batch, only)
        workers = options.workers or 2 * len(gpu.visible()) or os.cpu_count() or 1
        # Else the requests would compete for all of them.
        share_cores(workers, split_batches=False)
        # Other machines may know this one by any address, unless --allow-host says by which.
        own = "*" if options.host in _WILDCARDS and not options.allow_host else options.host
        limits = workers, options.queue, round(1e6 * options.max_body), options.timeout
        settings = Settings(*limits, (bracketed(own), *options.allow_host), options.allow_origin)
        app = create_app(models, settings, options.data_dir)
        if options.models is None and not options.saved_models.is_dir():
            print(f"{options.saved_models} does not exist yet: the shipped models are served")
        host, port = listener.getsockname()[:2]
        url = f"http://{bracketed(_WILDCARDS.get(host, host))}:{port}"
        count = count_noun(sum(1 for _ in models.listed()), "model")
        print(f"serving {count} at {url} (Ctrl+C stops)", flush=True)
        if options.open:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        # Without a standard error, there is no log.
        run(listener, app, options.timeout, not options.quiet and sys.stderr is not None)


def bracketed(host: str) -> str:
    """A host as a URL has it."""
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: the host is unknown, or not this machine's.
        WorkError: the port is taken or reserved.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        is_taken = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
        advice = "--port (0 chooses a free one)" if is_taken else "--host"
        reason = getattr(error, "strerror", error)
        text = f"cannot listen on {host}:{port}: {reason}; pass another {advice}"
        raise (WorkError if is_taken else UsageError)(text) from error
    # Connections inherit it. Otherwise the body of an answer waits until the client has
    # acknowledged the head, up to 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
