"""Images from anywhere as what is evaluated: a folder of pictures, or an NPZ file."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.data.pictures import (
    Collection,
    Fitting,
    Source,
    find_pictures,
    find_sources,
    printable,
    read_images,
)
from tfgen.errors import UsageError, size_text
from tfgen.evaluation.progress import Advance, silent
from tfgen.evaluation.subject import Subject
from tfgen.publishing import versions
from tfgen.training.folder import RunFolder

# How images of another size than the data set's are resized, for the result and the terminal.
RULE = "cropped to the aspect ratio, then Pillow's antialiased Lanczos filter"


@dataclass(frozen=True)
class ImageSet(Subject):
    """Images to evaluate, in the size and the channels of the data set.

    Attributes:
        images: `uint8[N, H, W, C]`.
        reading: what became of the files, for JSON: `available`, the number of files or of images
            in the NPZ file; `resized`, how many of the N had another size, and by which `rule`;
            `skipped`, how many files hold no picture.
        skipped: these files, each with the reason.
    """

    images: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 1, 1), np.uint8))
    reading: dict[str, Any] = field(default_factory=dict)
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.images)

    def samples(
        self, n: int, seed: int, labels: np.ndarray | None = None, advance: Advance = silent
    ) -> tuple[np.ndarray, float]:
        """The first n images, and 0 as their rate: nothing is drawn."""
        advance(n)
        return self.images[:n], 0.0


def find_images(what: str, saved_models: Path) -> Source | None:
    """The files of a folder of pictures, or an NPZ file; None if a model is named.

    Args:
        what: path or name.
        saved_models: folder of published models.

    Raises:
        UsageError: the folder holds no files, there is no such NPZ file, or a published model has
            the name of the folder.
    """
    path = Path(what)
    if path.suffix.lower() == ".npz":
        return find_sources([path])[0]
    is_model = RunFolder(path).config.is_file() or versions.is_version(path)
    if is_model or not path.is_dir():
        return None
    check_unambiguous(what, saved_models)
    # Without what an earlier evaluation wrote into the folder, so that the same images are drawn.
    files = [file for file in find_pictures([path]) if file.name != default_out(title(what)).name]
    if not files:
        raise UsageError(f"{what} is neither a run nor a version, and holds no pictures")
    return Source(False, files)


def check_unambiguous(what: str, saved_models: Path) -> None:
    """Refuses a folder whose name is also the name of a published model.

    Raises:
        UsageError: it is.
    """
    if Path(what).name == what and _is_published(what, saved_models):
        raise UsageError(
            f"{what} is a folder and the name of a published model; for the folder, pass ./{what}, "
            "for the model, run the command in another folder"
        )


def default_out(name: str) -> Path:
    """The file that the evaluation of images of that title is written to."""
    return Path(f"{name}-evaluation.json")


def _is_published(name: str, saved_models: Path) -> bool:
    try:
        versions.find(name, saved_models)
    except UsageError:
        return False
    return True


def read_image_set(
    what: str,
    source: Source,
    shape: tuple[int, ...],
    most: int,
    seed: int,
    advance: Advance = silent,
) -> ImageSet:
    """Images to evaluate.

    Of more than `most` images, that many are drawn at random; they keep their order.

    Args:
        what: path of the folder or of the NPZ file.
        source: what `find_images` returned for it.
        shape: height, width and channels that the images get.
        most: number of images that are needed.
        seed: of the draw.
        advance: called with the number of files that were just read.

    Raises:
        UsageError: there is no image that can be read, or the data set's images are neither grey
            nor RGB.
    """
    height, width, channels = shape
    if channels not in (1, 3):
        raise UsageError(f"images of {size_text(shape)} are neither grey nor RGB")
    fitting = Fitting((height, width), channels=channels)
    if source.is_npz:
        collection = read_images([source], fitting, advance)
        available, images = len(collection.images), collection.images
        resized = min(available, most) if collection.resized else 0
        images, skipped = images[drawn(available, most, seed)], collection.skipped
    else:
        available = len(source.files)
        images, resized, skipped = _read_files(what, source.files, fitting, most, seed, advance)
    if not len(images):
        raise UsageError(f"{what} holds no images")
    digest = hashlib.sha256(f"{images.shape};".encode())
    digest.update(np.ascontiguousarray(images).data)
    reading = {"available": available, "resized": resized, "rule": RULE, "skipped": len(skipped)}
    return ImageSet(
        title=title(what),
        path=Path(what),
        kind="images",
        run={},
        weights="",
        weights_sha256=digest.hexdigest(),
        density=None,
        draw=no_draw,
        num_classes=0,
        image_shape=tuple(shape),
        cost={},
        images=images,
        reading=reading,
        skipped=skipped,
    )


def title(what: str) -> str:
    """The name of a folder or of an NPZ file, for tables and files."""
    path = Path(what).absolute()
    return printable(Path(path.stem if path.suffix.lower() == ".npz" else path.resolve().name))


def _read_files(
    what: str, files: list[Path], fitting: Fitting, most: int, seed: int, advance: Advance
) -> tuple[np.ndarray, int, list[tuple[Path, str]]]:
    """Images of picture files, the number of resized ones, and the files without a picture."""
    collections: list[Collection] = []
    order: list[int] = []
    skipped: list[tuple[Path, str]] = []
    fault: UsageError | None = None
    for indices in _rounds(len(files), most, seed, collections):
        drawn = [files[i] for i in indices]
        try:
            collection = read_images([Source(False, drawn)], fitting, advance)
        except UsageError as error:  # none of them holds a picture; others may
            fault = fault or error
            skipped += [(path, "holds no picture") for path in drawn]
            continue
        collections.append(collection)
        skipped += collection.skipped
        index_of = {printable(files[i]): i for i in indices}
        order += [index_of[name] for name in collection.names]
    if not collections:
        raise UsageError(f"{what} holds no pictures: {fault}") from fault
    images = np.concatenate([collection.images for collection in collections])
    resized = sum(collection.resized for collection in collections)
    return images[np.argsort(order)], resized, skipped


def _rounds(count: int, most: int, seed: int, collections: list[Collection]) -> Iterator[list[int]]:
    """Indices of files to read, until there are enough images in the collections.

    The first round has as many as are needed, the following ones as many as could not be read.
    """
    order = np.arange(count)
    if count > most:
        order = np.random.default_rng(seed).permutation(count)
    start, missing = 0, most
    while missing and start < count:
        yield sorted(order[start : start + missing].tolist())
        start += missing
        missing = most - sum(len(collection.images) for collection in collections)


def drawn(count: int, most: int, seed: int) -> np.ndarray:
    """Indices of `most` of so many images in their order; of all, if there are fewer.

    The memory depends on `most` alone.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False, shuffle=False))


def no_draw(*arguments: Any) -> np.ndarray:
    """The `draw` of images: there is no model to draw more of them."""
    raise NotImplementedError("images are not drawn")
