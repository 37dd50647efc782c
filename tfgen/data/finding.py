"""Lists the files below folders: links followed, nothing hidden, no file twice."""

import heapq
import os
from collections.abc import Iterable
from pathlib import Path

from tfgen.errors import UsageError

# What `tfgen-sample` writes beside the pictures of a folder: their seeds and labels.
SAMPLES_TABLE = "samples.csv"


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """The files among the paths, and all files below the folders among them.

    Hidden files and folders within a folder are left out, and so is the table that `tfgen-sample`
    writes beside its pictures. Links are followed. A file that is reached twice, by links or hard
    links, is listed once, where it is without a link if possible.
    Only reading a file shows whether it holds a picture; so this list has all kinds of files, and
    the folders and links that cannot be followed.

    Args:
        paths: files and folders.

    Returns:
        The files, in the order of the arguments; those of a folder are sorted by their path.

    Raises:
        UsageError: a path does not exist.
    """
    walk = _Walk()
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += walk.below(path)
        elif os.path.lexists(path):
            files += walk.take(path)
        else:
            raise UsageError(f"{printable(path)} does not exist; pass a picture or a folder")
    return files


def printable(path: str | Path) -> str:
    """A path in one line of UTF-8; what is neither printable nor UTF-8 is escaped: `caf\\xe9`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Walk:
    """Lists folders, and takes each file and each folder once, by device and inode."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def take(self, path: Path) -> list[Path]:
        """The file, or nothing if it was taken before."""
        try:
            status = path.stat()
        except OSError:  # a broken link, which reading will report
            return [path]
        return [path] if self._is_new(status.st_dev, status.st_ino) else []

    def below(self, root: Path) -> list[Path]:
        """All files below a folder, sorted."""
        files: list[Path] = []
        # Links come last, so that a file is listed where it is without a link.
        heap = [(False, root)]
        while heap:
            is_link, path = heapq.heappop(heap)
            try:
                if is_link and not path.is_dir():
                    files += self.take(path)
                    continue
                entries = list(os.scandir(path)) if self._enter(path) else []
            except OSError:  # no permission, which reading will report
                files.append(path)
                continue
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") or entry.name == SAMPLES_TABLE:
                    continue
                if entry.is_symlink() or entry.is_dir():
                    heapq.heappush(heap, (entry.is_symlink(), path / entry.name))
                else:
                    # Not `entry.inode()`, which is the same for all files on many FUSE mounts.
                    files += self.take(path / entry.name)
        return sorted(files, key=lambda path: path.parts)

    def _enter(self, folder: Path) -> bool:
        """Whether the folder was not entered before."""
        status = folder.stat()
        return self._is_new(status.st_dev, status.st_ino)

    def _is_new(self, device: int, inode: int) -> bool:
        key = (device, inode)
        is_new = key not in self._seen
        self._seen.add(key)
        return is_new
