"""A line on the terminal that says what is being done. No rich here: it appears at once."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator

# What is being done, the innermost last.
_steps: list[str] = []


@contextlib.contextmanager
def status(step: str) -> Iterator[None]:
    """A context that shows a line on standard error, and removes it at the end.

    Does nothing if standard error is no terminal. Within another such context, the line stands in
    place of the outer one.

    Args:
        step: what is being done, for example `loading data`.
    """
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    _steps.append(step)
    try:
        _show_last()
        yield
    finally:
        _steps.pop()
        _show_last()


def note(line: str) -> None:
    """Prints a line on standard error, above the status if one is shown."""
    erase = "\r\x1b[K" if _steps else ""
    print(f"{erase}{line}", file=sys.stderr)
    if _steps:
        _show_last()


def _show_last() -> None:
    # Back to the start of the line, and erase it.
    line = f"{_steps[-1]} …"[: shutil.get_terminal_size().columns - 1] if _steps else ""
    # The terminal may be gone, or the text not be in its encoding: the work goes on.
    with contextlib.suppress(OSError, ValueError):
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
