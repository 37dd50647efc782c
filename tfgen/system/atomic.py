"""Files: written whole or not at all, read within bounds; their hashes, and locks of folders."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfgen.errors import UsageError
from tfgen.system.terminal import format_bytes

if TYPE_CHECKING:
    import numpy as np

# The file whose lock is that of its folder.
LOCK = ".lock"
_MAX_JSON = 2**26
# A packed file may hold this many times its own bytes, and some more; deflate reaches 1032.
_RATIO, _SLACK = 100, 2**26


@contextlib.contextmanager
def fresh_folder(root: Path, name: str) -> Iterator[Path]:
    """A hidden temporary folder in `root`, from where one rename moves it into place.

    Removed on exit, together with any parent folder it created that is still empty. A process that
    is killed leaves it; `remove_abandoned` removes it then.

    Args:
        root: the folder to create it in; created where it is missing.
        name: what the temporary folder is for, a part of its name.
    """
    missing = [parent for parent in (root, *root.parents) if not parent.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            yield _create_held(root, name, stack)
    finally:
        for parent in missing:
            with contextlib.suppress(OSError):  # not empty: the work was done
                parent.rmdir()


def _create_held(root: Path, name: str, stack: contextlib.ExitStack) -> Path:
    """A temporary folder whose lock this process holds, both until the end of `stack`."""
    while True:
        temporary = tempfile.TemporaryDirectory(
            prefix=f".{name}-", dir=root, ignore_cleanup_errors=True
        )
        folder = Path(stack.enter_context(temporary))
        # Before this process holds it, another one may take it for abandoned, and remove it.
        with contextlib.suppress(FileNotFoundError):
            stack.enter_context(_directory_lock(folder))
            if folder.exists():
                return folder


def remove_abandoned(root: Path, name: str) -> None:
    """Removes the temporary folders that killed processes left of `fresh_folder(root, name)`.

    A folder that a running process holds stays. Where the file system has no locks, as some network
    file systems, all of them stay.
    """
    for folder in root.glob(f".{name}-*"):
        with (
            contextlib.suppress(OSError),
            _directory_lock(folder, fcntl.LOCK_NB) as is_held,
        ):
            if is_held:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _directory_lock(folder: Path, flags: int = 0) -> Iterator[bool]:
    """A context in which this process holds the lock of a directory; whether it does hold it.

    It does not if another process holds it, which is only noticed with `fcntl.LOCK_NB` in `flags`,
    or if the file system has no locks of directories.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        is_held = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        except OSError:
            is_held = False
        yield is_held
    finally:
        os.close(descriptor)


def seal(folder: Path) -> None:
    """Flushes a temporary folder to the disk and gives it the permissions of an ordinary folder."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    folder.chmod(0o755)  # tempfile creates a private folder


def move_into_place(folder: Path, target: Path, overwrite: bool = False) -> None:
    """Flushes a folder to the disk and moves it to its place by one rename.

    Args:
        folder: the folder.
        target: its place.
        overwrite: whether a folder there is replaced; it is moved aside first.

    Raises:
        UsageError: the target exists, and is not to be replaced.
    """
    seal(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with fresh_folder(target.parent, target.name) as aside:
        try:
            if overwrite and target.exists():
                target.rename(aside / target.name)
            folder.rename(target)
        except OSError:
            if target.exists():  # another process was faster
                raise UsageError(f"{target} exists already; choose another place") from None
            raise
        finally:
            if not target.exists() and (aside / target.name).exists():  # Ctrl-C came in between
                (aside / target.name).rename(target)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        OSError: the folder is not writable or the disk is full.
    """
    with fresh_file(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        OSError: see `write_bytes`.
    """
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


@contextlib.contextmanager
def fresh_file(path: Path) -> Iterator[Path]:
    """A hidden temporary file beside `path`, which it becomes at the end by one rename.

    Removed if the block raises; then what was at `path` stays. It is flushed to the disk before it
    is renamed, so that not even a power failure leaves a part of it.

    Raises:
        OSError: the folder is not writable or the disk is full.
    """
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)  # the user does not know the temporary file
        raise
    finally:
        with contextlib.suppress(OSError):  # it was renamed, or never created
            temporary.unlink()


def write_arrays(path: Path, arrays: Mapping[str, "np.ndarray"]) -> None:
    """Writes arrays by name to a compressed NPZ file, whole or not at all."""
    import numpy as np

    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    write_bytes(path, file.getvalue())


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be read, or is no file: to open a pipe would wait for its other end.
        ValueError: it is no JSON, has more than 64 MiB, or is nested too deeply.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file")
    with path.open("rb") as file:
        try:
            return json.loads(file.read(_MAX_JSON))
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def check_unpacked(unpacked: int, packed: int) -> None:
    """Checks how many bytes a file of so many bytes is to become in memory or on the disk.

    Raises:
        ValueError: they are out of proportion.
    """
    if unpacked > _RATIO * packed + _SLACK:
        raise ValueError(f"{format_bytes(packed)} cannot hold {format_bytes(unpacked)}")


def check_members(path: Path) -> None:
    """Checks the members of a ZIP file before any of them is unpacked.

    Raises:
        ValueError: one is there twice, or outside of the file's folder, or they are too large.
        zipfile.BadZipFile: it is no ZIP file.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    places = {tuple(member.filename.split("/")) for member in members}
    if len(places) < len(members) or any(".." in parts or not parts[0] for parts in places):
        raise ValueError("members are there twice, or outside of its folder")
    check_unpacked(sum(member.file_size for member in members), path.stat().st_size)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(folder: Path, title: str, remedy: str) -> Iterator[None]:
    """A context in which the folder belongs to this process alone.

    The operating system releases the lock however the process ends. Its file stays, because a
    process that waits to open it would otherwise lock a file that no longer has a name.

    Args:
        folder: the folder, which exists.
        title: what errors call the folder.
        remedy: what to do about an error, for example `choose another folder`.

    Raises:
        UsageError: another process uses the folder, or it is not writable.
    """
    try:
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise UsageError(f"{title} is not writable ({error.strerror}); {remedy}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{title} is in use by another process; wait, or {remedy}") from None
        yield
