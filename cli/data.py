"""`tfgen-data`: prepares a TFDS directory from local files."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfgen.errors import UsageError
from tfgen.settings.fields import Config, option
from tfgen.system.status import status
from tfgen.system.terminal import count_noun, progress

from ._command import command, describe_skipped
from ._flags import argument

if TYPE_CHECKING:
    from tfgen.data.importers.images import ImageFolder
    from tfgen.data.pictures import Size

# The flags of one format alone.
_OF_IMAGES = ("size", "fit", "background", "channels", "group_by", "strict")
_FLAGS = {"prefix": "idx", **dict.fromkeys(_OF_IMAGES, "images")}
# A discriminator learns fewer images than these by heart (Zhao et al. 2020).
_LEARNED_BY_HEART = 1000
_SIZE = re.compile(r"([1-9]\d{0,3})(?:[x×]([1-9]\d{0,3}))?")


@dataclass(frozen=True)
class DataOptions(Config):
    """What `tfgen-data` imports, where it writes it, and what it stores about the images."""

    format: Literal["idx", "images"] = argument(
        "{idx,images}",
        "idx: IDX files with the names of the MNIST family, gzipped or not, or one file of images; "
        "images: folder of PNG, JPEG, WebP, BMP, GIF or TIFF images, whose sub-folders are "
        "classes, and sub-folders named train and test are splits",
    )
    source: Path = argument("SOURCE", "folder of the files, or one IDX file")
    name: str = option(MISSING, "name of the data set, in snake case")
    to: Path = option(MISSING, "folder of data sets to write to; the result is in NAME/VERSION")
    prefix: str | None = option(
        None, "idx: data set to import if SOURCE has several, such as emnist-letters"
    )
    size: str | None = option(
        None, "size of images, 64 or 64x48 (width x height) pixels (default: as they are)"
    )
    fit: Literal["crop", "pad", "stretch"] = option(
        "crop", "how to change the aspect ratio: crop, pad with bars, or stretch"
    )
    background: str = option("white", "colour behind transparency and in bars, such as #808080")
    channels: int | None = option(
        None, "1 for grey, 3 for RGB (default: 1 if all images are grey)", minimum=1, maximum=3
    )
    group_by: str | None = option(
        None, "regular expression for paths; files with equal first groups or matches share a split"
    )
    strict: bool = option(False, "refuse files that are no images, instead of skipping them")
    overwrite: bool = option(False, "replace a data set of this name, once the new one is complete")
    description: str | None = option(None, "what the images show")
    license: str | None = option(None, "licence and copyright holder, added to the description")


@command("tfgen-data", DataOptions)
def main(options: DataOptions) -> None:
    """Prepare a data set from local files, as a TFDS directory for tfgen and TFDS."""
    from tfgen.data.dataset import note_few
    from tfgen.data.writing import check_target
    from tfgen.training import advice

    defaults = {field.name: field.default for field in fields(options)}
    for name, owner in _FLAGS.items():
        if options.format != owner and getattr(options, name) != defaults[name]:
            raise UsageError(f"--{name.replace('_', '-')} is for {owner} only; leave it out")
    check_target(options.name, options.to, options.overwrite)
    write = _write_idx if options.format == "idx" else _write_images
    folder, counts, (height, width, channels), num_classes = write(options)
    images = ", ".join(f"{count} {name}" for name, count in counts.items())
    classes = "no labels" if num_classes is None else f"{num_classes} classes"
    size = f"{width} × {height} pixels (width × height), {'grey' if channels == 1 else 'RGB'}"
    few, shape = note_few(counts["train"]), (height, width, channels)
    print("\n".join([f"wrote {folder}: {images} images of {size}, {classes}", *few]))
    minutes = advice.minutes_for(shape)
    print("\n".join(advice.describe(shape, minutes)))
    words = ["tfgen-train", "gan", "--minutes", str(minutes)]
    if counts["train"] < _LEARNED_BY_HEART:
        words += ["--diff-augment", "translation"]
    words += ["--dataset", options.name, "--data-dir", str(options.to)]
    print(f"train on it with: {shlex.join(words)}")


# The folder, the number of images of each split, the shape of an image, the number of classes.
_Written = tuple[Path, Mapping[str, int], tuple[int, int, int], int | None]


def _write_idx(options: DataOptions) -> _Written:
    from tfgen.data.dataset import count_classes
    from tfgen.data.importers.idx import import_idx
    from tfgen.data.writing import write_prepared

    splits = import_idx(options.source, options.prefix)
    folder = write_prepared(options.name, splits, options.to, **_keywords(options))
    counts = {name: len(split) for name, split in splits.items()}
    return folder, counts, splits["train"].image_shape, count_classes(splits.values())


def _write_images(options: DataOptions) -> _Written:
    from rich.console import Console

    from tfgen.data.importers.images import import_images
    from tfgen.data.pictures import Fitting
    from tfgen.data.reading import MIN_IMAGES
    from tfgen.data.writing import png_encoder, write_batches

    size = None if options.size is None else _parse_size(options.size)
    fitting = Fitting(size, options.fit, options.background, options.channels)
    with status("listing files and reading their headers"):
        images = import_images(options.source, fitting, options.group_by or "")
    encode = png_encoder()

    def metadata() -> Mapping[str, Any]:
        """What metadata.json says of skipped files, which `--strict` refuses, copies and groups."""
        if (count := len(images.stored("train"))) < MIN_IMAGES:
            raise UsageError(f"{count} pictures to train on; the least is {MIN_IMAGES}")
        skipped = images.list_skipped()
        if options.strict and skipped:
            rest = "; without --strict, metadata.json lists all"
            print("\n".join(describe_skipped(list(skipped.items()), rest)))
            text = f"{count_noun(len(skipped), 'file')} of {options.source} are broken or no image"
            raise UsageError(f"{text}; repair or remove them, or leave out --strict")
        facts: dict[str, Any] = {"held_out": images.held_out()} if options.group_by else {}
        facts |= {"skipped_files": skipped, "duplicate_files": images.list_duplicates()}
        return {name: value for name, value in facts.items() if value}

    total = sum(map(len, images.splits.values()))
    with progress(Console(stderr=True), "importing images", total) as advance:
        folder = write_batches(
            options.name,
            {name: images.read(name, encode, advance) for name in images.splits},
            options.to,
            image_shape=images.image_shape,
            classes=images.class_names,
            metadata=metadata,
            **_keywords(options),
        )
    rest = f"; {folder / 'metadata.json'} lists all"
    lines = describe_skipped(list(images.list_skipped().items()), rest)
    if images.with_alpha:
        text = f"{count_noun(images.with_alpha, 'picture')} with an alpha channel, laid over"
        lines.append(f"{text} {options.background}; --background sets another colour")
    if options.group_by:
        lines.append(f"{len(set(images.groups.values()))} groups, none in two splits")
    for line in lines + _describe_duplicates(images, folder):
        print(line)
    counts = {split: len(images.stored(split)) for split in images.splits}
    num_classes = None if images.class_names is None else len(images.class_names)
    return folder, counts, images.image_shape, num_classes


def _describe_duplicates(images: "ImageFolder", folder: Path) -> list[str]:
    """A line on the pictures that are exact copies of others; none if there are none."""
    from tfgen.data.reading import open_prepared

    if not (sets := images.list_duplicates()):
        return []
    parts = open_prepared(folder).parts.items()
    split_of = {path: k for k, (split, a, b) in parts for path in images.stored(split)[a:b]}
    is_split = bool(images.list_duplicates(split_of))
    place = "some are in two splits: remove them" if is_split else "none is in two splits"
    label_of = {path: label for files in images.splits.values() for path, label in files.items()}
    if mixed := images.list_duplicates(label_of):
        count = count_noun(len(mixed), "picture")
        place += f"; {count} in two classes, such as {' = '.join(mixed[0][:2])}"
    count = count_noun(sum(map(len, sets)) - len(sets), "exact duplicate")
    example, rest = " = ".join(sets[0][:2]), f"{folder / 'metadata.json'} lists all"
    return [f"{count}, such as {example}; {rest}; {place}"]


def _parse_size(text: str) -> "Size":
    """Height and width from `64` or, width first, `64x48`."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(f"--size {text!r} is no size; pass pixels, such as 64 or 64x48")
    return int(match[2] or match[1]), int(match[1])


def _keywords(options: DataOptions) -> dict[str, Any]:
    """Arguments for writing: the description that TFDS stores, with the licence at its end."""
    text = options.description
    if options.license is not None:
        text = f"{(text or options.name).rstrip('.')}. Licence: {options.license}"
    return {"description": text, "overwrite": options.overwrite}
