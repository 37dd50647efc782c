"""Checkpoints: whole or not at all, the newest ones kept, and never silently damaged."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cli.worlds import flip
from tfgen.errors import WorkError
from tfgen.training import checkpoint

ARRAYS = {"weights/000": np.arange(50.0), "metrics/000": np.float64(0.1)}


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[2]) for path in folder.iterdir())


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        checkpoint.save(folder, "step", step, ARRAYS, {"step": step})


def newest_step(folder: Path) -> int:
    newest, problems = checkpoint.read_newest(folder)
    assert newest is not None and not problems
    return int(newest.state["step"])


def damage(folder: Path) -> None:
    flip(folder / "arrays.npz")


def test_what_is_saved_is_read_back_and_two_are_kept(tmp_path: Path) -> None:
    assert checkpoint.read_newest(tmp_path) == (None, [])
    save(tmp_path, 1, 2, 100)
    assert numbers(tmp_path) == [2, 100]
    assert newest_step(tmp_path) == 100
    restored, _ = checkpoint.read_newest(tmp_path)
    assert restored is not None and restored.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(restored.arrays[name], array)


@pytest.mark.parametrize(
    "break_checkpoint",
    [
        damage,
        lambda path: (path / "arrays.npz").unlink(),
        lambda path: (path / "sha256.json").write_text("{}"),
        lambda path: (path / "sha256.json").write_text("[" * 100_000),
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
    assert len(problems) == 1 and "step-000000020" in problems[0]
    # The run goes on from there: what it restored outlives what it passed over.
    save(tmp_path, 11)
    assert numbers(tmp_path) == [10, 11]
    assert newest_step(tmp_path) == 11


def test_one_best_and_all_epochs_are_kept(tmp_path: Path) -> None:
    for epoch in (3, 2, 4):
        for kind in ("best", "epoch"):
            checkpoint.save(tmp_path / kind, kind, epoch, ARRAYS, {"epoch": epoch})
        best = checkpoint.read_best(tmp_path / "best")
        assert best is not None and best.state == {"epoch": epoch}
    assert numbers(tmp_path / "best") == [4]
    assert numbers(tmp_path / "epoch") == [2, 3, 4]


@pytest.mark.parametrize("other", [{}, {"weights/001": np.ones(3)}])
def test_arrays_of_another_model_change_no_variable(other: dict, tmp_path: Path) -> None:
    changed: list[object] = []
    weights = [SimpleNamespace(shape=(2,), assign=changed.append) for _ in range(2)]
    model = SimpleNamespace(saved_weights=lambda: weights, metrics_variables=[], optimizers={})
    restored = checkpoint.Checkpoint(tmp_path, {"weights/000": np.ones(2), **other}, {}, "last")
    with pytest.raises(WorkError, match="another model"):
        restored.restore(model, "weights")
    assert not changed
