"""Errors that a request is answered with, and errors that no answer can tell."""

import contextlib
import sys

from starlette.exceptions import HTTPException

from tfgen.errors import printable


def not_found(name: str, number: int | None = None) -> HTTPException:
    """The error for a model or a version that is not served, in TensorFlow Serving's words."""
    asked = f"Latest({name[:100]})" if number is None else f"Specific({name[:100]}, {number})"
    return HTTPException(404, f"Servable not found for request: {asked}")


def invalid(message: str) -> HTTPException:
    """The error for a request that can never be answered."""
    return HTTPException(400, message)


def busy(message: str) -> HTTPException:
    """The error for a request that can be answered later."""
    return HTTPException(503, f"The server is busy: {message}", {"Retry-After": "1"})


def report_error(text: str) -> None:
    """Writes an error to standard error, in one line; never fails."""
    line = printable(" ".join(text.split()))
    with contextlib.suppress(OSError, ValueError):  # the reader of a pipe has ended
        print(f"tfgen-serve: error: {line}", file=sys.stderr, flush=True)
