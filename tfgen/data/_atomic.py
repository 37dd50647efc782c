"""Folders that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfgen.errors import UsageError


@contextlib.contextmanager
def fresh_folder(root: Path, name: str) -> Iterator[Path]:
    """A hidden temporary folder in `root`, so on its disk; gone afterwards, with what was made in vain."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    folder = None
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
        yield folder
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for made in missing:
            with contextlib.suppress(OSError):  # not empty: the work was done
                made.rmdir()


def publish(folder: Path, target: Path) -> None:
    """Moves a whole folder to its place by one rename, its content on the disk before.

    Raises:
        UsageError: there is something at the target.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(target)
    except OSError:
        if target.exists():  # another process was faster
            raise UsageError(
                f"{target} exists already; remove it, or choose another name or folder"
            ) from None
        raise
