"""What a request is answered with instead of a result."""

# Most characters of a name that an error repeats.
_MAX_NAME = 100


class RefusalError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        message: text of the answer's `error`, in one line.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


def not_found(name: str, number: int | None = None) -> RefusalError:
    """The refusal of a model or a version that is not served, in TensorFlow Serving's words."""
    name = name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"
    asked = f"Latest({name})" if number is None else f"Specific({name}, {number})"
    return RefusalError(404, f"Servable not found for request: {asked}")


def invalid(message: str) -> RefusalError:
    """The refusal of a request that can never be answered."""
    return RefusalError(400, message)
