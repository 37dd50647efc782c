"""A bounded pool of threads that compute answers, with a queue of limited length."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from tfgen.serving.refusal import RefusalError
from tfgen.system.terminal import count_noun

T = TypeVar("T")
# Seconds after which a client may ask again if the queue is full.
RETRY_AFTER = 1


class Pool:
    """Threads that compute what is asked for, in the order in which it is asked for.

    Args:
        workers: number of threads.
        queue: most calls that may wait for a thread.
        timeout: seconds after which a call is answered with status 504.
    """

    def __init__(self, workers: int, queue: int, timeout: float):
        self.workers, self.queue, self.timeout = workers, queue, timeout
        self._executor = ThreadPoolExecutor(workers, "compute")
        self._pending = 0
        self._finished = time.monotonic()
        self._changed = threading.Condition()

    @property
    def pending(self) -> int:
        """Number of calls that are computed or wait."""
        return self._pending

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last call was finished; 0 if one is computed or waits."""
        with self._changed:
            return 0.0 if self._pending else time.monotonic() - self._finished

    async def run(
        self, function: Callable[[], T], wait_until_gone: Callable[[], Coroutine[Any, Any, None]]
    ) -> T | None:
        """Computes a function in one of the threads.

        Args:
            function: computes the answer.
            wait_until_gone: ends when nobody waits for the answer any more. A call that has not
                begun then leaves the queue.

        Returns:
            What the function returns; None if nobody waits any more.

        Raises:
            RefusalError: the queue is full (503), or the time is over (504).
        """
        future = asyncio.wrap_future(self._submit(function))
        gone = asyncio.ensure_future(wait_until_gone())
        try:
            await asyncio.wait(
                (future, gone), timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if future.done():
                return future.result()
            if gone.done():
                return None
            raise RefusalError(
                504, f"Timed out after {self.timeout:g} s; ask for fewer rows at once"
            )
        finally:
            gone.cancel()
            future.cancel()

    def _submit(self, function: Callable[[], T]) -> Future[T]:
        with self._changed:
            if self._pending >= self.workers + self.queue:
                raise RefusalError(
                    503,
                    f"The server is busy: {count_noun(self._pending, 'request')} before this one",
                    {"Retry-After": str(RETRY_AFTER)},
                )
            self._pending += 1
        # The executor's queue keeps a call that is cancelled, but not the function, which may hold
        # a large body.
        waiting = [function]
        future = self._executor.submit(lambda: waiting.pop()())
        future.add_done_callback(lambda _: waiting.clear())
        future.add_done_callback(self._finish)
        return future

    def _finish(self, future: Future) -> None:
        with self._changed:
            self._pending -= 1
            self._finished = time.monotonic()
            self._changed.notify_all()

    def wait_until_idle(self, timeout: float) -> bool:
        """Waits until nothing is computed; returns whether that is so within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout)

    def close(self) -> None:
        """Drops what waits, and waits for what is computed."""
        self._executor.shutdown(cancel_futures=True)
