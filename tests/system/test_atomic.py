"""Files and folders appear whole or not at all, and a folder has one writer at a time."""

import os
from pathlib import Path

import pytest

from tfgen.errors import UsageError
from tfgen.system import atomic


def test_a_fresh_folder_is_published_whole(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "published"
    with atomic.fresh_folder(target.parent, "writing") as folder:
        (folder / "file").write_text("content")
        assert not target.exists()
        atomic.move_into_place(folder, target)
    assert [path.name for path in target.parent.iterdir()] == ["published"]
    assert (target / "file").read_text() == "content"
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_fresh_folder_may_hold_another_one(tmp_path: Path) -> None:
    with (
        atomic.fresh_folder(tmp_path, "hub") as outer,
        atomic.fresh_folder(outer, "page") as inner,
    ):
        # Both are held: nobody takes them for abandoned.
        atomic.remove_abandoned(tmp_path, "hub")
        atomic.remove_abandoned(outer, "page")
        assert inner.is_dir()
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind_but_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    place = tmp_path / "a" / "b" / "c"
    with pytest.raises(KeyError), atomic.fresh_folder(place, "writing") as folder:
        (folder / "file").write_text("content")
        raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_publishing_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").write_text("old")
    with (
        atomic.fresh_folder(tmp_path, "writing") as folder,
        pytest.raises(UsageError, match="target exists already"),
    ):
        (folder / "file").write_text("new")
        atomic.move_into_place(folder, tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "old"


def test_a_file_is_replaced_with_the_usual_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        atomic.write_bytes(tmp_path / "file", b"old")
        atomic.write_bytes(tmp_path / "file", b"new")
    finally:
        os.umask(umask)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atomic.write_bytes(tmp_path / "file", b"old")

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_lock_is_exclusive_and_ends_with_its_context(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            atomic.locked(tmp_path, "folder x", "choose another"),
            pytest.raises(UsageError, match="folder x is in use"),
            atomic.locked(tmp_path, "folder x", "choose another"),
        ):
            pass
