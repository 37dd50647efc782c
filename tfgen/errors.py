"""The errors that tfgen raises on purpose, each with an exit status.

A message is one line that says what was wrong, with which value, and what would be right.
"""

import errno
from collections.abc import Iterable


class TfgenError(Exception):
    """Base class of all errors that tfgen raises on purpose.

    Attributes:
        exit_status: exit status of a command that ends with this error.
    """

    exit_status = 1


class UsageError(TfgenError, ValueError):
    """The request was wrong: an unknown name, a value out of range, a damaged file."""

    exit_status = 2


class WorkError(TfgenError, RuntimeError):
    """The request was right, but the work failed: a non-finite loss, a full disk."""


class InterruptedRunError(TfgenError):
    """A signal ended the run, after its state was saved.

    Args:
        message: one line.
        signum: number of the signal; the exit status is 128 + `signum`, as in a shell.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum
        self.exit_status = 128 + signum


def size_text(shape: Iterable[int | None]) -> str:
    """A `shape` as messages write it: `28 × 28 × 1`; `?` stands for a side that is not known."""
    return " × ".join("?" if side is None else str(side) for side in shape)


def printable(text: object) -> str:
    """A text, or a path, in one line; what is neither printable nor UTF-8 is escaped: `caf\\xe9`.

    Texts of files that anybody may have written could otherwise move the cursor.
    """
    # Python has bytes that are not UTF-8 as U+DC80 to U+DCFF.
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return "".join(escaped).replace("\\udc", "\\x")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class."""
    lines = map(str.strip, str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:160]


def describe(error: BaseException) -> str:
    """The class and the message of an error, in one line of at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def original_error(error: BaseException) -> BaseException:
    """TensorFlow's own error behind a `TypeError` of Keras, or else `error` itself.

    Keras rebuilds an error from its message alone. The constructors of TensorFlow's errors need
    more arguments, so a `TypeError` hides them.
    """
    first: BaseException | None = error if isinstance(error, TypeError) else None
    while first is not None:
        if any(base.__name__ == "OpError" for base in type(first).__mro__):
            return first
        first = first.__cause__ or first.__context__
    return error


def os_error_text(error: OSError) -> str:
    """An error of the operating system in one line, with what to do about it."""
    where = f": {error.filename}" if error.filename else ""
    advice = "; free some space and try again" if error.errno == errno.ENOSPC else ""
    return f"{error.strerror or error}{where}{advice}"
