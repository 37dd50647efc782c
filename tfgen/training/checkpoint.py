"""Checkpoints: complete, hashed, published by one rename.

A checkpoint is a folder `step-<step>` with `arrays.npz` (weights, every optimizer's slots and loss
scale, metrics), `state.json` and `sha256.json`. The folders `best-<epoch>` and `epoch-<epoch>` have
the weights alone. A checkpoint is written to a temporary folder, flushed to the disk and renamed,
so a reader sees all of it or nothing. The manifest finds damage, not malice; nothing in a
checkpoint can run code.

Age decides which checkpoint is read and which are kept, not the number in the name. A run that
cannot read its newest checkpoint continues from an older one, and then writes smaller numbers.
"""

import contextlib
import json
import shutil
import time
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.errors import WorkError, size_text
from tfgen.system import atomic
from tfgen.system.atomic import file_sha256, fresh_folder, publish

_STEPS, _BEST, _EPOCHS = "step-*", "best-*", "epoch-*"
_ARRAYS, _STATE, _MANIFEST = "arrays.npz", "state.json", "sha256.json"
# A part of the names of folders in which a checkpoint is being written.
_TEMPORARY = "writing"
# The entry of state.json that orders checkpoints by age [ns since 1970].
_SAVED_AT = "saved_at"
_GROUPS = ("weights", "metrics", "optimizers")


def collect_variables(model: Any, groups: Collection[str] = _GROUPS) -> dict[str, Any]:
    """Everything of a model that a step changes, by a stable name.

    Args:
        model: a model; its optimizers are collected only if it is compiled.
        groups: those of `weights`, `optimizers` and `metrics` that are needed.
    """
    members: dict[str, Iterable[Any]] = {}
    if "weights" in groups:
        members["weights"] = model.saved_weights()
    if "metrics" in groups:
        members["metrics"] = model.metrics_variables
    if "optimizers" in groups:
        for name, optimizer in model.optimizers.items():
            members[f"optimizers/{name}"] = optimizer.variables
    # By position: Keras's own names count the layers that the process has created.
    return {
        f"{prefix}/{i:03d}": variable
        for prefix, variables in members.items()
        for i, variable in enumerate(variables)
    }


def read_arrays(model: Any, groups: Collection[str] = _GROUPS) -> dict[str, np.ndarray]:
    """The current values of `collect_variables`."""
    variables = collect_variables(model, groups)
    return {name: np.asarray(variable.numpy()) for name, variable in variables.items()}


def assign(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Assigns to each variable the array of the same name.

    Raises:
        WorkError: an array is missing or has another shape: the arrays are of another model.
    """
    for name, variable in variables.items():
        if name not in arrays:
            raise WorkError(f"the checkpoint lacks {name}; it is of another model")
        if tuple(variable.shape) != arrays[name].shape:
            raise WorkError(
                f"{name} has size {size_text(arrays[name].shape)} in the checkpoint and "
                f"{size_text(variable.shape)} in the model; the checkpoint is of another model"
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        path: its folder.
        arrays: values by the names of `collect_variables`.
        state: the state that was saved with them.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]

    def restore(self, model: Any) -> None:
        """Restores weights and optimizers of a compiled model."""
        assign(collect_variables(model, ("weights", "optimizers")), self.arrays)

    def restore_weights(self, model: Any) -> None:
        """Restores the weights alone; the model need not be compiled."""
        assign(collect_variables(model, ("weights",)), self.arrays)

    def restore_metrics(self, model: Any) -> None:
        """Restores the metrics, for a run that continues within an epoch."""
        assign(collect_variables(model, ("metrics",)), self.arrays)


def save_step(
    folder: Path,
    step: int,
    arrays: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
    previous: Path | None = None,
) -> Path:
    """Writes `step-<step>` and removes all older step checkpoints but one.

    Args:
        folder: the folder of all checkpoints.
        step: number of steps done.
        arrays: values by the names of `collect_variables`.
        state: further values, for `json.dump`.
        previous: the older checkpoint to keep: the one that this process wrote or restored last.
            None keeps the newest one.

    Returns:
        The checkpoint's folder.

    Raises:
        OSError: the disk is full or the folder is not writable; no checkpoint was removed.
    """
    path = _save(folder, f"step-{step:09d}", arrays, state)
    older = [checkpoint for checkpoint in step_folders(folder) if checkpoint != path]
    if previous not in older:
        previous = next(iter(older), None)
    for checkpoint in older:
        if checkpoint != previous:
            shutil.rmtree(checkpoint, ignore_errors=True)
    return path


def save_best(
    folder: Path, epoch: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> None:
    """Writes `best-<epoch>`, then removes the best before it, so there is always one.

    Raises:
        OSError: the disk is full or the folder is not writable; no checkpoint was removed.
    """
    path = _save(folder, f"best-{epoch:06d}", arrays, state)
    for checkpoint in _newest_first(folder, _BEST):
        if checkpoint != path:
            shutil.rmtree(checkpoint, ignore_errors=True)


def save_epoch(folder: Path, epoch: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `epoch-<epoch>`, which stays.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    _save(folder, f"epoch-{epoch:06d}", arrays, {"epoch": epoch})


def step_folders(folder: Path) -> list[Path]:
    """The folders of the step checkpoints, the one written last first."""
    return _newest_first(folder, _STEPS)


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes had begun to write; nobody may be writing a checkpoint now."""
    atomic.remove_unfinished(folder, _TEMPORARY)


def read_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound step checkpoint, and what is wrong with the newer ones.

    Raises:
        WorkError: there are checkpoints and none of them is sound.
    """
    problems: list[str] = []
    for path in step_folders(folder):
        try:
            return read(path), problems
        except WorkError as error:
            problems.append(str(error))
    if problems:
        raise WorkError(
            f"no checkpoint in {folder} is sound; nothing was changed; {problems[0]}; "
            "train again in another run directory"
        )
    return None, problems


def read_best(folder: Path) -> Checkpoint | None:
    """The best checkpoint by validation; None if there is none.

    Raises:
        WorkError: it is damaged.
    """
    folders = _newest_first(folder, _BEST)
    return read(folders[0]) if folders else None


def epoch_folders(folder: Path) -> dict[int, Path]:
    """The folders of checkpoints that hold the weights after a whole epoch, by epoch.

    Any of the three kinds may; one that cannot be read is left out.
    """
    folders = {}
    for pattern in (_STEPS, _BEST, _EPOCHS):
        for path in reversed(_newest_first(folder, pattern)):
            state = _read_state(path)
            if isinstance(epoch := state.get("epoch"), int) and not state.get("batch") and epoch:
                folders[epoch] = path
    return dict(sorted(folders.items()))


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint after checking it against its manifest.

    Raises:
        WorkError: a file is missing or damaged.
    """
    try:
        hashes = json.loads((path / _MANIFEST).read_text())
        for name in (_ARRAYS, _STATE):
            if file_sha256(path / name) != hashes.get(name):
                raise WorkError(f"checkpoint {path} is damaged: {name} does not match its SHA-256")
        with np.load(path / _ARRAYS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        state = json.loads((path / _STATE).read_text())
        state.pop(_SAVED_AT, None)
        return Checkpoint(path, arrays, state)
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise WorkError(f"checkpoint {path} cannot be read: {error}") from error


def _save(
    folder: Path, name: str, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> Path:
    """Writes a checkpoint; replaces one of the same name."""
    # Later than all others, even if the clock was set back.
    saved_at = max([time.time_ns(), *(_saved_at(path) + 1 for path in folder.glob("*-*"))])
    with fresh_folder(folder, _TEMPORARY) as temporary:
        with (temporary / _ARRAYS).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        (temporary / _STATE).write_text(json.dumps({**state, _SAVED_AT: saved_at}, indent=1))
        hashes = {part: file_sha256(temporary / part) for part in (_ARRAYS, _STATE)}
        (temporary / _MANIFEST).write_text(json.dumps(hashes, indent=1))
        if (folder / name).exists():
            # Perhaps the damaged one that the run could not resume from.
            shutil.rmtree(folder / name)
        publish(temporary, folder / name)
    return folder / name


def _newest_first(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda path: (_saved_at(path), path.name), reverse=True)


def _saved_at(path: Path) -> int:
    """When a checkpoint was written [ns since 1970].

    The modification time of its folder stands in where state.json does not say it, because it is
    damaged or of an earlier version of tfgen.
    """
    saved_at = _read_state(path).get(_SAVED_AT)
    if isinstance(saved_at, int):
        return saved_at
    with contextlib.suppress(OSError):  # removed by the run meanwhile
        return path.stat().st_mtime_ns
    return 0


def _read_state(path: Path) -> dict[str, Any]:
    """The content of state.json, unchecked; empty if it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        state = json.loads((path / _STATE).read_text())
        if isinstance(state, dict):
            return state
    return {}
