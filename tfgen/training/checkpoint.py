"""Checkpoints: hashed, and written by one rename; the weights that each of them has.

A checkpoint is a folder `step-<step>` with `arrays.npz` (weights, every optimizer's slots and loss
scale, metrics), `state.json` and `sha256.json`. The folders `best-<epoch>` and `epoch-<epoch>` have
the weights alone. A checkpoint is written to a temporary folder, flushed to the disk and renamed,
so a reader sees all of it or nothing. The manifest finds damage, not malice; nothing in a
checkpoint can run code.

A run that cannot read its newest checkpoint continues from the one before. It repeats the same
steps, and its checkpoints replace the later ones.
"""

import contextlib
import math
import re
import shutil
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfgen.errors import UsageError, WorkError
from tfgen.system import machine
from tfgen.system.atomic import file_sha256, fresh_folder, move_into_place, read_json, write_json
from tfgen.system.terminal import count_noun, format_bytes, format_value
from tfgen.training.folder import RunFolder

# How many checkpoints of a kind are kept; of other kinds, all.
_KEPT = {"step": 2, "best": 1}
_ARRAYS, _STATE, _MANIFEST = "arrays.npz", "state.json", "sha256.json"
# A part of the names of folders in which a checkpoint is being written.
TEMPORARY = "writing"
# The help text of `--weights`, and what `check_choice` accepts.
WEIGHTS_HELP = (
    "weights of a run: best (by validation), last, or the number of an epoch that --keep-every of "
    "tfgen-train kept"
)


def collect_variables(model: Any, groups: Collection[str]) -> dict[str, Any]:
    """The variables that a training step changes, by stable names.

    Args:
        model: a model; its optimizers are collected only if it is compiled.
        groups: any of `weights`, `optimizers` and `metrics`.
    """
    members = {"weights": model.saved_weights(), "metrics": model.metrics_variables}
    for name, optimizer in model.optimizers.items():
        members[f"optimizers/{name}"] = optimizer.variables
    # By position: Keras's own names count the layers that the process has created.
    return {
        f"{prefix}/{i:03d}": variable
        for prefix, variables in members.items()
        if prefix.partition("/")[0] in groups
        for i, variable in enumerate(variables)
    }


def read_arrays(model: Any, groups: Collection[str]) -> dict[str, np.ndarray]:
    """The current values of `collect_variables`."""
    variables = collect_variables(model, groups)
    return {name: np.asarray(variable.numpy()) for name, variable in variables.items()}


def size(model: Any) -> int:
    """Bytes of a checkpoint of a compiled model after an epoch."""
    variables = collect_variables(model, ("weights", "optimizers")).values()
    return sum(math.prod(v.shape) * np.dtype(v.dtype).itemsize for v in variables)


def space_warnings(model: Any, path: Path) -> list[str]:
    """A line if the disk of a run directory has no space for the checkpoints; else none."""
    # Two are kept while the next one is written.
    needed, free = 3 * size(model), machine.free_disk_bytes(path)
    if needed <= free:
        return []
    text = f"the checkpoints need {format_bytes(needed)}, and {path} has {format_bytes(free)}"
    return [f"warning: {text}; choose a folder on another disk with --run-dir"]


class Checkpoint(NamedTuple):
    """A checkpoint in memory.

    Attributes:
        path: its folder.
        arrays: values by the names of `collect_variables`.
        state: the state that was saved with them.
        name: name of its weights: `best`, `last` or `epoch <number>`.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]
    name: str

    def restore(self, model: Any, *groups: str) -> None:
        """Restore what `collect_variables` collects.

        Raises:
            WorkError: the checkpoint is of another model; no variable was changed.
        """
        variables = collect_variables(model, groups)
        for name, variable in variables.items():
            if name not in self.arrays or self.arrays[name].shape != tuple(variable.shape):
                raise WorkError(f"checkpoint {self.path} is of another model: {name} differs")
        for name, variable in variables.items():
            variable.assign(self.arrays[name])

    @property
    def origin(self) -> dict[str, Any]:
        """The epoch of the weights and, for the best ones, the logged value that chose them."""
        return {key: self.state[key] for key in ("epoch", "monitor", "value") if key in self.state}

    def __str__(self) -> str:
        """As in `epoch 62, the best by val_distance 0.31`."""
        state = self.state
        if batch := state.get("batch"):
            return f"{count_noun(batch, 'step')} after epoch {state['epoch']}, the last"
        epoch = f"epoch {state['epoch']}"
        if self.name == "best":
            return f"{epoch}, the best by {state['monitor']} {format_value(state['value'])}"
        return f"{epoch}, the last" if self.name == "last" else epoch


def save(
    folder: Path, kind: str, number: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> None:
    """Write `<kind>-<number>`; then remove those of its kind that are not kept.

    Args:
        folder: the checkpoints of a run.
        kind: `step`, of which two are kept; `best`, of which one is; or `epoch`.
        number: of the step or the epoch. Those with larger numbers are removed.
        arrays: values by the names of `collect_variables`.
        state: what else is saved.

    Raises:
        OSError: the disk is full or the folder is not writable; no checkpoint was removed.
    """
    target = folder / f"{kind}-{number:09d}"
    with fresh_folder(folder, TEMPORARY) as temporary:
        with (temporary / _ARRAYS).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        write_json(temporary / _STATE, state)
        hashes = {part: file_sha256(temporary / part) for part in (_ARRAYS, _STATE)}
        write_json(temporary / _MANIFEST, hashes)
        # One that is there may be the damaged one that the run could not resume from.
        move_into_place(temporary, target, overwrite=True)
    if kind in _KEPT:
        folders = newest_first(folder, kind)
        place = folders.index(target)
        for path in folders[:place] + folders[place + _KEPT[kind] :]:
            shutil.rmtree(path, ignore_errors=True)


def newest_first(folder: Path, kind: str) -> list[Path]:
    """The folders of the checkpoints of a kind, that with the largest number first."""
    return sorted(folder.glob(f"{kind}-*"), reverse=True)


def read(path: Path, name: str) -> Checkpoint:
    """Read a checkpoint after checking it against its manifest.

    Raises:
        WorkError: a file is missing or damaged.
    """
    try:
        hashes = read_json(path / _MANIFEST)
        for part in (_ARRAYS, _STATE):
            if file_sha256(path / part) != hashes.get(part):
                raise WorkError(f"checkpoint {path} is damaged: {part} does not match its SHA-256")
        with np.load(path / _ARRAYS, allow_pickle=False) as file:
            return Checkpoint(path, dict(file), read_json(path / _STATE), name)
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise WorkError(f"checkpoint {path} cannot be read: {error}") from error


def read_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound step checkpoint, and what is wrong with the newer ones.

    Raises:
        WorkError: there are checkpoints and none of them is sound.
    """
    problems: list[str] = []
    for path in newest_first(folder, "step"):
        try:
            return read(path, "last"), problems
        except WorkError as error:
            problems.append(str(error))
    if problems:
        text = f"no checkpoint in {folder} is sound; nothing was changed; {problems[0]}"
        raise WorkError(f"{text}; train again in another run directory")
    return None, problems


def read_best(folder: Path) -> Checkpoint | None:
    """The best checkpoint by validation; None if there is none.

    Raises:
        WorkError: it is damaged.
    """
    folders = newest_first(folder, "best")
    return read(folders[0], "best") if folders else None


def recover_best(folder: Path) -> tuple[Checkpoint | None, str]:
    """The best checkpoint and no text; or None and what is wrong with it, moved out of the folder.

    See `read_best`.
    """
    try:
        return read_best(folder), ""
    except WorkError as error:
        path = newest_first(folder, "best")[0]
        aside = folder.parent / f"damaged-{path.name}"
        shutil.rmtree(aside, ignore_errors=True)  # damaged earlier
        path.rename(aside)
        return None, f"{error}; it is set aside as {aside}"


def check_choice(choice: str) -> None:
    """Refuse what is neither `best` nor `last` nor the number of an epoch.

    Raises:
        UsageError: it is none of these.
    """
    if not re.fullmatch("best|last|[1-9][0-9]*", choice):
        raise UsageError(f"unknown weights = {choice!r}; use best, last or the number of an epoch")


def read_weights(run: Path, choice: str) -> Checkpoint | None:
    """Read weights of a run; None if it has no checkpoint yet.

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
    try:
        if choice == "best" and (best := read_best(folder)) is not None:
            return best
    except WorkError as error:
        raise WorkError(f"{error}; --weights last takes the last weights") from error
    if choice in ("best", "last"):
        return read_newest(folder)[0]
    folders = {}
    for path in folder.glob("[a-z]*-*"):
        with contextlib.suppress(OSError, ValueError):  # it is damaged, or was just removed
            state = read_json(path / _STATE)
            if state["epoch"] and not state.get("batch"):
                folders[state["epoch"]] = path
    if folders and int(choice) not in folders:
        known = ", ".join(map(str, sorted(folders)))
        text = f"{run} has no weights of epoch {choice}; it has those of {known}"
        raise UsageError(f"{text}; tfgen-train --keep-every N keeps those of every N-th epoch")
    return read(folders[int(choice)], f"epoch {choice}") if folders else None
