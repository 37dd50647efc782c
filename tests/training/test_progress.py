"""What the terminal, metrics.jsonl and TensorBoard show of an epoch."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from rich.console import Console

from tfgen import GAN, VAE, Classifier, Flow
from tfgen.training import reports
from tfgen.training.folder import RunFolder
from tfgen.training.reports import Reports
from tfgen.training.run import Position, Run


class RunOfEpochs(SimpleNamespace):
    """A run that is not by the clock."""

    deadline, done, is_finished = None, Run.done, Run.is_finished


def reports_of(folder: Path, position: Position, epochs: int, console: Console) -> Reports:
    """The reports of a run whose model draws nothing."""
    return Reports(
        RunOfEpochs(
            name="vae",
            folder=RunFolder(folder),
            options=SimpleNamespace(epochs=epochs, preset="mlp"),
            position=position,
            console=console,
            model=Mock(**{"preview.return_value": None}),
        )
    )


@pytest.mark.parametrize(
    ("model", "name"),
    [(VAE, "loss"), (GAN, "generator_loss"), (Flow, "loss"), (Classifier, "loss")],
)
def test_the_bar_shows_the_main_value_of_the_family(model: Any, name: str, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    shown = reports_of(tmp_path, Position(2, 5, 10), 4, console)
    shown._run.model.logged = model.logged
    shown.move_bar({**dict.fromkeys(sorted(model.logged), 1.0), name: 163.2})
    (task,) = shown.bar.tasks
    assert (task.description, task.completed) == (f"epoch 3  {name} 163.20", 25 / 40)


@pytest.mark.parametrize("silence", [-1, 60])
def test_a_log_without_a_terminal_has_a_line_after_a_silence(
    silence: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_SILENCE", silence)
    console = Console(file=io.StringIO(), width=80)
    shown = reports_of(tmp_path, Position(2, 5, 10), 4, console)
    shown._run.model.logged = ("loss",)
    shown.move_bar({"loss": 163.2})
    expected = "epoch 3  loss 163.20  step 5 of 10\n" if silence < 0 else ""
    assert console.file.getvalue() == expected


def test_an_epoch_is_wrapped_on_a_terminal_and_whole_in_the_log(tmp_path: Path) -> None:
    logs = {"kl": 22.98, "loss": 122.98, "val_loss": 117.44, "val_kl": 24.468}
    texts = {}
    for is_terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=is_terminal, width=40)
        reports_of(tmp_path, Position(0, 0, 10, seconds=3.94), 40, console).write(1, logs)
        texts[is_terminal] = console.file.getvalue()
    assert max(map(len, texts[True].splitlines())) <= 40
    assert texts[True].split() == texts[False].split()
    assert texts[False] == (
        "epoch  1/40  3.9 s  loss 122.98  kl 22.98  val_loss 117.44  val_kl 24.47\n"
    )
    assert RunFolder(tmp_path).read_metrics()[1].items() >= logs.items()


@pytest.mark.parametrize(
    ("epochs", "expected"), [(3, [0, 1, 2, 3]), (13, [0, 2, 4, 6, 8, 10, 12, 13])]
)
def test_a_run_of_many_epochs_draws_after_few_and_once(
    epochs: int, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = reports_of(tmp_path, Position(0, 0, 1), epochs, Console(quiet=True))
    for name in ("_write_curves", "_write_pictures"):
        monkeypatch.setattr(shown, name, lambda: None)
    shown._run.dataset = SimpleNamespace(class_names=None)
    shown._run.model.preview.return_value = np.zeros((4, 6, 6, 1)), None
    shown._run.model.num_classes = 0
    for epoch in range(epochs + 1):
        shown._run.position.epoch = epoch
        shown.draw(epoch)
    drawn = sorted(int(path.stem.split("-")[1]) for path in tmp_path.glob("figures/samples-*"))
    assert drawn == expected
    assert shown._run.model.preview.call_count == len(expected)
