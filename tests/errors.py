"""Errors as a person reads them: one line with everything it must say."""

from collections.abc import Callable

import pytest

from tfgen.errors import TfgenError, UsageError


def refuses(call: Callable[[], object], *parts: str, error: type[TfgenError] = UsageError) -> None:
    """Asserts that a call raises the error, in one line that contains all the parts."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
