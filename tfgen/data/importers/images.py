"""Imports a folder of pictures, whose pixels are decoded while the data set is written."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from tfgen.data.pictures import (
    Advance,
    Fitting,
    check_any,
    common_shape,
    find_pictures,
    map_in_order,
    printable,
    quiet_pillow,
    read_headers,
    try_decode,
)
from tfgen.data.writing import image_batches
from tfgen.errors import UsageError

_SPLITS = ("train", "test")

_Encoded = TypeVar("_Encoded")


class Files(NamedTuple):
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
        advance: Advance = lambda count: None,
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
        paths, labels = self.splits[split]

        def read_batch(batch: slice) -> tuple[list[int], _Encoded | None]:
            images = {}
            for index in range(len(paths))[batch]:
                image = try_decode(paths[index], self.fitting, self.image_shape)
                if isinstance(image, str):
                    self.skipped[paths[index]] = image
                else:
                    images[index] = image
            return list(images), encode(np.stack(list(images.values()))) if images else None

        read: list[int] = []
        batches = image_batches(len(paths), self.image_shape)
        with quiet_pillow():
            for batch, (indices, encoded) in zip(
                batches, map_in_order(read_batch, batches), strict=True
            ):
                read += indices
                if encoded is not None:
                    yield encoded, None if labels is None else labels[indices]
                advance(len(paths[batch]))
        self.counts[split] = len(read)
        check_any([paths[index] for index in read], self.skipped)
        if split == "train" and labels is not None and (lost := set(labels) - set(labels[read])):
            name = (self.class_names or [])[min(lost)]
            raise UsageError(f"all pictures of the class {name!r} are broken; replace them")

    def list_skipped(self) -> dict[str, str]:
        """The reasons of `skipped` by relative path as messages show it, in order."""
        entries = sorted((path.relative_to(self.folder), why) for path, why in self.skipped.items())
        return {printable(path): reason for path, reason in entries}


def import_images(
    source: str | Path, fitting: Fitting | None = None, advance: Advance = lambda count: None
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
        advance: called with the number of files whose headers were just read.

    Returns:
        The pictures, with the names of the classes.

    Raises:
        UsageError: there are no pictures, their sizes differ and `fitting` has none, or the layout
            of the folders is not clear.
    """
    folder, fitting = Path(source), fitting or Fitting()
    if not folder.is_dir():
        raise UsageError(f"{printable(folder)} is no folder; pass the folder of the images")
    with quiet_pillow():
        headers, skipped = read_headers(find_pictures([folder]), advance)
    shape = common_shape(headers, skipped, fitting)
    classes = _sort_into_classes(folder, list(headers))
    class_names = _name_classes(folder, classes)
    splits = {split: _in_order(folder, files, class_names) for split, files in classes.items()}
    return ImageFolder(folder, splits, class_names, shape, fitting, skipped)


def _sort_into_classes(
    folder: Path, pictures: Sequence[Path]
) -> dict[str, dict[str | None, list[Path]]]:
    """The pictures by split and class; those outside of class folders have the class None."""
    relative = [path.relative_to(folder) for path in pictures]
    has_splits = any(path.parts[0] in _SPLITS for path in relative if len(path.parts) > 1)
    classes: dict[str, dict[str | None, list[Path]]] = {}
    for path, place in zip(pictures, relative, strict=True):
        split, *names = place.parts if has_splits else ("train", *place.parts)
        if split not in _SPLITS or not names:
            raise UsageError(
                f"{printable(path)} lies beside the splits; move it into "
                f"{printable(folder / 'train')} or {printable(folder / 'test')}"
            )
        name = _class_name(names[0]) if len(names) > 1 else None
        classes.setdefault(split, {}).setdefault(name, []).append(path)
    return {split: classes[split] for split in _SPLITS if split in classes}


def _class_name(folder: str) -> str:
    """The name of a class: that of its folder, with accents as one character each."""
    # Folders from macOS have accents as characters of their own. TFDS stores a name in a line.
    name = unicodedata.normalize("NFC", printable(folder)).strip()
    if not name:
        raise UsageError(f"the name of the folder {folder!r} is blank; rename it")
    return name


def _name_classes(
    folder: Path, classes: Mapping[str, Mapping[str | None, list[Path]]]
) -> list[str] | None:
    """The names of the classes, which all splits share; None without classes."""
    if "train" not in classes:
        raise UsageError(
            f"{printable(folder)} has pictures in the sub-folder test, but none in train"
        )
    train = classes["train"]
    for split, files in classes.items():
        if None in files and len(files) > 1:
            raise UsageError(
                f"{printable(files[None][0])} lies beside sub-folders, which are classes; move "
                "each picture into the folder of its class, or all pictures into one folder"
            )
        if unknown := files.keys() - train.keys():
            text = ", ".join(sorted(str(name) for name in unknown if name is not None))
            raise UsageError(
                f"{printable(folder)}: {split} and train have different classes"
                f"{f', such as {text}' if text else ''}; every class needs pictures in train"
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
