"""Checkpoints: complete, hashed, published by one rename.

A checkpoint is a folder `step-<step>` with `arrays.npz` (weights, every optimizer's slots and loss
scale, metrics), `state.json` and `sha256.json`. It is written to a temporary folder, flushed to the
disk and renamed, so a reader sees all of it or nothing. The manifest finds damage, not malice;
nothing in a checkpoint can run code.
"""

import json
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.errors import WorkError
from tfgen.system.atomic import file_sha256, fresh_folder, publish

KEPT = 2
_ARRAYS, _STATE, _MANIFEST = "arrays.npz", "state.json", "sha256.json"


def variables(model: Any) -> dict[str, Any]:
    """Everything of a model that a step changes, by a stable name: weights, optimizers, metrics."""
    groups: dict[str, Iterable[Any]] = {
        "weights": model.weights,
        "metrics": model.metrics_variables,
    }
    for name, optimizer in model.optimizers.items():
        groups[f"optimizers/{name}"] = optimizer.variables
    # By place, not by Keras's names: those count the layers that the process has made.
    return {
        f"{group}/{i:03d}": v for group, members in groups.items() for i, v in enumerate(members)
    }


def read_arrays(model: Any) -> dict[str, np.ndarray]:
    """The current values of `variables`."""
    return {name: np.asarray(variable.numpy()) for name, variable in variables(model).items()}


def assign(targets: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Gives variables the values of the same names.

    Raises:
        WorkError: a name is missing or a shape differs: the arrays are of another model.
    """
    for name, variable in targets.items():
        if name not in arrays:
            raise WorkError(f"the checkpoint lacks {name}; it is of another model")
        if tuple(variable.shape) != arrays[name].shape:
            raise WorkError(
                f"the checkpoint's {name} has shape {arrays[name].shape}, not {tuple(variable.shape)}"
            )
    for name, variable in targets.items():
        variable.assign(arrays[name])


@dataclass(frozen=True)
class Checkpoint:
    """What was read back.

    Attributes:
        path: its folder.
        arrays: values by the names of `variables`.
        state: what was saved beside them.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]

    def restore(self, model: Any) -> None:
        """Brings weights and optimizers back into a compiled model."""
        assign(
            {n: v for n, v in variables(model).items() if not n.startswith("metrics/")}, self.arrays
        )

    def restore_weights(self, model: Any) -> None:
        """Brings the weights alone back, into a model that need not be compiled."""
        assign({n: v for n, v in variables(model).items() if n.startswith("weights/")}, self.arrays)

    def restore_metrics(self, model: Any) -> None:
        """Brings the metrics back, inside an epoch."""
        assign({n: v for n, v in variables(model).items() if n.startswith("metrics/")}, self.arrays)


def save(
    folder: Path, name: str, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> None:
    """Writes a checkpoint; one of the same name is replaced.

    Raises:
        OSError: the disk is full or the folder cannot be written; nothing half-written is left.
    """
    with fresh_folder(folder, "writing") as temporary:
        with (temporary / _ARRAYS).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        (temporary / _STATE).write_text(json.dumps(state, indent=1))
        hashes = {part: file_sha256(temporary / part) for part in (_ARRAYS, _STATE)}
        (temporary / _MANIFEST).write_text(json.dumps(hashes, indent=1))
        if (folder / name).exists():
            # Perhaps the damaged one that the run could not resume from.
            shutil.rmtree(folder / name)
        publish(temporary, folder / name)


def save_step(
    folder: Path, step: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> None:
    """Writes `step-<step>` and removes all but the newest two of such."""
    save(folder, f"step-{step:09d}", arrays, state)
    for old in step_folders(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def save_best(
    folder: Path, epoch: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> None:
    """Writes `best-<epoch>`, then removes the best before it: at no time is there none."""
    save(folder, f"best-{epoch:06d}", arrays, state)
    for old in sorted(folder.glob("best-*"))[:-1]:
        shutil.rmtree(old, ignore_errors=True)


def step_folders(folder: Path) -> list[Path]:
    """The folders of the step checkpoints, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def read_best(folder: Path) -> Checkpoint | None:
    """The best checkpoint by validation, or None.

    Raises:
        WorkError: it is damaged.
    """
    found = sorted(folder.glob("best-*"))
    return read(found[-1]) if found else None


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint and holds it against its manifest.

    Raises:
        WorkError: a file is missing, damaged or not what it claims.
    """
    try:
        for part, expected in json.loads((path / _MANIFEST).read_text()).items():
            if file_sha256(path / part) != expected:
                raise WorkError(f"checkpoint {path} is damaged: {part} does not match its SHA-256")
        with np.load(path / _ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return Checkpoint(path, arrays, json.loads((path / _STATE).read_text()))
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise WorkError(f"checkpoint {path} cannot be read: {error}") from error


def read_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound checkpoint, and what was wrong with the ones that had to be passed over.

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
        raise WorkError(f"no checkpoint in {folder} is sound; nothing was changed. {problems[0]}")
    return None, problems
