"""Work in several threads whose results come in order, a bounded number at a time."""

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

# Calls that are running or whose results are waiting, for each thread: enough to keep all threads
# busy, and a bound for the memory.
_WAITING = 4
# Items of one call if calls are short.
_PART = 16

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_order(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Calls a function for each item in several threads; yields the results in order.

    For short calls, `map_short` is faster.
    """
    threads = usable_cores()
    waiting: collections.deque[Future[_Result]] = collections.deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= threads * _WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def map_short(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """As `map_in_order`, with several items at a time for each thread."""
    parts = map_in_order(lambda part: [function(item) for item in part], parts_of(items, _PART))
    return itertools.chain.from_iterable(parts)


def parts_of(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """The items in consecutive parts of that size; the last part may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))


def usable_cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
