"""Files and folders appear whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest

from tfgen.errors import UsageError
from tfgen.system import atomic

pytestmark = pytest.mark.quick


def test_a_fresh_folder_is_published_whole(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "published"
    with atomic.fresh_folder(target.parent, "writing") as folder:
        (folder / "file").write_text("content")
        assert not target.exists()
        atomic.publish(folder, target)
    assert [path.name for path in target.parent.iterdir()] == ["published"]
    assert (target / "file").read_text() == "content"
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_failure_leaves_nothing_behind_but_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    def fail() -> None:
        with atomic.fresh_folder(tmp_path / "a" / "b" / "c", "writing") as folder:
            (folder / "file").write_text("content")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_a_parent_that_holds_something_stays(tmp_path: Path) -> None:
    with atomic.fresh_folder(tmp_path / "a" / "b", "writing"):
        (tmp_path / "a" / "file").write_text("content")
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "file"}


def test_publishing_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").write_text("old")
    with (
        atomic.fresh_folder(tmp_path, "writing") as folder,
        pytest.raises(UsageError, match="target exists already"),
    ):
        (folder / "file").write_text("new")
        atomic.publish(folder, tmp_path / "target")
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


def test_an_interruption_right_after_the_creation_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = []

    def interrupted(path: Path, *args: int) -> None:
        os.close(os_open(path, *args))
        created.append(path)
        raise KeyboardInterrupt

    os_open = os.open
    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_bytes(tmp_path / "file", b"new")
    assert created and not list(tmp_path.iterdir())


def test_the_error_of_a_missing_folder_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        atomic.write_bytes(tmp_path / "none" / "file", b"")
    assert caught.value.filename == str(tmp_path / "none" / "file")


def test_arrays_are_read_back(tmp_path: Path) -> None:
    atomic.write_arrays(tmp_path / "file.npz", {"a": np.arange(3), "b": np.ones((2, 2))})
    with np.load(tmp_path / "file.npz") as file:
        np.testing.assert_array_equal(file["a"], np.arange(3))
        np.testing.assert_array_equal(file["b"], np.ones((2, 2)))
