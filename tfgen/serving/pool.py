"""A bounded number of requests at once, each in a thread, of which only some compute."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tfgen.system.terminal import count_noun

# A context in which a thread may compute; it begins when one of those that compute has ended.
Turn: TypeAlias = Callable[[], contextlib.AbstractContextManager[None]]
# Seconds after which a client may ask again if the queue is full.
RETRY_AFTER = 1


class Pool:
    """Threads that answer requests, and compute in the order in which they ask for it.

    Args:
        workers: most threads that compute at once.
        queue: most requests that may wait, for their turn or for a version that is being opened.
        timeout: seconds after which a request is answered with status 504.

    Attributes:
        pending: number of requests that are computed or wait.
        finished: when the last request ended, by `time.monotonic`.
    """

    def __init__(self, workers: int, queue: int, timeout: float):
        self.limit, self.timeout = workers + queue, timeout
        self.pending, self.finished = 0, time.monotonic()
        self._threads = ThreadPoolExecutor(self.limit, "request")
        self._free = threading.Semaphore(workers)

    async def answer(self, request: Request, work: Callable[[Turn], Any]) -> Any:
        """Awaits the answer to a request for as long as its client waits for it.

        Args:
            request: the request; its body has been read.
            work: computes the answer. If nobody waits for it any more, it gets no turn.

        Returns:
            The answer; None if the client has gone.

        Raises:
            HTTPException: the queue is full (503), or the time is over (504).
        """
        is_over = threading.Event()

        @contextlib.contextmanager
        def turn() -> Iterator[None]:
            with self._free:
                if is_over.is_set():
                    raise CancelledError
                yield

        if self.pending >= self.limit:
            message = f"The server is busy: {count_noun(self.pending, 'request')} before this one"
            raise HTTPException(503, message, {"Retry-After": str(RETRY_AFTER)})
        self.pending += 1
        answer = asyncio.get_running_loop().run_in_executor(self._threads, work, turn)
        gone = asyncio.ensure_future(_wait_until_gone(request))
        try:
            await asyncio.wait(
                (answer, gone), timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if answer.done():
                return answer.result()
            if gone.done():
                return None
            message = f"Timed out after {self.timeout:g} s; ask for fewer rows at once"
            raise HTTPException(504, message)
        finally:
            is_over.set()
            answer.cancel()
            gone.cancel()
            self.pending -= 1
            self.finished = time.monotonic()

    def close(self) -> None:
        """Waits for what is computed."""
        self._threads.shutdown(cancel_futures=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
