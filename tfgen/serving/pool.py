"""A bounded pool of threads that compute answers, with a queue of limited length."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tfgen.system.terminal import count_noun

T = TypeVar("T")
# Seconds after which a client may ask again if the queue is full.
RETRY_AFTER = 1


class Pool:
    """Threads that compute answers, in the order in which they are asked for.

    Args:
        workers: number of threads.
        queue: most requests that may wait, for a thread or for a version that is being opened.
        timeout: seconds after which a request is answered with status 504.

    Attributes:
        pending: number of requests that are computed or wait.
        finished: when the last request ended, by `time.monotonic`.
    """

    def __init__(self, workers: int, queue: int, timeout: float):
        self.workers, self.queue, self.timeout = workers, queue, timeout
        self.pending, self.finished = 0, time.monotonic()
        self._executor = ThreadPoolExecutor(workers, "compute")
        self._free = asyncio.Semaphore(workers)

    async def compute(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a function in one of the threads, as soon as one is free."""
        async with self._free:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, function, *arguments)

    async def answer(
        self, request: Request, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T | None:
        """Awaits the answer to a request for as long as its client waits for it.

        Args:
            request: the request; its body has been read.
            work: computes the answer. If nobody waits for it any more, it is cancelled.

        Returns:
            The answer; None if the client has gone.

        Raises:
            HTTPException: the queue is full (503), or the time is over (504).
        """
        if self.pending >= self.workers + self.queue:
            message = f"The server is busy: {count_noun(self.pending, 'request')} before this one"
            raise HTTPException(503, message, {"Retry-After": str(RETRY_AFTER)})
        self.pending += 1
        answer = asyncio.ensure_future(work())
        gone = asyncio.ensure_future(_wait_until_gone(request))
        try:
            await asyncio.wait(
                (answer, gone), timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if answer.done():
                return answer.result()
            if gone.done():
                return None
            raise HTTPException(
                504, f"Timed out after {self.timeout:g} s; ask for fewer rows at once"
            )
        finally:
            answer.cancel()
            gone.cancel()
            self.pending -= 1
            self.finished = time.monotonic()

    def close(self) -> None:
        """Waits for what is computed."""
        self._executor.shutdown(cancel_futures=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
