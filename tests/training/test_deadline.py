"""The clock of a run: it ends on time whatever the machine does, and is repeated from its log."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests import commands
from tests.cli.test_train import SHORT, resume, train
from tests.cli.worlds import edit_json
from tests.conftest import Trained
from tfgen.training import checkpoint, deadline
from tfgen.training.deadline import Deadline
from tfgen.training.folder import RunFolder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The clock of the deadline, which only goes on when it is told to."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(deadline, "time", clock)
    return clock


def shares(run: Deadline, clock: Any, first: int, seconds: Callable[[int], float]) -> list[float]:
    """The share after each step from `first` on, which takes so many seconds, until the end."""
    run.begin_epoch()
    values = []
    while not run.is_over:
        clock.now += seconds(len(values))
        run.move(first + len(values) + 1)
        values.append(run.share)
    return values


@pytest.mark.parametrize("slower", [0.5, 1.0, 3.0])
def test_a_run_ends_on_time_on_a_machine_that_gets_slower_or_faster(
    slower: float, clock: Any, tmp_path: Path
) -> None:
    run = Deadline(RunFolder(tmp_path), 4.0, 0, clock.now - 20)
    run.after = 10.0
    values = shares(run, clock, 0, lambda step: slower if clock.now > 1110 else 1.0)
    # Within a step, and the steps that the mean of their times comes late by.
    assert clock.now + 10 * slower == pytest.approx(1220, abs=2 * slower)
    assert values == sorted(values) and values[-1] == 1
    assert max(np.diff(values)) < 0.06


def test_repeated_steps_have_their_shares_again_and_the_rest_of_the_time(
    clock: Any, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    values = shares(Deadline(folder, 2.0, 0, clock.now), clock, 0, lambda step: 0.4)
    points = folder.schedule.read_text().splitlines()
    assert len(points) < 130  # about one in a second
    assert shares(Deadline(folder, 2.0, 30, clock.now), clock, 30, lambda step: 0.1) == values[30:]
    # Of a run that was killed half way, only what is logged is repeated; half of the time is left.
    folder.schedule.write_text("\n".join([*points[:60], '{"step": 1']))
    last, minutes = json.loads(points[59]).values()
    began = clock.now
    again = shares(Deadline(folder, 2.0, 30, clock.now), clock, 30, lambda step: 0.4)
    assert again[: last - 30] == values[30:last]
    left = 60 * (2 - minutes) + 0.4 * (last - 30)
    assert clock.now - began == pytest.approx(left, abs=1)


@pytest.mark.slow
def test_a_killed_run_by_the_clock_ends_with_equal_weights_and_goes_on_for_more_minutes(
    trained: Trained, clock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By this clock, a step takes 0.45 s, and nothing else takes any time.
    clock.perf_counter, move = clock.monotonic, Deadline.move
    for module in ("tfgen.training.run", f"{commands.PACKAGE}.train"):
        monkeypatch.setattr(f"{module}.time", clock)

    def take_a_step(run: Deadline, step: int) -> bool:
        clock.now += 0.45
        return move(run, step)

    monkeypatch.setattr(Deadline, "move", take_a_step)
    run, flags = tmp_path / "run", ("--schedule", "cosine", "--no-publish")
    assert train(trained, "--minutes", 1, "--run-dir", run, *flags, short=SHORT[2:]) == 0
    older, newest = sorted((run / "checkpoints").glob("step-*"))
    expected = checkpoint.read(newest, "last")
    steps = json.loads((run / "schedule.jsonl").read_text().splitlines()[-1])["step"]
    assert steps == 133  # those of a minute; the last one is within an epoch
    assert newest.name == f"step-{steps:09d}"
    # As if it had been killed after that checkpoint.
    newest.rename(tmp_path / "later")
    epochs = checkpoint.read(older, "last").state["epoch"]
    options = json.loads((run / "config.json").read_text())["options"]
    edit_json(run / "config.json", options={**options, "epochs": 1})
    assert resume("--run-dir", run) == 0
    again = checkpoint.read(newest, "last")
    np.testing.assert_equal(again.arrays, expected.arrays)
    assert again.state["epoch"] == expected.state["epoch"] == epochs + 1
    assert json.loads((run / "config.json").read_text())["options"]["epochs"] == epochs + 1
    assert resume("--run-dir", run, "--minutes", 0.5) == 0
    options = json.loads((run / "config.json").read_text())["options"]
    assert options["minutes"] == 1.5 and options["epochs"] > epochs + 1
