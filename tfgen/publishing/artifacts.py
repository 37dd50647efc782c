"""What is at a path, or published under a name; all commands use this.

No TensorFlow here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tfgen.errors import UsageError
from tfgen.publishing import versions
from tfgen.publishing.sampling_job import is_job
from tfgen.training.folder import RunFolder

Kind = Literal["run", "version", "keras", "npz", "file", "shards", "folder", "nothing"]


class Artifact(NamedTuple):
    """What an argument of a command names.

    Attributes:
        kind: `run`: a run directory; `version`: a published version or an archive of one; `keras`:
            a `.keras` file; `npz`: an NPZ file; `file`: any other file; `shards`: shards of
            `tfgen-sample`; `folder`: any other folder; `nothing`: none of these.
        path: where it is; of an archive, where it is unpacked.
        version: the version, if `kind` is `version`.
    """

    kind: Kind
    path: Path
    version: versions.Version | None = None


def kind_at(path: Path) -> Kind:
    """What is at a path; see `Artifact`."""
    if RunFolder(path).config.is_file():
        return "run"
    if versions.is_version(path):
        return "version"
    if path.is_dir():
        # A folder whose manifest is gone still holds shards.
        return "shards" if is_job(path) or any(path.glob("*-of-*.tfrecord")) else "folder"
    suffixes: dict[str, Kind] = {".keras": "keras", ".npz": "npz"}
    return suffixes.get(path.suffix.lower(), "file") if path.is_file() else "nothing"


def check_sampling(kind: Kind, path: str | Path, sampling: Mapping[str, Any]) -> None:
    """Refuse options of sampling for what is neither a run nor a `.keras` file.

    Raises:
        UsageError: there are some.
    """
    if sampling and kind not in ("run", "keras"):
        flags = " ".join(f"--sampling-{k.replace('_', '-')} {v}" for k, v in sampling.items())
        text = f"{path} is published with its own options of sampling; publish another version with"
        raise UsageError(f"{text} tfgen-export RUN {flags}")


def identify(what: str | Path, saved_models: Path, number: int | None = None) -> Artifact:
    """What a path or a name is.

    A word without a separator is a published name, unless a run, a version or a file is at this
    path. `./NAME` is always a path.

    Args:
        what: path or name.
        saved_models: folder of published models.
        number: version of a published name; None takes the newest.

    Raises:
        UsageError: nothing is there, and no model or version of that name is published; or a number
            was passed for something that has none.
        WorkError: an archive is damaged.
    """
    path = Path(what)
    kind = kind_at(path)
    if path.name == str(what):
        newest = kind in ("shards", "folder") and versions.newest(path.name, saved_models)
        # A name that is not published gets the error that says what is.
        if kind == "nothing" or newest:
            version = versions.find(path.name, saved_models, number)
            return Artifact("version", version.path, version)
    if kind == "nothing":
        raise UsageError(f"{what} does not exist")
    if number is not None:
        raise UsageError(f"{what} is a path and has no versions; leave out --version")
    opened = versions.Version.at(path) if kind == "version" else None
    return Artifact(kind, path if opened is None else opened.path, opened)
