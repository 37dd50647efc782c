"""Reads a folder of PNG or JPEG images into arrays."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfgen.data.importers.idx import Splits
from tfgen.data.memory import check_memory
from tfgen.errors import UsageError

_SUFFIXES = {".png", ".jpg", ".jpeg"}
# Images of other formats are told, not skipped: a data set would silently miss a part.
_OTHER_IMAGES = {".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".heic", ".avif"}
_SPLITS = ("train", "test")
_CHANNELS = {"L": 1, "RGB": 3}
# What to convert an image to, by the Pillow mode it has.
_REFUSED = {
    "1": ("black and white of one bit", "greyscale (L)"),
    "P": ("with a palette", "RGB or greyscale (L)"),
    "PA": ("with a palette and alpha", "RGB"),
    "LA": ("greyscale with alpha", "greyscale (L)"),
    "RGBA": ("RGB with alpha", "RGB"),
    "CMYK": ("CMYK", "RGB"),
}


class ImageFolder(NamedTuple):
    """What `read_image_folder` found.

    Attributes:
        splits: `train` and, where there is one, `test`: images uint8[N,H,W,C], labels int64[N] or
            None.
        class_names: the classes' names, by label; None without classes.
    """

    splits: Splits
    class_names: list[str] | None


def read_image_folder(folder: str | Path) -> ImageFolder:
    """The images of a folder, the class given by the sub-folder.

    Sub-folders named `train` and `test` are splits; without them all images are `train`. Within a
    split, sub-folders are classes, labelled in the order of their names; images directly in it have
    no class. The order of the images is that of a hash of their relative paths, so that the end of
    the train images, which becomes the validation split, holds every class.

    Raises:
        UsageError: there are no images, one is broken, or sizes, modes or layout disagree.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(
            f"no such folder: {folder}" if not folder.exists() else f"{folder} is no folder"
        )
    roots = _split_roots(folder)
    files = {split: _list_split(root) for split, root in roots.items()}
    class_names = _class_names(files, roots)
    reference: tuple[Path, Image.Image] | None = None
    splits: Splits = {}
    for split, entries in files.items():
        paths = [path for paths in entries.values() for path in paths]
        classes = [name for name, paths in entries.items() for _ in paths]
        order = sorted(range(len(paths)), key=lambda i: _hash(paths[i].relative_to(folder)))
        if reference is None:
            reference = (paths[order[0]], _decode(paths[order[0]]))
        images = _read_images([paths[i] for i in order], *reference)
        labels = None
        if class_names is not None:
            labels = np.array([class_names.index(str(classes[i])) for i in order], np.int64)
        splits[split] = (images, labels)
    return ImageFolder(splits, class_names)


def _hash(relative: Path) -> str:
    return hashlib.sha256(relative.as_posix().encode("utf-8", "surrogateescape")).hexdigest()


def _visible(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _split_roots(folder: Path) -> dict[str, Path]:
    inside = _visible(folder)
    folders = [path for path in inside if path.is_dir()]
    names = [path.name for path in folders]
    if not any(split in names for split in _SPLITS):
        return {"train": folder}
    for path in inside:
        if path.name not in _SPLITS and (path.is_dir() or _is_image(path)):
            raise UsageError(
                f"{path} lies beside the splits; move it into {folder / 'train'} or {folder / 'test'}"
            )
    if "train" not in names:
        raise UsageError(
            f"{folder} has a sub-folder test but no train; name the training images' folder train"
        )
    return {split: folder / split for split in _SPLITS if split in names}


def _is_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in _OTHER_IMAGES:
        raise UsageError(f"{path} is neither PNG nor JPEG; convert it to PNG")
    return suffix in _SUFFIXES and path.is_file()


def _list_split(root: Path) -> dict[str | None, list[Path]]:
    """The paths of a split's images by class; the class None where there are no sub-folders."""
    inside = _visible(root)
    here = [path for path in inside if not path.is_dir() and _is_image(path)]
    folders = [path for path in inside if path.is_dir()]
    if not folders:
        if not here:
            raise UsageError(f"{root} holds no PNG or JPEG images")
        return {None: here}
    if here:
        raise UsageError(f"{here[0]} lies beside sub-folders; put it into the folder of its class")
    classes: dict[str | None, list[Path]] = {}
    for folder in folders:
        entries = _visible(folder)
        for path in entries:
            if path.is_dir():
                raise UsageError(
                    f"{path} is a folder within the class {folder.name!r}; classes hold images only"
                )
        paths = [path for path in entries if _is_image(path)]
        if not paths:
            raise UsageError(f"{folder} holds no PNG or JPEG images; remove it or fill it")
        classes[folder.name] = paths
    return classes


def _class_names(
    files: dict[str, dict[str | None, list[Path]]], roots: dict[str, Path]
) -> list[str] | None:
    train = files["train"]
    for split, entries in files.items():
        if (None in entries) != (None in train):
            raise UsageError(
                f"{roots['train']} and {roots[split]} disagree: one has classes, the other has none"
            )
        for name in entries:
            if name not in train:
                raise UsageError(
                    f"the class {name!r} is in {roots[split]} but not in {roots['train']}"
                )
    return None if None in train else sorted(str(name) for name in train)


def _read_images(paths: list[Path], first: Path, reference: Image.Image) -> np.ndarray:
    """The images as uint8[N,H,W,C], all of the size and mode of `reference`, which `first`
    holds."""
    shape = (reference.height, reference.width, _CHANNELS[reference.mode])
    check_memory(str(first.parent), shape, len(paths))
    images = np.empty((len(paths), *shape), np.uint8)
    for place, path in enumerate(paths):
        image = _decode(path)
        if image.size != reference.size or image.mode != reference.mode:
            raise UsageError(
                f"{path} is {image.width} x {image.height} {image.mode}, but {first} is "
                f"{reference.width} x {reference.height} {reference.mode}; all images must agree"
            )
        images[place] = np.asarray(image).reshape(shape)
    return images


def _decode(path: Path) -> Image.Image:
    """One image, decoded in full, its checksums held."""
    try:
        # verify() reads a PNG to its end and checks its CRCs, which load() does not; it uses the
        # file up.
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.verify()
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.load()
            decoded = image.copy()
    except UnidentifiedImageError:
        raise UsageError(
            f"{path} is no PNG or JPEG image; convert it to PNG or remove it"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the operating system's, a missing permission for one: not the image's fault
        raise UsageError(f"{path} is a broken image ({error}); replace or remove it") from None
    if decoded.mode not in _CHANNELS:
        is_, to = _REFUSED.get(
            decoded.mode, (f"of mode {decoded.mode}", "8-bit greyscale (L) or RGB")
        )
        raise UsageError(f"{path} is {is_}; convert it to {to}")
    return decoded
