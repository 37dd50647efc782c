"""The state of a training of several workers: what the chief saves, and what the others get of it.

Weights and optimizers are equal in all workers. Metrics are not: each replica sums over its own
images. Reading the total in one worker would wait for the others, so each sends its own part.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfgen.errors import InterruptedRunError, WorkError
from tfgen.training.callbacks import Position, SingleProcess
from tfgen.training.checkpoint import Checkpoint, assign, collect_variables, read_arrays
from tfgen.training.crew import Crew, Word

_COMMON, _PARTS = ("weights", "optimizers"), "parts"


def _own_parts(model: Any) -> dict[str, Any]:
    """The metric variables of this process's replicas, by `<name>/<replica>`."""
    strategy = model.distribute_strategy
    return {
        f"{name}/{replica}": part
        for name, variable in collect_variables(model, ("metrics",)).items()
        for replica, part in enumerate(strategy.experimental_local_results(variable.value))
    }


def _read_parts(model: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(part.numpy()) for name, part in _own_parts(model).items()}


def _by_worker(parts: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The parts by their names in a checkpoint."""
    return {f"{_PARTS}/{number}/{name}": part for name, part in parts.items()}


class ChiefProcess(SingleProcess):
    """The chief of several workers, which act at the same places as `Following` has them do."""

    def __init__(self, crew: Crew):
        self._crew = crew

    def agree(self, word: Word) -> None:
        """Tells the workers what is decided after a step."""
        self._crew.agree(word)

    def read_state(self, model: Any) -> dict[str, np.ndarray]:
        """The arrays of a checkpoint: the usual ones, and the metrics of each replica."""
        arrays = read_arrays(model, _COMMON)
        for number, parts in enumerate(self._crew.gather_arrays(_read_parts(model))):
            for name, part in parts.items():
                metric = name.rpartition("/")[0]
                arrays[metric] = arrays.get(metric, np.zeros_like(part)) + part
            arrays |= _by_worker(parts, number)
        return arrays

    def restore_metrics(self, model: Any, restored: Checkpoint) -> None:
        """Restores the metrics of an epoch that was interrupted."""
        _restore_metrics(model, restored, self._crew)


def send_checkpoint(
    model: Any, crew: Crew, checkpoint: Checkpoint | None, position: Position
) -> None:
    """Sends all workers the state with which the chief begins.

    Args:
        model: the chief's model.
        crew: the processes.
        checkpoint: the one that the chief resumes from. None: a new run, whose weights may come
            from a model that only the chief has read.
        position: the run's position.

    Raises:
        WorkError: the checkpoint is of another model.
    """
    expected = _expected(model, crew)
    if checkpoint is None:
        checkpoint = Checkpoint(Path(), expected, dataclasses.asdict(position))
    crew.send({"state": checkpoint.state})
    names = set(expected)
    has_parts = _part_names(names) == _part_names(checkpoint.arrays)
    crew.send({"has_parts": has_parts})
    if not has_parts:
        names -= _part_names(names)
    if missing := sorted(names - checkpoint.arrays.keys()):
        raise WorkError(f"the checkpoint lacks {missing[0]}; it is of another model")
    crew.send_arrays({name: checkpoint.arrays[name] for name in sorted(names)})


def receive_checkpoint(model: Any, crew: Crew) -> Checkpoint:
    """The state with which the chief begins."""
    state = crew.receive("state")
    expected = _expected(model, crew)
    without = set() if crew.receive("has_parts") else _part_names(expected)
    expected = {name: expected[name] for name in sorted(expected.keys() - without)}
    return Checkpoint(Path(), crew.receive_arrays(expected), dict(state))


def _expected(model: Any, crew: Crew) -> dict[str, np.ndarray]:
    """Arrays like those of a checkpoint of as many workers."""
    arrays, parts = read_arrays(model, _COMMON), _read_parts(model)
    arrays |= {name.rpartition("/")[0]: part for name, part in parts.items()}
    for number in range(crew.size):
        arrays |= _by_worker(parts, number)
    return arrays


def _part_names(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith(f"{_PARTS}/")}


def _restore_metrics(model: Any, checkpoint: Checkpoint, crew: Crew) -> None:
    """Restores the metrics of an epoch that was interrupted.

    After a change of the number of workers, each replica gets the same share of the total.
    """
    if _part_names(checkpoint.arrays) == _part_names(_expected(model, crew)):
        assign(_by_worker(_own_parts(model), crew.cluster.number), checkpoint.arrays)
    else:
        checkpoint.restore_metrics(model)


class Following(keras.callbacks.Callback):
    """What a worker that is not the chief does where the chief's `Checkpointing` decides.

    Args:
        position: the run's position.
        crew: the processes.
        restored: the checkpoint that the run resumes from, or None.
    """

    def __init__(self, position: Position, crew: Crew, restored: Checkpoint | None):
        super().__init__()
        self.position, self.crew, self._restored = position, crew, restored

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Restores the metrics of an epoch that was interrupted."""
        if self._restored is not None and self.position.batch:
            _restore_metrics(self.model, self._restored, self.crew)
        self._restored = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Does what the chief decides.

        Raises:
            InterruptedRunError: a signal has reached one of the processes; the state is saved.
        """
        if self.position.batch == self.position.steps_per_epoch:
            return
        word = self.crew.agree()
        if word.saves:
            self._send_state()
        self._stop(word.signum)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Sends the state, which the chief saves after each epoch.

        Raises:
            InterruptedRunError: a signal has reached one of the processes; the state is saved.
        """
        self._send_state()
        self._stop(self.crew.agree().signum)

    def _send_state(self) -> None:
        self.crew.send_arrays(_read_parts(self.model))

    def _stop(self, signum: int | None) -> None:
        if signum is not None:
            text = self.crew.await_end()  # the chief has saved
            raise InterruptedRunError(text, signum)
