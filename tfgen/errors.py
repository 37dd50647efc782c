"""What tfgen raises when it refuses a request or fails at its work.

Both kinds carry the exit status that the console scripts end with, and a message of one line that
says what was wrong, with which value, and what would be right.
"""


class TfgenError(Exception):
    """Base of every error that tfgen raises on purpose."""

    exit_status = 1


class UsageError(TfgenError, ValueError):
    """The request was wrong: an unknown name, a value out of range, an input that is not what it
    claims."""

    exit_status = 2


class WorkError(TfgenError, RuntimeError):
    """The request was right, the work failed: a non-finite loss, a full disk, a broken
    checkpoint."""

    exit_status = 1


class InterruptedRunError(TfgenError):
    """A signal ended the run after its state was saved.

    Attributes:
        signum: the signal's number; the exit status is 128 more, as shells have it.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum
        self.exit_status = 128 + signum
