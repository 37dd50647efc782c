"""Imports a folder of pictures, whose pixels are decoded while the data set is written."""

import collections
import dataclasses
import functools
import hashlib
import math
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import ImageColor

from tfgen.data import pictures
from tfgen.data.pictures import Fitting
from tfgen.data.reading import held_out_share
from tfgen.data.writing import image_batches
from tfgen.errors import UsageError, printable
from tfgen.system.atomic import file_sha256

_SPLITS = ("train", "test")
# Sizes that an error lists.
_MAX_SIZES = 3

_Encoded = TypeVar("_Encoded")


class ImageFolder(NamedTuple):
    """The pictures of a folder, which are decoded when they are read.

    Attributes:
        folder: the folder.
        splits: the files of `train` and, if there is one, `test`, in the order in which they are
            stored, each with its label, which is 0 without classes.
        class_names: names of the classes by label; None without labels.
        fitting: the size and the channels of all images, and how the pictures get them.
        skipped: the files that hold no picture, each with the reason; those whose pixels are broken
            are added when they are read.
        duplicates: lists of files with the same content.
        groups: the name of the group of each file.
        with_alpha: number of pictures with an alpha channel.
    """

    folder: Path
    splits: dict[str, dict[Path, int]]
    class_names: list[str] | None
    fitting: Fitting
    skipped: dict[Path, str]
    duplicates: list[list[Path]]
    groups: dict[Path, str]
    with_alpha: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of all images."""
        assert self.fitting.size is not None and self.fitting.channels is not None
        return (*self.fitting.size, self.fitting.channels)

    def stored(self, split: str) -> list[Path]:
        """The files of a split that were not skipped, in the order in which they are stored."""
        return [path for path in self.splits[split] if path not in self.skipped]

    def held_out(self) -> dict[str, int]:
        """Numbers of validation and test images at the end of `train` that divide no group.

        They are as near as possible to the numbers that are taken without groups; see
        `tfgen.data.load`. The test images are 0 if there is a split `test`.

        Raises:
            UsageError: there are too few groups.
        """
        names = [self.groups[path] for path in self.stored("train")]
        starts = [n for n in range(1, len(names)) if names[n] != names[n - 1]]
        share, borders = held_out_share(len(names)), [len(names)]
        for later in [0] if "test" in self.splits else [1, 0]:  # borders to find in front of it
            if len(starts) <= later:
                raise UsageError(f"{len(starts) + 1} groups are too few; pass a finer --group-by")
            borders.append(min(starts[later:], key=lambda start: abs(borders[-1] - share - start)))
            starts = [start for start in starts if start < borders[-1]]
        end, validation, test = [*borders, borders[-1]][:3]
        return {"validation": end - validation, "test": validation - test}

    def read(
        self, split: str, encode: Callable[[np.ndarray], _Encoded], advance: pictures.Advance
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
        files, all_paths = self.splits[split], list(self.splits[split])

        def decode(path: Path) -> np.ndarray:
            picture = pictures.open_picture(path, self.fitting)
            return pictures.to_array(pictures.fit_picture(picture, self.fitting))

        def read_batch(batch: slice) -> tuple[_Encoded | None, np.ndarray, int]:
            paths, images = all_paths[batch], {}
            for path in paths:
                image = pictures.attempt(decode, path)
                if isinstance(image, str):
                    self.skipped[path] = image
                else:
                    images[path] = image
            encoded = encode(np.stack(list(images.values()))) if images else None
            return encoded, np.array([files[path] for path in images]), len(paths)

        batches = image_batches(len(files), self.image_shape)
        with warnings.catch_warnings(action="ignore"):  # of Pillow, about odd files
            for encoded, labels, count in pictures.map_in_order(read_batch, batches):
                if encoded is not None:
                    yield encoded, None if self.class_names is None else labels
                advance(count)
        stored = self.stored(split)
        pictures.check_any(len(stored), self.skipped.items())
        lost = set(files.values()) - {files[path] for path in stored}
        if split == "train" and lost:
            name = (self.class_names or [])[min(lost)]
            raise UsageError(f"all pictures of the class {name!r} are broken; replace them")

    def list_skipped(self) -> dict[str, str]:
        """The reasons of `skipped` by relative path as messages show it, in order."""
        entries = sorted((path.relative_to(self.folder), why) for path, why in self.skipped.items())
        return {printable(path): reason for path, reason in entries}

    def list_duplicates(self, values: Mapping[Path, object] | None = None) -> list[list[str]]:
        """`duplicates` that were not skipped, with relative paths as messages show them.

        Args:
            values: of files, such as their splits; lists only duplicates with different values, and
                a file for each value. None: lists all.
        """
        kept = [paths for paths in self.duplicates if paths[0] not in self.skipped]
        if values is not None:
            kept = [list({values.get(path): path for path in paths}.values()) for paths in kept]
        texts = [[printable(path.relative_to(self.folder)) for path in paths] for paths in kept]
        return [paths for paths in texts if len(paths) > 1]


def import_images(folder: Path, fitting: Fitting | None = None, group_by: str = "") -> ImageFolder:
    """Lists the pictures of a folder, and reads what their headers say; decodes none.

    Sub-folders named `train` and `test` are splits; without them, all pictures are `train`. Within
    a split, the first level of sub-folders are classes, labelled in the order of their names, or of
    their values if all names are integers; without sub-folders, there are no labels. Deeper folders
    belong to the class that they are in. Links are followed, hidden files are left out, and no file
    is read twice, see `tfgen.data.pictures.find_files`.

    Pictures are ordered by a hash of their relative paths, so that the end of the train images,
    which becomes the validation split, contains all classes. Files with the same content come
    first, so that none of them is a validation image and another one is trained on. With groups,
    those that share such a file with another group come first, and the hash is that of the group.

    Args:
        folder: where they are.
        fitting: how pictures get the same size and the same channels; None: as they are.
        group_by: regular expression that is searched for in relative paths; its first group, or the
            whole match, is the name of the file's group. A file without a match is one of its own.

    Returns:
        The pictures, with the names of the classes.

    Raises:
        UsageError: there are no pictures, their sizes differ and `fitting` has none, the layout of
            the folders is not clear, `group_by` is wrong, or a group is in `train` and `test`.
    """
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UsageError(f"{group_by!r} is no regular expression: {error}") from None
    if not folder.is_dir():
        raise UsageError(f"{printable(folder)} is no folder; pass the folder of the images")
    headers, skipped = read_headers(pictures.find_files([folder]))
    fitting = common_fitting(headers, skipped, fitting or Fitting())
    duplicates = _find_duplicates(headers)
    groups = {path: _group(pattern, str(path.relative_to(folder))) for path in headers}
    splits, class_names = _divide(folder, groups, duplicates)
    sides = [{groups[path] for path in files} for files in splits.values()]
    if len(sides) > 1 and (both := sides[0] & sides[1]):
        group = printable(min(both))
        raise UsageError(f"the group {group} is in train and in test; move it into one of them")
    alpha = sum(header.has_alpha for header in headers.values())
    return ImageFolder(folder, splits, class_names, fitting, skipped, duplicates, groups, alpha)


def read_headers(paths: Sequence[Path]) -> tuple[dict[Path, pictures.Header], dict[Path, str]]:
    """The headers of picture files, and why the other files have none: `is empty`."""
    read = functools.partial(pictures.attempt, pictures.read_header)
    with warnings.catch_warnings(action="ignore"):  # of Pillow, about odd files
        results = list(zip(paths, pictures.map_in_order(read, paths), strict=True))
    headers = {path: header for path, header in results if isinstance(header, pictures.Header)}
    return headers, {path: reason for path, reason in results if isinstance(reason, str)}


def common_fitting(
    headers: Mapping[Path, pictures.Header], skipped: Mapping[Path, str], fitting: Fitting
) -> Fitting:
    """The fitting with the size and the channels that all pictures get.

    Raises:
        UsageError: there is no picture; or `fitting` has no size, and the pictures have several.
    """
    pictures.check_any(len(headers), skipped.items())
    sizes = collections.Counter(header.size for header in headers.values())
    if fitting.size is None and len(sizes) > 1:
        frequent = [f"{w}x{h} ({count})" for (h, w), count in sizes.most_common(_MAX_SIZES)]
        text = f"the {sizes.total()} pictures have {len(sizes)} sizes: {', '.join(frequent)}"
        raise UsageError(f"{text}; bring them to one size (width x height), for example --size 64")
    is_on_grey = len(set(ImageColor.getrgb(fitting.background))) == 1
    is_grey = is_on_grey and all(header.is_grey for header in headers.values())
    channels = fitting.channels or (1 if is_grey else 3)
    return dataclasses.replace(fitting, size=fitting.size or next(iter(sizes)), channels=channels)


def _find_duplicates(paths: Iterable[Path]) -> list[list[Path]]:
    """Lists of files with the same content; only files that share their size are read."""
    sizes = {path: path.stat().st_size for path in paths}
    counts, groups = collections.Counter(sizes.values()), collections.defaultdict(list)
    for path, size in sizes.items():
        if counts[size] > 1:
            groups[file_sha256(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _group(pattern: re.Pattern[str], place: str) -> str:
    """The name of the group of a file; an empty match counts as none."""
    match = pattern.search(place)
    return (match and (match[min(1, pattern.groups)] or match[0])) or place


def _divide(
    folder: Path, groups: Mapping[Path, str], duplicates: Iterable[Sequence[Path]]
) -> tuple[dict[str, dict[Path, int]], list[str] | None]:
    """The splits, and the names of the classes.

    Groups that share duplicates come first, then the order is that of the hashes of groups.
    """
    relative = {path.relative_to(folder): path for path in groups}
    first: dict[str, int] = {}
    for number, paths in reversed(list(enumerate(duplicates))):
        if len(names := {groups[path] for path in paths}) > 1:
            first |= dict.fromkeys(names, number)
    has_splits = any(place.parts[0] in _SPLITS for place in relative if len(place.parts) > 1)
    found: dict[str, dict[Path, str | None]] = {split: {} for split in _SPLITS}

    def rank(place: Path) -> tuple[float, bytes, Path]:
        group = groups[relative[place]]
        return first.get(group, math.inf), hashlib.sha256(os.fsencode(group)).digest(), place

    for place in sorted(relative, key=rank):
        split, *parts = place.parts if has_splits else ("train", *place.parts)
        if split not in _SPLITS or not parts:
            where = printable(folder / place)
            raise UsageError(f"{where} lies beside the sub-folders train and test; move it there")
        # Folders from macOS have accents as characters of their own. TFDS stores a name in a line.
        name = unicodedata.normalize("NFC", printable(parts[0])).strip()
        found[split][relative[place]] = name if len(parts) > 1 else None
    if not found["train"]:
        raise UsageError(f"{printable(folder)} has pictures in test, but none in train")
    known, tested = (set(found[split].values()) for split in _SPLITS)
    if None in known and len(known) > 1:
        where = printable(next(path for path, name in found["train"].items() if name is None))
        raise UsageError(f"{where} lies beside folders of classes; move it into that of its class")
    if not tested <= known:
        text = f"{printable(folder)} has classes in test that train lacks"
        raise UsageError(f"{text}; every class needs pictures in train")
    ordered = sorted(map(str, known - {None}))
    if all(name.isdecimal() and name.isascii() for name in ordered):
        ordered.sort(key=int)
    # Either all pictures have a class, or none has: then None is the only one.
    labels: dict[str | None, int] = {name: label for label, name in enumerate([*ordered, None])}
    splits = {
        split: {path: labels[name] for path, name in files.items()}
        for split, files in found.items()
        if files
    }
    return splits, ordered or None
