"""A bounded pool of threads that compute answers, with a queue of limited length."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tfgen.serving.refusal import busy
from tfgen.system.terminal import count_noun


class Pool:
    """Threads that compute answers step by step, in the order in which the steps are asked for.

    Args:
        workers: number of threads.
        queue: most requests that may wait, for a thread or for a version that is being opened.
        timeout: seconds after which a request is answered with status 504.

    Attributes:
        pending: number of requests that are computed or wait.
        finished: when the last request ended, by `time.monotonic`.
    """

    def __init__(self, workers: int, queue: int, timeout: float):
        self.limit, self.timeout = workers + queue, timeout
        self.pending, self.finished = 0, time.monotonic()
        self._workers = ThreadPoolExecutor(workers, "compute")
        # While a version is opened, the workers compute with others.
        self._waiting = ThreadPoolExecutor(self.limit, "wait")

    async def answer(
        self, request: Request, prepare: Callable[[], Any], steps: Iterator[Any]
    ) -> Any:
        """Awaits the answer to a request for as long as its client waits for it.

        Args:
            request: the request; its body has been read.
            prepare: waits for what the answer needs.
            steps: each `next` computes a part, and gives None until it gives the answer. It is not
                called again if nobody waits any more. Between two steps, others get their turn.

        Returns:
            The answer; None if the client has gone.

        Raises:
            HTTPException: the queue is full (503), or the time is over (504).
        """
        loop = asyncio.get_running_loop()

        async def work() -> Any:
            await loop.run_in_executor(self._waiting, prepare)
            while (part := await loop.run_in_executor(self._workers, next, steps)) is None:
                pass
            return part

        if self.pending >= self.limit:
            raise busy(f"{count_noun(self.pending, 'request')} before this one")
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
            raise HTTPException(504, f"Timed out after {self.timeout:g} s; ask for fewer rows")
        finally:
            answer.cancel()
            gone.cancel()
            self.pending -= 1
            self.finished = time.monotonic()

    def close(self) -> None:
        """Computes nothing more; does not wait for the threads."""
        self._waiting.shutdown(wait=False, cancel_futures=True)
        self._workers.shutdown(wait=False, cancel_futures=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
