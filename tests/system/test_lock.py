"""A folder belongs to one process at a time."""

from pathlib import Path

import pytest

from tfgen.errors import UsageError
from tfgen.system.lock import LOCK, locked

pytestmark = pytest.mark.quick


def test_a_lock_is_exclusive_and_ends_with_its_context(tmp_path: Path) -> None:
    def lock() -> None:
        with locked(tmp_path, "folder x", "choose another"):
            assert (tmp_path / LOCK).exists()

    lock()
    with (
        locked(tmp_path, "folder x", "choose another"),
        pytest.raises(UsageError, match=r"^folder x is in use by another process; .* or choose"),
    ):
        lock()
    lock()


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"^folder x is not writable \(.*\); choose another$"),
        locked(tmp_path / "none", "folder x", "choose another"),
    ):
        pass
