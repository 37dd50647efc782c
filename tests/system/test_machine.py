"""Facts about the machine."""

from pathlib import Path

import pytest

from tfgen.system import machine

pytestmark = pytest.mark.quick


def test_memory_and_the_disk_of_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    assert 2**28 < machine.memory_bytes() < 2**50
    assert machine.free_disk_bytes(tmp_path / "a" / "b") > 0
