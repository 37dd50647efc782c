"""SIGINT and SIGTERM: their handlers, and both as a request to save the state and end."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def same_handlers() -> Iterator[bool]:
    """A context at whose end the handlers of both signals are those of its start.

    Yields whether this is the main thread; only there may handlers be set.
    """
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {signum: signal.getsignal(signum) for signum in SIGNALS if is_main}
    try:
        yield is_main
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


class InterruptRequest(contextlib.ExitStack):
    """A context that records the first signal; a second one has its usual effect.

    Attributes:
        signum: number of the recorded signal, or None.
    """

    signum: int | None = None

    def __enter__(self) -> Self:
        if self.enter_context(same_handlers()):
            for signum in SIGNALS:
                signal.signal(signum, self._record)
        return self

    def _record(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        self.close()  # restores the handlers
