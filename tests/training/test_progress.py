"""What the terminal and TensorBoard show of an epoch."""

import io
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from rich.console import Console

from tfgen.models.classifier.model import Classifier
from tfgen.models.flow.model import Flow
from tfgen.models.gan.model import GAN
from tfgen.models.vae.model import VAE
from tfgen.training import callbacks
from tfgen.training.callbacks import MetricsLog, Position, ProgressBar
from tfgen.training.folder import RunFolder

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("model", "name"),
    [(VAE, "loss"), (GAN, "generator_loss"), (Flow, "loss"), (Classifier, "loss")],
)
def test_the_bar_shows_the_main_value_of_the_family(model: type, name: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    bar = ProgressBar(Position(2, 5, 10), 4, console)
    bar.set_model(SimpleNamespace(logged=model.logged))
    # Keras sorts the values by name.
    logs = {other: float(value) for value, other in enumerate(sorted(model.logged))}
    bar.on_train_batch_end(0, {**logs, name: 163.2})
    (task,) = bar.bar.tasks
    assert (task.description, task.completed) == (f"epoch 3  {name} 163.20", 25)


def test_an_epoch_is_wrapped_on_a_terminal_and_whole_in_the_log(tmp_path: Path) -> None:
    logs = {"kl": 22.98, "loss": 122.98, "val_loss": 117.44, "val_kl": 24.468}
    texts = {}
    for is_terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=is_terminal, width=40)
        position = Position(0, 0, 10, seconds=3.94)
        MetricsLog(RunFolder(tmp_path), position, 40, console).on_epoch_end(0, logs)
        texts[is_terminal] = console.file.getvalue()
    assert max(map(len, texts[True].splitlines())) <= 40
    assert texts[True].split() == texts[False].split()
    assert texts[False] == (
        "epoch  1/40  3.9 s  loss 122.98  kl 22.98  val_loss 117.44  val_kl 24.47\n"
    )
    assert RunFolder(tmp_path).read_metrics()[1].items() >= logs.items()


def test_a_run_of_many_epochs_has_grids_of_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "MAX_GRIDS", 3)
    for epochs, expected in ((3, [0, 1, 2]), (8, [2, 5])):
        board, model = callbacks.TensorBoard(RunFolder(tmp_path), epochs), Mock()
        model.preview.return_value = None  # draws nothing
        board.set_model(model)
        drawn = []
        for epoch in range(epochs):
            calls = model.preview.call_count
            board.on_epoch_end(epoch, {"loss": 1.0})
            drawn += [epoch] * (model.preview.call_count - calls)
        assert drawn == expected
