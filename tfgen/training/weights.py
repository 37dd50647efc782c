"""Which weights of a run: the best ones, the last ones, or those after an epoch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfgen.errors import UsageError
from tfgen.system.terminal import count_noun, format_value
from tfgen.training import checkpoint
from tfgen.training.checkpoint import Checkpoint
from tfgen.training.folder import RunFolder

# The help text of `--weights`, and what `check_choice` accepts.
WEIGHTS_HELP = (
    "weights of a run: best (by validation), last, or the number of an epoch that --keep-every of "
    "tfgen-train kept"
)


@dataclass(frozen=True)
class Weights:
    """Weights of a run, in memory.

    Attributes:
        checkpoint: the checkpoint that holds them.
        name: `best`, `last` or `epoch <number>`.
    """

    checkpoint: Checkpoint
    name: str

    @property
    def origin(self) -> dict[str, Any]:
        """Where they come from: the epoch, and by which logged value they are the best."""
        state = self.checkpoint.state
        return {name: state[name] for name in ("epoch", "monitor", "value") if name in state}

    def __str__(self) -> str:
        """As in `epoch 62, the best by val_distance 0.31`."""
        state = self.checkpoint.state
        if batch := state.get("batch"):
            return f"{count_noun(batch, 'step')} after epoch {state['epoch']}, the last"
        epoch = f"epoch {state['epoch']}"
        if self.name == "best":
            return f"{epoch}, the best by {state['monitor']} {format_value(state['value'])}"
        return f"{epoch}, the last" if self.name == "last" else epoch


def check_choice(choice: str) -> None:
    """Refuses what is neither `best` nor `last` nor the number of an epoch.

    Raises:
        UsageError: it is none of these.
    """
    is_epoch = choice.isascii() and choice.isdigit() and int(choice) > 0
    if choice not in ("best", "last") and not is_epoch:
        raise UsageError(f"unknown weights = {choice!r}; use best, last or the number of an epoch")


def read_weights(run: Path, choice: str) -> Weights | None:
    """Reads weights of a run; None if it has no checkpoint yet.

    Args:
        run: the run directory.
        choice: `best`, `last` or the number of an epoch. A run without a best checkpoint has its
            last weights for `best`; then `name` is `last`.

    Raises:
        UsageError: the choice is unknown, or no checkpoint holds the weights after that epoch.
        WorkError: the checkpoint is damaged; for the last weights, all are.
    """
    check_choice(choice)
    folder = RunFolder(run).checkpoints
    if choice == "best" and (best := checkpoint.read_best(folder)) is not None:
        return Weights(best, "best")
    if choice in ("best", "last"):
        newest, _ = checkpoint.read_newest(folder)
        return None if newest is None else Weights(newest, "last")
    folders = checkpoint.epoch_folders(folder)
    if not folders:
        return None
    if int(choice) not in folders:
        raise UsageError(
            f"{run} has no weights of epoch {int(choice)}; it has those of "
            f"{', '.join(map(str, folders))}; tfgen-train --keep-every N keeps those of every N-th "
            "epoch"
        )
    return Weights(checkpoint.read(folders[int(choice)]), f"epoch {int(choice)}")
