"""Imports a folder of pictures, whose pixels are decoded while the data set is written."""

import collections
import dataclasses
import hashlib
import math
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import ImageColor

from tfgen.data import pictures
from tfgen.data.pictures import Fitting, printable
from tfgen.data.writing import image_batches
from tfgen.errors import UsageError
from tfgen.system.atomic import file_sha256

_SPLITS = ("train", "test")
# Sizes that an error lists.
_MAX_SIZES = 3

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
        fitting: the size and the channels of all images, and how the pictures get them.
        skipped: the files that hold no picture, each with the reason; those whose pixels are broken
            are added when they are read.
        counts: number of images of each split that was read.
        duplicates: groups of files with the same content.
    """

    folder: Path
    splits: dict[str, Files]
    class_names: list[str] | None
    fitting: Fitting
    skipped: dict[Path, str]
    counts: dict[str, int] = field(default_factory=dict)
    duplicates: list[list[Path]] = field(default_factory=list)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of all images."""
        assert self.fitting.size is not None and self.fitting.channels is not None
        return (*self.fitting.size, self.fitting.channels)

    def read(
        self,
        split: str,
        encode: Callable[[np.ndarray], _Encoded],
        advance: pictures.Advance = lambda count: None,
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

        def decode(path: Path) -> np.ndarray:
            return pictures.to_array(
                pictures.fit_picture(pictures.open_picture(path, self.fitting), self.fitting)
            )

        def read_batch(batch: slice) -> tuple[list[int], _Encoded | None]:
            images = {}
            for index in range(len(paths))[batch]:
                image = pictures.attempt(decode, paths[index])
                if isinstance(image, str):
                    self.skipped[paths[index]] = image
                else:
                    images[index] = image
            return list(images), encode(np.stack(list(images.values()))) if images else None

        read: list[int] = []
        batches = image_batches(len(paths), self.image_shape)
        with warnings.catch_warnings(action="ignore"):  # of Pillow, about odd files
            for batch, (indices, encoded) in zip(
                batches, pictures.map_in_order(read_batch, batches), strict=True
            ):
                read += indices
                if encoded is not None:
                    yield encoded, None if labels is None else labels[indices]
                advance(len(paths[batch]))
        self.counts[split] = len(read)
        pictures.check_any(len(read), self.skipped.items())
        if split == "train" and labels is not None and (lost := set(labels) - set(labels[read])):
            name = (self.class_names or [])[min(lost)]
            raise UsageError(f"all pictures of the class {name!r} are broken; replace them")

    def list_skipped(self) -> dict[str, str]:
        """The reasons of `skipped` by relative path as messages show it, in order."""
        entries = sorted((path.relative_to(self.folder), why) for path, why in self.skipped.items())
        return {printable(path): reason for path, reason in entries}

    def list_duplicates(self) -> list[list[str]]:
        """`duplicates` that were not skipped, with relative paths as messages show them."""
        groups = [group for group in self.duplicates if group[0] not in self.skipped]
        return [[printable(path.relative_to(self.folder)) for path in group] for group in groups]


def import_images(source: str | Path, fitting: Fitting | None = None) -> ImageFolder:
    """Lists the pictures of a folder, and reads what their headers say; decodes none.

    Sub-folders named `train` and `test` are splits; without them, all pictures are `train`. Within
    a split, the first level of sub-folders are classes, labelled in the order of their names, or of
    their values if all names are integers; without sub-folders, there are no labels. Deeper folders
    belong to the class that they are in. Links are followed, hidden files are left out, and no file
    is read twice, see `tfgen.data.pictures.find_files`.

    Pictures are ordered by a hash of their relative paths, so that the end of the train images,
    which becomes the validation split, contains all classes. Files with the same content come
    first, so that none of them is a validation image and another one is trained on.

    Args:
        source: the folder.
        fitting: how pictures get the same size and the same channels; None: as they are.

    Returns:
        The pictures, with the names of the classes.

    Raises:
        UsageError: there are no pictures, their sizes differ and `fitting` has none, or the layout
            of the folders is not clear.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise UsageError(f"{printable(folder)} is no folder; pass the folder of the images")
    headers, skipped = read_headers(pictures.find_files([folder]))
    fitting = common_fitting(headers, skipped, fitting or Fitting())
    duplicates = _find_duplicates(headers)
    splits, class_names = _divide(folder, headers, duplicates)
    return ImageFolder(folder, splits, class_names, fitting, skipped, duplicates=duplicates)


def read_headers(paths: Sequence[Path]) -> tuple[dict[Path, pictures.Header], dict[Path, str]]:
    """The headers of picture files, and why the other files have none: `is empty`."""
    headers: dict[Path, pictures.Header] = {}
    skipped: dict[Path, str] = {}
    with warnings.catch_warnings(action="ignore"):  # of Pillow, about odd files
        results = pictures.map_in_order(
            lambda path: pictures.attempt(pictures.read_header, path), paths
        )
        for path, header in zip(paths, results, strict=True):
            if isinstance(header, str):
                skipped[path] = header
            else:
                headers[path] = header
    return headers, skipped


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
    is_grey = len(set(ImageColor.getrgb(fitting.background))) == 1 and all(
        header.is_grey for header in headers.values()
    )
    channels = fitting.channels or (1 if is_grey else 3)
    return dataclasses.replace(fitting, size=fitting.size or next(iter(sizes)), channels=channels)


def _find_duplicates(paths: Iterable[Path]) -> list[list[Path]]:
    """Groups of files with the same content; only files that share their size are read."""
    sizes = {path: path.stat().st_size for path in paths}
    counts, groups = collections.Counter(sizes.values()), collections.defaultdict(list)
    for path, size in sizes.items():
        if counts[size] > 1:
            groups[file_sha256(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _divide(
    folder: Path, paths: Iterable[Path], duplicates: Sequence[Sequence[Path]]
) -> tuple[dict[str, Files], list[str] | None]:
    """The splits, and the names of the classes.

    Groups of duplicates come first, then the order is that of the hashes of relative paths.
    """
    relative = {path.relative_to(folder): path for path in paths}
    groups = {path: number for number, group in enumerate(duplicates) for path in group}
    has_splits = any(place.parts[0] in _SPLITS for place in relative if len(place.parts) > 1)
    files: dict[str, list[Path]] = {}
    classes: dict[str, list[str | None]] = {}

    def rank(place: Path) -> tuple[float, bytes]:
        return groups.get(relative[place], math.inf), hashlib.sha256(bytes(place)).digest()

    for place in sorted(relative, key=rank):
        split, *names = place.parts if has_splits else ("train", *place.parts)
        if split not in _SPLITS or not names:
            where = printable(folder / place)
            raise UsageError(f"{where} lies beside the sub-folders train and test; move it there")
        files.setdefault(split, []).append(relative[place])
        name = _class_name(names[0]) if len(names) > 1 else None
        classes.setdefault(split, []).append(name)
    if "train" not in files:
        raise UsageError(f"{printable(folder)} has pictures in test, but none in train")
    known, tested = set(classes["train"]), set(classes.get("test", ()))
    if None in known and len(known) > 1:
        where = printable(files["train"][classes["train"].index(None)])
        raise UsageError(f"{where} lies beside folders of classes; move it into that of its class")
    if not tested <= known:
        raise UsageError(f"{printable(folder)}: test has classes that train lacks")
    splits = [split for split in _SPLITS if split in files]
    if None in known:
        return {split: Files(files[split], None) for split in splits}, None
    ordered = sorted(map(str, known))
    if all(name.isdecimal() and name.isascii() for name in ordered):
        ordered.sort(key=int)
    labels = {name: label for label, name in enumerate(ordered)}
    arrays = {split: np.array([labels[str(n)] for n in classes[split]]) for split in splits}
    return {split: Files(files[split], arrays[split]) for split in splits}, ordered


def _class_name(folder: str) -> str:
    """The name of a class: that of its folder, with accents as one character each."""
    # Folders from macOS have accents as characters of their own. TFDS stores a name in a line.
    return unicodedata.normalize("NFC", printable(folder)).strip()
