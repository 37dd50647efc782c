"""`tfgen.load`: a model from a run, a `.keras` file or an export."""

from pathlib import Path
from typing import Any

import keras

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.training import checkpoint
from tfgen.training.folder import RunFolder, saved_config
from tfgen.versions import MANIFEST, Sampler, Version


def load(path: str | Path, *, weights: str = "best") -> Any:
    """Opens what tfgen wrote.

    Args:
        path: a run directory, a `.keras` file, or a version's folder `<name>/<integer>`.
        weights: of a run, `best` (by validation loss, where the family has such) or `last`.

    Returns:
        A `GenerativeModel` of a run or a `.keras` file, the latter compiled as it was saved; a `Sampler` of
        an export.

    Raises:
        UsageError: the path is none of these.
        WorkError: it is damaged.
    """
    path = Path(path)
    if path.suffix == ".keras" and path.is_file():
        # Registers the classes that the file may name.
        for entry in registry.FAMILIES.values():
            entry.load_class()
        return keras.saving.load_model(path)
    if (path / MANIFEST).is_file() and path.name.isdecimal():
        return Sampler(Version(path.parent.name, int(path.name), path))
    if RunFolder(path).config.is_file():
        return _load_run(path, weights)
    raise UsageError(f"{path} is no run directory, no .keras file and no published version")


def _load_run(path: Path, weights: str) -> Any:
    config = saved_config(path)
    if weights not in ("best", "last"):
        raise UsageError(f"weights {weights!r} are unknown; use 'best' or 'last'")
    model = registry.build_model(config)
    folder = RunFolder(path).checkpoints
    found = checkpoint.read_best(folder) if weights == "best" else None
    if found is None:
        found = checkpoint.read_newest(folder)[0]
    if found is None:
        raise UsageError(f"run {path} has no checkpoint yet")
    found.restore_weights(model)
    return model
