"""Errors that no answer can tell: a line on standard error."""

import contextlib
import sys


def report_error(text: str) -> None:
    """Writes an error to standard error, in one line; never fails."""
    line = " ".join(text.split())
    with contextlib.suppress(OSError, ValueError):  # the reader of a pipe has ended
        print(f"tfgen-serve: error: {line}", file=sys.stderr, flush=True)
