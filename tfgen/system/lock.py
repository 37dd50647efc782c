"""A folder that one process at a time may write to."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tfgen.errors import UsageError

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path, title: str, remedy: str) -> Iterator[None]:
    """A context in which the folder belongs to this process alone.

    The operating system releases the lock however the process ends. Its file stays, because a
    process that waits to open it would otherwise lock a file that no longer has a name.

    Args:
        folder: the folder, which exists.
        title: what errors call the folder.
        remedy: what to do about an error, for example `choose another folder`.

    Raises:
        UsageError: another process uses the folder, or it is not writable.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UsageError(f"{title} is not writable ({error.strerror}); {remedy}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{title} is in use by another process; wait for its end, or {remedy}"
            ) from None
        yield
    finally:
        os.close(descriptor)
