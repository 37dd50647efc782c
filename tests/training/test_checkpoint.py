"""Checkpoints: whole or not at all, kept and read by age, and never silently damaged."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tfgen.errors import WorkError
from tfgen.training import checkpoint

pytestmark = pytest.mark.quick

ARRAYS = {"weights/000": np.arange(50.0), "metrics/000": np.float64(0.1)}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        checkpoint.save_step(folder, step, ARRAYS, {"step": step})


def newest_step(folder: Path) -> int:
    newest, problems = checkpoint.read_newest(folder)
    assert newest is not None
    assert not problems
    step: int = newest.state["step"]
    return step


def damage(folder: Path) -> None:
    content = bytearray((folder / "arrays.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "arrays.npz").write_bytes(content)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    state = {"epoch": 1, "seconds": 0.5}
    checkpoint.save_step(tmp_path, 7, ARRAYS, state)
    restored, problems = checkpoint.read_newest(tmp_path)
    assert restored is not None
    assert (restored.path.name, restored.state, problems) == ("step-000000007", state, [])
    assert restored.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(restored.arrays[name], array)


def test_the_restored_checkpoint_outlives_the_one_that_was_passed_over(tmp_path: Path) -> None:
    save(tmp_path, 10, 20)
    # Unreadable when the run resumed, and readable again.
    path = checkpoint.save_step(tmp_path, 11, ARRAYS, {}, tmp_path / "step-000000010")
    assert names(tmp_path) == {"step-000000010", "step-000000011"}
    checkpoint.save_step(tmp_path, 12, ARRAYS, {}, path)
    assert names(tmp_path) == {"step-000000011", "step-000000012"}


def test_the_newest_is_the_one_that_was_written_last_even_if_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([9, 8, 7])
    monkeypatch.setattr(checkpoint.time, "time_ns", lambda: next(times))
    assert checkpoint.read_newest(tmp_path) == (None, [])
    save(tmp_path, 20, 10, 11)
    assert newest_step(tmp_path) == 11
    # Two are kept.
    assert names(tmp_path) == {"step-000000010", "step-000000011"}


def test_checkpoints_of_earlier_versions_are_ordered_by_their_time_stamps(tmp_path: Path) -> None:
    save(tmp_path, 20, 10)
    for step, seconds in ((10, 2_000), (20, 1_000)):
        path = tmp_path / f"step-{step:09d}"
        (path / "state.json").write_text(json.dumps({"step": step}))
        hashes = {p: checkpoint.file_sha256(path / p) for p in ("arrays.npz", "state.json")}
        (path / "sha256.json").write_text(json.dumps(hashes))
        os.utime(path, (seconds, seconds))
    assert newest_step(tmp_path) == 10
    save(tmp_path, 5)
    assert names(tmp_path) == {"step-000000005", "step-000000010"}
    assert newest_step(tmp_path) == 5


@pytest.mark.parametrize(
    "break_checkpoint",
    [
        damage,
        lambda path: (path / "arrays.npz").unlink(),
        lambda path: (path / "sha256.json").write_text("{}"),
        lambda path: (path / "state.json").write_text("{"),
    ],
)
def test_a_broken_newest_one_is_reported_and_the_one_before_is_used(
    break_checkpoint, tmp_path: Path
) -> None:
    save(tmp_path, 10, 20)
    break_checkpoint(tmp_path / "step-000000020")
    restored, problems = checkpoint.read_newest(tmp_path)
    assert restored is not None
    assert restored.state == {"step": 10}
    assert len(problems) == 1
    assert "step-000000020" in problems[0]


def test_the_best_is_the_one_that_was_written_last(tmp_path: Path) -> None:
    for epoch in (3, 2):
        checkpoint.save_best(tmp_path, epoch, ARRAYS, {"epoch": epoch})
    assert names(tmp_path) == {"best-000002"}
    # A kill between writing the new one and removing the old one leaves both.
    shutil.copytree(tmp_path / "best-000002", tmp_path / "old")
    checkpoint.save_best(tmp_path, 1, ARRAYS, {"epoch": 1})
    (tmp_path / "old").rename(tmp_path / "best-000002")
    best = checkpoint.read_best(tmp_path)
    assert best is not None
    assert best.state == {"epoch": 1}


def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.np, "savez", fail)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 2)
    assert names(tmp_path) == {"step-000000001"}
    assert newest_step(tmp_path) == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones(2)}, "lacks b; it is of another model"),
        ({"a": np.ones(2), "b": np.ones(3)}, "b has size 3 in the checkpoint and 2 in the model"),
    ],
)
def test_arrays_of_another_model_change_no_variable(arrays: dict, message: str) -> None:
    changed = []
    variables = {
        name: SimpleNamespace(shape=(2,), assign=lambda value: changed.append(value))
        for name in ("a", "b")
    }
    with pytest.raises(WorkError, match=message):
        checkpoint.assign(variables, arrays)
    assert not changed
