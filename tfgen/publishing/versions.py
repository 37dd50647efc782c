"""Published versions on disk: their folders, numbers and manifests.

`<folder>/<name>/<integer>/` holds a SavedModel and `manifest.json`. A version is published by one
rename, so a reader sees the whole version or nothing. The manifest has the SHA-256 of each file. It
finds damage, not malice: whoever can change a file can also change its hash. An archive, `.tfgen`,
is a ZIP file of a version's folder. No TensorFlow here.
"""

import contextlib
import functools
import importlib.util
import re
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson

from tfgen.errors import UsageError, WorkError
from tfgen.settings.fields import hint
from tfgen.system import atomic

MANIFEST = "manifest.json"
# The extension of an archive.
ARCHIVE = ".tfgen"
# What the temporary folder of a version that is being written is for; see `atomic.fresh_folder`.
_WRITING = "writing"
# The number of a shipped version, and of the first version that a user publishes.
SHIPPED, FIRST_TRAINED = 1, 2
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
# A folder 007 would be a second one of the number 7.
_is_number = re.compile(r"[1-9][0-9]{0,17}").fullmatch

# The types of what tfgen uses of a manifest. `*` stands for every key of a table; what ends in `?`
# may be missing, or null; all else may have any type.
_TENSORS = {"*": {"dtype": str, "shape": [int | None]}}
_OPTIONS = {"preset?": str, "dataset?": str, "train_on?": str, "epochs?": int}
_DATA = {"name?": str, "images?": int, "background?": int | float, "class_names?": [str]}
_RUN = {"family?": str, "given?": [str], "epochs_done?": int, "options?": _OPTIONS, "data?": _DATA}
_RUN |= {"model?": {"image_shape?": [int]}, "cost?": {}}
_FIGURES = dict.fromkeys(("fid?", "bits_per_dim?", "negative_elbo?", "nll?"), int | float)
_PARTS = ("samples?", "floor?", "modes?", "likelihood?", "cost?", "dataset?")
_ENTRIES: dict[str, Any] = {"files": {"*": str}, "run?": _RUN}
_ENTRIES |= dict.fromkeys(("family?", "weights?", "weights_sha256?", "published?"), str)
_ENTRIES |= {"evaluation?": {"n?": int} | dict.fromkeys(_PARTS, _FIGURES)}
_ENTRIES |= {"signatures": {"*": {"inputs": _TENSORS, "outputs": _TENSORS}}}
# What a manifest without such an entry is taken to say.
_DEFAULTS = {"family": "", "weights": "", "weights_sha256": None, "published": ""}


class Version(NamedTuple):
    """A published version on disk.

    Attributes:
        name: name that it was published under.
        number: its number.
        path: its folder.
    """

    name: str
    number: int
    path: Path

    @classmethod
    def at(cls, path: str | Path) -> Self:
        """The version in a folder `<name>/<integer>` or in an archive.

        An archive is unpacked into a temporary folder, which the end of the process removes.

        Raises:
            UsageError: the path is not a published version.
            WorkError: the archive is damaged.
        """
        path = Path(path)
        if not is_version(path):
            raise UsageError(f"{path} is not a published version: NAME/NUMBER, or an archive")
        if path.is_file():
            path = _unpack(path.resolve(), path.stat().st_mtime_ns)[1]
        whole = path.absolute()
        return cls(whole.parent.name, int(whole.name), path)


def is_version(path: Path) -> bool:
    """Whether a path is a published version.

    It is an archive, or a folder whose name is a positive integer and that has a manifest.
    """
    is_folder = _is_number(path.absolute().name) is not None
    return (path / MANIFEST).is_file() if is_folder else path.suffix == ARCHIVE and path.is_file()


@functools.cache
def _unpack(archive: Path, changed: int) -> tuple[contextlib.ExitStack, Path]:
    """What keeps a temporary folder, and the folder of an archive's version in it.

    Args:
        archive: the file.
        changed: time of its last change: another file that takes its place is unpacked too.

    Raises:
        WorkError: it is damaged.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tfgen-archive-"))
        try:
            atomic.check_members(archive)
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder)
        except (zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, EOFError) as error:
            raise WorkError(f"{archive} is damaged ({error}); ask for it again") from error
        for path in filter(is_version, Path(folder).glob("*/*")):
            return stack.pop_all(), path
    raise WorkError(f"{archive} holds no version, as tfgen-export --format archive writes it")


def write_archive(version: Version, path: Path) -> None:
    """Write a version to an archive, whole or not at all.

    Raises:
        WorkError: the version is damaged.
        OSError: the disk is full or the folder cannot be written.
    """
    names = [MANIFEST, *verify(version.path)["files"]]
    with atomic.fresh_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.write(version.path / name, f"{version.name}/{version.number}/{name}")


def shipped_folder() -> Path:
    """The folder of the samplers that come with the package."""
    spec = importlib.util.find_spec("tfgen.saved_models")
    if spec is None or not spec.submodule_search_locations:  # a checkout that is not installed
        return Path(__file__).resolve().parents[2] / "saved_models"
    return Path(next(iter(spec.submodule_search_locations)))


def shipped_names() -> list[str]:
    """The names of the shipped versions, sorted."""
    folder = shipped_folder()
    return [name for name in names(folder) if SHIPPED in version_numbers(folder / name)]


def is_shipped(path: Path) -> bool:
    """Whether a version's folder is that of a shipped version.

    In a checkout, the folder of the shipped versions also has those that were trained there.
    """
    folder = path.absolute().parents[1]
    return path.name == str(SHIPPED) and folder.resolve() == shipped_folder().resolve()


def version_numbers(folder: Path) -> list[int]:
    """The numbers of the versions in a name's folder, ascending.

    Other subfolders are ignored, as a server ignores them.

    Raises:
        UsageError: the folder cannot be read.
    """
    return sorted(int(p.name) for p in read_folder(folder) if _is_number(p.name) and p.is_dir())


def check_name(name: str) -> None:
    """Check that a name can be a folder's, and a model's in the address of a server.

    Raises:
        UsageError: it has other characters than letters, digits, '-', '_' and '.', or begins with
            '.'.
    """
    if not _NAME.fullmatch(name):
        rule = "use letters, digits, '-', '_' and '.', and do not begin with '.'"
        raise UsageError(f"{name!r} is not a valid name of a published model; {rule}")


def read_folder(folder: Path) -> list[Path]:
    """What is in a folder of published models; nothing if it does not exist.

    Raises:
        UsageError: it is there, but cannot be read: a file, a link to nothing, no permission.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not folder.is_symlink():
            return []
        text = f"{folder} is no folder of published models that can be read ({error.strerror})"
        raise UsageError(f"{text}; repair it, or pass another folder") from error


def find(name: str, saved_models: Path, number: int | None = None) -> Version:
    """The published version of a name; the shipped version if there is none in `saved_models`.

    Args:
        name: name that the model was published under.
        saved_models: folder of published models.
        number: number of the version; None takes the newest.

    Raises:
        UsageError: there is no such name or version, or a folder cannot be read.
    """
    check_name(name)
    candidates = versions_of(name, saved_models)
    for version in candidates:
        if number in (None, version.number):
            return version
    if candidates:
        numbers = ", ".join(str(version.number) for version in candidates)
        raise UsageError(f"{name} has no version {number}; it has {numbers}")
    listing = f"tfgen-sample --list --saved-models {saved_models}"
    advice = hint(name, published(saved_models), listing)
    raise UsageError(f"unknown model {name!r}: neither in {saved_models} nor shipped{advice}")


def newest(name: str, saved_models: Path) -> Version | None:
    """The newest version of a name, the shipped one if there is none in `saved_models`.

    Raises:
        UsageError: a folder cannot be read.
    """
    return next(iter(versions_of(name, saved_models)), None)


def versions_of(name: str, saved_models: Path) -> list[Version]:
    """The versions of a name in a folder and the shipped one, the newest first.

    The shipped version is left out if the folder has a version of that number.

    Raises:
        UsageError: a folder cannot be read.
    """
    read_folder(saved_models)  # says why it cannot be read
    shipped = shipped_folder()
    folders = {SHIPPED: shipped} if SHIPPED in version_numbers(shipped / name) else {}
    folders |= dict.fromkeys(version_numbers(saved_models / name), saved_models)
    numbers = sorted(folders, reverse=True)
    return [Version(name, number, folders[number] / name / str(number)) for number in numbers]


def published(saved_models: Path) -> dict[str, list[Version]]:
    """All `versions_of` by name, without names whose folder cannot be read.

    Raises:
        UsageError: `saved_models` cannot be read.
    """
    table = {}
    for name in sorted({*shipped_names(), *names(saved_models)}):
        with contextlib.suppress(UsageError):
            table[name] = versions_of(name, saved_models)
    return table


def find_run(run: Mapping[str, Any], name: str, saved_models: Path) -> Path | None:
    """The newest version of a name that was published from a run; None if there is none.

    Args:
        run: what the manifest of a version repeats of its run; see `RunFolder.read_record`.
        name: name to look under.
        saved_models: folder of published models.
    """
    # Manifests of earlier versions of tfgen lack the number of epochs done.
    found = [p for p, m in manifests(saved_models, name) if m["run"] and {**run, **m["run"]} == run]
    return max(found, key=lambda path: int(path.name), default=None)


def manifests(saved_models: Path, name: str = "*") -> Iterator[tuple[Path, dict[str, Any]]]:
    """The versions of a name, or of all names, in a folder, each with its manifest.

    Those whose manifest is damaged are left out.
    """
    for path in filter(is_version, saved_models.glob(f"{name}/*")):
        with contextlib.suppress(WorkError):
            yield path, read_manifest(path)


def names(saved_models: Path) -> list[str]:
    """The names in a folder that have a version, sorted.

    Raises:
        UsageError: the folder cannot be read.
    """
    readable = []
    for path in read_folder(saved_models):
        with contextlib.suppress(UsageError):  # a file, or a folder that cannot be read
            if _NAME.fullmatch(path.name) and version_numbers(path):
                readable.append(path.name)
    return sorted(readable)


def next_number(saved_models: Path, name: str) -> int:
    """The number of the next version of a name, 2 or more: version 1 is the shipped one."""
    return max([FIRST_TRAINED - 1, *version_numbers(saved_models / name)]) + 1


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in a version's folder; what tfgen uses of it has the type that it expects.

    Returns:
        `files`, the SHA-256 of each; `signatures`; `family`, `weights`, `published` and
        `weights_sha256`, None if it is unknown; `run` and `evaluation`, which may be empty.

    Raises:
        WorkError: the manifest is missing or damaged.
    """
    try:
        manifest = atomic.read_json(path / MANIFEST)
        orjson.dumps(manifest)  # refuses integers, texts and depths that the page cannot have
        _check_entries(manifest, _ENTRIES)
    except (OSError, ValueError, TypeError) as error:
        raise WorkError(f"{path} is broken: its {MANIFEST} cannot be read ({error})") from error
    known = {name: value for name, value in manifest.items() if value is not None}
    return {**_DEFAULTS, "run": {}, "evaluation": {}, **known}


def _check_entries(value: Any, kind: Any, place: str = "") -> None:
    """Checks the types of a part of a manifest; see `_ENTRIES`.

    Raises:
        ValueError: an entry has another type; the message says which.
    """
    if isinstance(kind, dict) and isinstance(value, dict):
        for key, part in kind.items():
            name = key.removesuffix("?")
            for entry in value if key == "*" else [name]:
                if name == key or value.get(entry) is not None:
                    _check_entries(value.get(entry), part, f"{place}/{entry}")
    elif isinstance(kind, list) and isinstance(value, list):
        for entry in value:
            _check_entries(entry, kind[0], place)
    elif isinstance(kind, dict | list) or not isinstance(value, kind):
        raise ValueError(f"{place or 'it'} is {value!r:.60}")


def write_evaluation(path: Path, evaluation: Mapping[str, Any]) -> None:
    """Write a version's evaluation into its manifest, which no hash covers.

    Raises:
        WorkError: the manifest is damaged.
        OSError: the disk is full or the folder cannot be written.
    """
    manifest = read_manifest(path) | {"evaluation": dict(evaluation)}
    atomic.write_json(path / MANIFEST, manifest)


def verify(path: Path) -> dict[str, Any]:
    """Compare a version's files with its manifest; return the manifest.

    Raises:
        WorkError: a file is missing, damaged, or not in the manifest.
    """
    manifest = read_manifest(path)
    expected, hashes = manifest["files"], hash_files(path)
    for name in sorted(expected.keys() | hashes.keys()):
        if expected.get(name) != hashes.get(name):
            state = "damaged" if name in hashes else "missing"
            state = state if name in expected else f"not in its {MANIFEST}"
            raise WorkError(f"{path} is broken: {name} is {state}; take another version")
    return manifest


def hash_files(path: Path) -> dict[str, str]:
    """SHA-256 of each file in a version's folder by its relative name.

    Without the manifest, and without hidden files, such as a manifest that was not written to its
    end; no loader reads them.

    Raises:
        WorkError: there is a pipe, or a link that leads to no file.
    """
    paths = sorted(path.rglob("*"))
    for p in (p for p in paths if not p.is_file() and (p.is_symlink() or not p.is_dir())):
        raise WorkError(f"{path} is broken: {p.relative_to(path)} is a pipe, or a link to no file")
    files = (p for p in paths if p.is_file() and p.name != MANIFEST and p.name[0] != ".")
    return {p.relative_to(path).as_posix(): atomic.file_sha256(p) for p in files}


def write_version(saved_models: Path, name: str, write: Callable[[Path], dict[str, Any]]) -> Path:
    """Write the next version of a name, whole or not at all.

    What publications that were killed have left in `saved_models` is removed first.

    Args:
        saved_models: folder of all names.
        name: name to publish under.
        write: writes the version's files into the folder that it gets, and returns the entries of
            the manifest.

    Returns:
        The folder of the new version. Numbers start at 2: version 1 is the shipped one.

    Raises:
        OSError: the disk is full or the folder cannot be written; then there is no new version.
    """
    base = saved_models / name
    for folder in read_folder(saved_models):
        atomic.remove_abandoned(folder, _WRITING)
    # A server ignores the hidden folder, because its name is no integer.
    with atomic.fresh_folder(base, _WRITING) as temporary:
        manifest = {"format": 1, "name": name, "published": time.strftime("%Y-%m-%d")}
        manifest |= {**write(temporary), "files": hash_files(temporary)}
        atomic.write_json(temporary / MANIFEST, manifest)
        atomic.seal(temporary)
        while True:
            target = base / str(next_number(saved_models, name))
            try:
                temporary.rename(target)
                return target
            except OSError:
                # Another process took the number; otherwise the error is real.
                if not target.exists():
                    raise
