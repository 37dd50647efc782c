"""Imports a folder of pictures, whose pixels are decoded while the data set is written."""

import hashlib
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from tfgen.data.decoding import Fitting, Header
from tfgen.data.finding import find_pictures, printable
from tfgen.data.parallel import map_in_order, map_short, parts_of
from tfgen.data.pictures import (
    check_any,
    common_channels,
    common_size,
    quiet_pillow,
    try_decode,
    try_header,
)
from tfgen.errors import UsageError

_SPLITS = ("train", "test")
# Most pictures that one call decodes, and most bytes of their pixels.
_PART, _PART_BYTES = 64, 2**22

# Shows progress: takes a title and the number of files, and gives a context with a function to call
# with the number of files that were just read.
Track = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

_Encoded = TypeVar("_Encoded")


@dataclass(frozen=True)
class Files:
    """The pictures of a split, in the order in which they are stored.

    Attributes:
        paths: their files.
        labels: int64[N], or None.
    """

    paths: list[Path]
    labels: np.ndarray | None


@dataclass(frozen=True)
class ImageFolder:
    """The pictures of a folder, which are decoded when they are read.

    Attributes:
        folder: the folder.
        splits: the files of `train` and, if there is one, `test`.
        class_names: names of the classes by label; None without labels.
        image_shape: height, width, channels of all images.
        fitting: how the pictures get that shape.
        skipped: the files that hold no picture, each with the reason; those whose pixels are broken
            are added when they are read.
        counts: number of images of each split that was read.
    """

    folder: Path
    splits: dict[str, Files]
    class_names: list[str] | None
    image_shape: tuple[int, int, int]
    fitting: Fitting
    skipped: dict[Path, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def read(
        self,
        split: str,
        encode: Callable[[np.ndarray], _Encoded],
        advance: Callable[[int], None] = lambda count: None,
    ) -> Iterator[tuple[_Encoded, np.ndarray | None]]:
        """Decodes the pictures of a split in several threads, a bounded number at a time.

        Args:
            split: `train` or `test`.
            encode: called with images uint8[≤B,H,W,C] in one of the threads.
            advance: called with the number of files that were just read.

        Yields:
            what `encode` returned, and the labels int64[≤B] of these images, or None.

        Raises:
            UsageError: no picture of the split can be decoded, or none of a class to train on.
        """
        paths, labels = self.splits[split].paths, self.splits[split].labels
        size = max(1, min(_PART, _PART_BYTES // math.prod(self.image_shape)))

        def read_part(part: Sequence[int]) -> tuple[list[int], _Encoded | None, dict[Path, str]]:
            decoded = {index: self._decode(paths[index]) for index in part}
            broken = {paths[i]: value for i, value in decoded.items() if isinstance(value, str)}
            images = {i: value for i, value in decoded.items() if not isinstance(value, str)}
            encoded = encode(np.stack(list(images.values()))) if images else None
            return list(images), encoded, broken

        read: list[int] = []
        with quiet_pillow():
            for indices, encoded, broken in map_in_order(
                read_part, parts_of(range(len(paths)), size)
            ):
                self.skipped.update(broken)
                read += indices
                if encoded is not None:
                    yield encoded, None if labels is None else labels[indices]
                advance(len(indices) + len(broken))
        self.counts[split] = len(read)
        self._check_read(split, read)

    def list_skipped(self) -> dict[str, str]:
        """The reasons of `skipped` by relative path as messages show it, in order."""
        entries = sorted((path.relative_to(self.folder), why) for path, why in self.skipped.items())
        return {printable(path): reason for path, reason in entries}

    def _decode(self, path: Path) -> np.ndarray | str:
        height, width, channels = self.image_shape
        return try_decode(path, self.fitting, (height, width), channels)

    def _check_read(self, split: str, read: Sequence[int]) -> None:
        """Refuses a split that has lost all its pictures, or all those of a class to train on."""
        paths, labels = self.splits[split].paths, self.splits[split].labels
        check_any([paths[index] for index in read], self.skipped)
        if split == "train" and labels is not None and self.class_names is not None:
            for label in sorted(set(labels) - set(labels[list(read)])):
                first = paths[int(np.argmax(labels == label))]
                raise UsageError(
                    f"all pictures of the class {self.class_names[label]!r} are broken; "
                    f"{printable(first)} {self.skipped[first]}; remove or replace them"
                )


def import_images(
    source: str | Path, fitting: Fitting | None = None, track: Track | None = None
) -> ImageFolder:
    """Lists the pictures of a folder, and reads what their headers say; decodes none.

    Sub-folders named `train` and `test` are splits; without them, all pictures are `train`. Within
    a split, the first level of sub-folders are classes, labelled in the order of their names, or of
    their values if all names are integers; without sub-folders, there are no labels. Deeper folders
    belong to the class that they are in. Links are followed, hidden files are left out, and no file
    is read twice, see `tfgen.data.pictures.find_pictures`.

    Pictures are ordered by a hash of their relative paths, so that the end of the train images,
    which becomes the validation split, contains all classes.

    Args:
        source: the folder.
        fitting: how pictures get the same size and the same channels; None: as they are.
        track: shows progress; None shows nothing.

    Returns:
        The pictures, with the names of the classes.

    Raises:
        UsageError: there are no pictures, their sizes differ and `fitting` has none, or the layout
            of the folders is not clear.
    """
    folder, fitting = Path(source), fitting or Fitting()
    if not folder.exists():
        raise UsageError(f"{printable(folder)} does not exist; pass the folder of the images")
    if not folder.is_dir():
        raise UsageError(f"{printable(folder)} is a file; pass the folder of the images")
    paths = find_pictures([folder])
    headers: dict[Path, Header] = {}
    skipped: dict[Path, str] = {}
    progress = nullcontext(_ignore) if track is None else track("reading headers", len(paths))
    with quiet_pillow(), progress as advance:
        for path, header in zip(paths, map_short(try_header, paths), strict=True):
            if isinstance(header, str):
                skipped[path] = header
            else:
                headers[path] = header
            advance(1)
    check_any(headers, skipped)
    roots = _split_folders(folder, list(headers))
    classes = {split: _classes(root, list(headers)) for split, root in roots.items()}
    class_names = _check_classes(classes, roots)
    height, width = fitting.size or common_size(headers.values())
    channels = fitting.channels or common_channels(headers.values(), fitting)
    splits = {split: _in_order(folder, files, class_names) for split, files in classes.items()}
    return ImageFolder(folder, splits, class_names, (height, width, channels), fitting, skipped)


def _ignore(count: int) -> None:
    """Shows no progress."""


def _split_folders(folder: Path, pictures: Sequence[Path]) -> dict[str, Path]:
    """The folder of each split; without split folders, `folder` is `train`."""
    parts = [path.relative_to(folder).parts for path in pictures]
    names = {names[0] for names in parts if len(names) > 1}
    if names.isdisjoint(_SPLITS):
        return {"train": folder}
    for names_of_path in parts:
        if len(names_of_path) == 1 or names_of_path[0] not in _SPLITS:
            raise UsageError(
                f"{printable(folder / names_of_path[0])} lies beside the splits; move it into "
                f"{printable(folder / 'train')} or {printable(folder / 'test')}"
            )
    if "train" not in names:
        raise UsageError(
            f"{printable(folder)} has pictures in the sub-folder test, but none in train; name the "
            "training images' folder train"
        )
    return {split: folder / split for split in _SPLITS if split in names}


def _classes(root: Path, pictures: Sequence[Path]) -> dict[str | None, list[Path]]:
    """The pictures of a split by class; without sub-folders, of the class None."""
    classes: dict[str | None, list[Path]] = {}
    for path in pictures:
        if path.is_relative_to(root):
            first, *rest = path.relative_to(root).parts
            classes.setdefault(_class_name(root / first) if rest else None, []).append(path)
    if None in classes and len(classes) > 1:
        loose = classes[None]
        others = f" and {len(loose) - 1} more pictures lie" if len(loose) > 1 else " lies"
        raise UsageError(
            f"{printable(loose[0])}{others} beside sub-folders, which are classes; move "
            "each picture into the folder of its class, or all pictures into one folder"
        )
    return classes


def _class_name(folder: Path) -> str:
    """The name of a class: that of its folder, with accents as one character each."""
    # Folders from macOS have accents as characters of their own. TFDS stores a name in a line.
    name = unicodedata.normalize("NFC", printable(folder.name)).strip()
    if not name:
        raise UsageError(f"the name of the folder {str(folder)!r} is blank; rename it")
    return name


def _check_classes(
    classes: Mapping[str, Mapping[str | None, list[Path]]], roots: Mapping[str, Path]
) -> list[str] | None:
    """The names of the classes, which all splits share; None without classes."""
    train = classes["train"]
    for split, files in classes.items():
        if (None in files) != (None in train):
            raise UsageError(
                f"{printable(roots['train'])} and {printable(roots[split])} disagree: "
                "only one of them has sub-folders for classes"
            )
        for name in files:
            if name not in train:
                raise UsageError(
                    f"the class {name!r} has pictures in {printable(roots[split])}, but none in "
                    f"{printable(roots['train'])}"
                )
    if None in train:
        return None
    names = sorted(str(name) for name in train)
    is_numbered = all(name.isdecimal() and name.isascii() for name in names)
    return sorted(names, key=int) if is_numbered else names


def _in_order(
    folder: Path, classes: Mapping[str | None, list[Path]], class_names: Sequence[str] | None
) -> Files:
    """The pictures of a split in the order of their hashes, and their labels."""
    entries = [(path, name) for name, paths in classes.items() for path in paths]
    entries.sort(key=lambda entry: _hash(entry[0].relative_to(folder)))
    paths = [path for path, _ in entries]
    if class_names is None:
        return Files(paths, None)
    labels = {name: label for label, name in enumerate(class_names)}
    return Files(paths, np.array([labels[str(name)] for _, name in entries], np.int64))


def _hash(relative: Path) -> str:
    return hashlib.sha256(relative.as_posix().encode("utf-8", "surrogateescape")).hexdigest()
