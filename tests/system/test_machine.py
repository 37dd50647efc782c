"""Facts about the machine: memory within the limits of control groups, disks."""

from pathlib import Path

import pytest

from tfgen.system import machine

pytestmark = pytest.mark.quick


def write_limits(root: Path, limits: dict[str, str]) -> None:
    for name, text in limits.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_every_group_above_limits_the_memory(tmp_path: Path) -> None:
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text("0::/user.slice/job\n")
    write_limits(root, {"user.slice/job/memory.max": "max", "user.slice/memory.max": "4096"})
    assert machine._group_limits(groups, root) == [4096]


def test_the_memory_limit_of_version_1(tmp_path: Path) -> None:
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text("9:cpu,cpuacct:/a\n4:memory:/docker/b\n0::/c\n")
    # In a container, its own group is the root.
    write_limits(root, {"memory/memory.limit_in_bytes": "8192", "cpu/memory.limit_in_bytes": "1"})
    assert machine._group_limits(groups, root) == [8192]


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert machine._group_limits(tmp_path / "none", tmp_path) == []
    assert 2**28 < machine.memory_bytes() < 2**50


def test_the_disk_of_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert machine.existing_folder(path) == tmp_path
    assert machine.disk_of(path) == tmp_path.stat().st_dev
    assert machine.free_disk_bytes(path) > 0
