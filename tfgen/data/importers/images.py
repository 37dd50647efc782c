"""Imports a folder of PNG or JPEG images."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfgen.data.dataset import Split
from tfgen.data.importers.base import Imported
from tfgen.data.memory import check_memory
from tfgen.errors import UsageError, size_text

_SUFFIXES = {".png", ".jpg", ".jpeg"}
# Images in other formats are refused, not skipped: otherwise part of the data would be missing.
_OTHER_SUFFIXES = {".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".heic", ".avif"}
_SPLITS = ("train", "test")
_CHANNELS = {"L": 1, "RGB": 3}
# Pillow modes that are refused: what such an image has, and the mode to convert it to.
_REFUSED_MODES = {
    "1": ("one bit per pixel", "L"),
    "P": ("a palette", "RGB"),
    "PA": ("a palette and an alpha channel", "RGB"),
    "LA": ("an alpha channel", "L"),
    "RGBA": ("an alpha channel", "RGB"),
    "CMYK": ("CMYK colours", "RGB"),
}
_MODE_NAMES = {"L": "8-bit greyscale", "RGB": "RGB"}


def import_images(source: str | Path) -> Imported:
    """Imports the images of a folder; sub-folders are splits and classes.

    Sub-folders named `train` and `test` are splits; without them, all images are `train`. Within a
    split, sub-folders are classes, labelled in the order of their names; without sub-folders, the
    images have no labels. Images are ordered by a hash of their relative paths, so that the end of
    the train images, which becomes the validation split, contains all classes.

    Args:
        source: the folder.

    Returns:
        `train` and, if there is one, `test`: images uint8[N,H,W,C], C = 1 or 3, labels int64[N]
        or None, with the names of the classes.

    Raises:
        UsageError: there are no images, an image is broken, or sizes, modes or the layout of the
            folders disagree.
    """
    folder = Path(source)
    if not folder.exists():
        raise UsageError(f"{folder} does not exist; pass the folder of the images")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; pass the folder of the images")
    roots = _split_folders(folder)
    files = {split: _list_classes(root) for split, root in roots.items()}
    class_names = _check_classes(files, roots)
    splits = {}
    reference = None
    for name, classes in files.items():
        paths, labels = _in_order(folder, classes, class_names)
        if reference is None:
            reference = paths[0]
        splits[name] = Split(_read_images(paths, reference), labels)
    return Imported(splits, class_names)


def _visible(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _is_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in _OTHER_SUFFIXES:
        raise UsageError(f"{path} is neither PNG nor JPEG; convert it to PNG")
    return suffix in _SUFFIXES and path.is_file()


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split; without split folders, `folder` is `train`."""
    entries = _visible(folder)
    names = [path.name for path in entries if path.is_dir()]
    if not any(split in names for split in _SPLITS):
        return {"train": folder}
    for path in entries:
        if path.name not in _SPLITS and (path.is_dir() or _is_image(path)):
            raise UsageError(
                f"{path} lies beside the splits; "
                f"move it into {folder / 'train'} or {folder / 'test'}"
            )
    if "train" not in names:
        raise UsageError(
            f"{folder} has a sub-folder test but no train; name the training images' folder train"
        )
    return {split: folder / split for split in _SPLITS if split in names}


def _list_classes(root: Path) -> dict[str | None, list[Path]]:
    """The image files of a split by class; without sub-folders, of the class None."""
    entries = _visible(root)
    images = [path for path in entries if not path.is_dir() and _is_image(path)]
    folders = [path for path in entries if path.is_dir()]
    if not folders:
        if not images:
            raise UsageError(f"{root} holds no PNG or JPEG images")
        return {None: images}
    if images:
        raise UsageError(
            f"{images[0]} lies beside sub-folders; move it into the folder of its class"
        )
    classes: dict[str | None, list[Path]] = {}
    for folder in folders:
        entries = _visible(folder)
        for path in entries:
            if path.is_dir():
                raise UsageError(
                    f"{path} is a folder within the class {folder.name!r}; classes hold images only"
                )
        classes[folder.name] = [path for path in entries if _is_image(path)]
        if not classes[folder.name]:
            raise UsageError(f"{folder} holds no PNG or JPEG images; remove it or fill it")
    return classes


def _check_classes(
    files: dict[str, dict[str | None, list[Path]]], roots: dict[str, Path]
) -> list[str] | None:
    """The names of the classes, which all splits share; None without classes."""
    train = files["train"]
    for split, classes in files.items():
        if (None in classes) != (None in train):
            raise UsageError(
                f"{roots['train']} and {roots[split]} disagree: "
                "only one of them has sub-folders for classes"
            )
        for name in classes:
            if name not in train:
                raise UsageError(
                    f"the class {name!r} is in {roots[split]} but not in {roots['train']}"
                )
    return None if None in train else sorted(str(name) for name in train)


def _in_order(
    folder: Path, classes: dict[str | None, list[Path]], class_names: list[str] | None
) -> tuple[list[Path], np.ndarray | None]:
    """The image files of a split in the order of their hashes, and their labels."""
    entries = [(path, name) for name, paths in classes.items() for path in paths]
    entries.sort(key=lambda entry: _hash(entry[0].relative_to(folder)))
    paths = [path for path, _ in entries]
    if class_names is None:
        return paths, None
    return paths, np.array([class_names.index(str(name)) for _, name in entries], np.int64)


def _hash(relative: Path) -> str:
    return hashlib.sha256(relative.as_posix().encode("utf-8", "surrogateescape")).hexdigest()


def _read_images(paths: list[Path], reference_path: Path) -> np.ndarray:
    """The images as uint8[N,H,W,C]; all must have the reference's size and mode."""
    reference = _decode(reference_path)
    shape = (reference.height, reference.width, _CHANNELS[reference.mode])
    check_memory(str(reference_path.parent), shape, len(paths))
    images = np.empty((len(paths), *shape), np.uint8)
    for index, path in enumerate(paths):
        image = _decode(path)
        if image.size != reference.size or image.mode != reference.mode:
            size = size_text((image.height, image.width, _CHANNELS[image.mode]))
            raise UsageError(
                f"{path} is {size}, but {reference_path} is {size_text(shape)} "
                "(height × width × channels); all images must have the same size"
            )
        images[index] = np.asarray(image).reshape(shape)
    return images


def _decode(path: Path) -> Image.Image:
    """One image, completely decoded, with its checksums verified."""
    try:
        # verify() checks the CRCs of a PNG, which load() does not. The file must be opened again
        # afterwards.
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.verify()
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.load()
            decoded = image.copy()
    except UnidentifiedImageError:
        raise UsageError(
            f"{path} is not a PNG or JPEG image; convert it to PNG or remove it"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # from the operating system, such as a missing permission
        raise UsageError(f"{path} is a broken image ({error}); replace or remove it") from None
    if decoded.mode not in _CHANNELS:
        if decoded.mode not in _REFUSED_MODES:
            # No advice on how: Pillow's `convert` would cut the values off at 255.
            bits = 16 if "16" in decoded.mode else 32
            raise UsageError(f"{path} has {bits} bits per pixel; scale its values to 8 bits")
        content, mode = _REFUSED_MODES[decoded.mode]
        raise UsageError(
            f"{path} has {content}; convert it to {_MODE_NAMES[mode]}, for example with "
            f"image.convert({mode!r}) of Pillow"
        )
    return decoded
