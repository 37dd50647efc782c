"""`tfgen-data`: prepares a TFDS directory from local files."""

import argparse
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfgen.errors import UsageError, size_text
from tfgen.settings.fields import Config, hint, option
from tfgen.system.status import status
from tfgen.system.terminal import count_noun, progress

from ._command import run_command, terminable
from ._flags import Parser, add_flags, align_columns, read_flags, read_path

if TYPE_CHECKING:
    from tfgen.data.importers.images import ImageFolder
    from tfgen.data.pictures import Size

PROG = "tfgen-data"
_DESCRIPTION = "Prepare a data set from local files, as a TFDS directory for tfgen and TFDS."
_FORMATS = {
    "idx": "IDX files with the names of the MNIST family, gzipped or not; or one file of images",
    "images": "folder of PNG, JPEG, WebP, BMP, GIF or TIFF images; sub-folders are classes, and "
    "sub-folders named train and test are splits",
}
# The flags of one format alone.
_FLAGS = {
    "prefix": "idx",
    **dict.fromkeys(("size", "fit", "background", "channels", "strict"), "images"),
}
_SIZE = re.compile(r"(\d{1,4})(?:[x×](\d{1,4}))?")
# Files left out that are shown; metadata.json has all of them.
_MAX_SKIPPED = 20


@dataclass(frozen=True)
class DataOptions(Config):
    """What `tfgen-data` imports, and what it stores about the images."""

    prefix: str | None = option(
        None,
        "data set to import from a folder of IDX files that holds several, such as emnist-letters",
    )
    size: str | None = option(
        None,
        "width and height that images are resized to [pixels]: 64, or 64x48 (default: as they are)",
    )
    fit: Literal["crop", "pad", "stretch"] = option(
        "crop",
        "how to change the aspect ratio of images: crop, pad with bars, or stretch",
    )
    background: str = option(
        "white", "colour behind transparent pixels and of the bars of --fit pad: a name or #rrggbb"
    )
    channels: int | None = option(
        None,
        "1 for grey, 3 for RGB (default: 1 if all images are grey; a palette counts as RGB)",
        minimum=1,
        maximum=3,
    )
    strict: bool = option(
        False,
        "refuse a folder with files that are broken or are no images, instead of skipping them",
    )
    description: str | None = option(None, "what the images show")
    license: str | None = option(
        None, "licence of the images and who holds it; appended to the description"
    )
    citation: str | None = option(None, "how to cite the data set")
    homepage: str | None = option(None, "web address of the data set")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _parser() -> Parser:
    table = "\n".join(align_columns(list(_FORMATS.items())))
    parser = Parser(PROG, f"{_DESCRIPTION}\n\nformats:\n{table}")
    parser.add_argument(
        "format", metavar="{" + ",".join(_FORMATS) + "}", help="format of the files"
    )
    parser.add_argument(
        "source", type=read_path, metavar="SOURCE", help="folder of the files, or one IDX file"
    )
    parser.add_argument(
        "--name", required=True, metavar="NAME", help="name of the data set, in snake case"
    )
    parser.add_argument(
        "--to",
        required=True,
        type=read_path,
        metavar="FOLDER",
        help="TFDS root; the data set is written to FOLDER/NAME/VERSION",
    )
    add_flags(parser, DataOptions)
    return parser


def _body(argv: list[str]) -> None:
    flags = _parser().parse(argv)
    options = read_flags(flags, DataOptions)
    if flags.format not in _FORMATS:
        raise UsageError(f"unknown format {flags.format!r}{hint(flags.format, _FORMATS)}")
    for name, owner in _FLAGS.items():
        if flags.format != owner and getattr(options, name) != getattr(DataOptions(), name):
            raise UsageError(f"--{name} is for the format {owner} only; leave it out")
    # SIGTERM raises an error here, so that no incomplete folder is left behind.
    with terminable("terminated; nothing was written"):
        _write(flags, options)


def _write(flags: argparse.Namespace, options: DataOptions) -> None:
    from tfgen.data.writing import check_target

    check_target(flags.name, flags.to)
    facts = {
        "description": _describe(flags.name, options),
        "citation": options.citation,
        "homepage": options.homepage,
    }
    write = _write_idx if flags.format == "idx" else _write_images
    folder, counts, shape, num_classes = write(flags, options, facts)
    images = ", ".join(f"{count} {name}" for name, count in counts.items())
    classes = "no labels" if num_classes is None else f"{num_classes} classes"
    print(f"wrote {folder}: {images} images of {size_text(shape)}, {classes}")
    root = shlex.quote(str(flags.to))
    print(f"train on it with: tfgen-train vae --dataset {flags.name} --data-dir {root}")


# The folder, the number of images of each split, the shape of an image, the number of classes.
_Written = tuple[Path, Mapping[str, int], tuple[int, int, int], int | None]


def _write_idx(
    flags: argparse.Namespace, options: DataOptions, facts: Mapping[str, Any]
) -> _Written:
    from tfgen.data.dataset import count_classes
    from tfgen.data.importers.idx import import_idx
    from tfgen.data.writing import write_prepared

    splits = import_idx(flags.source, options.prefix)
    folder = write_prepared(flags.name, splits, flags.to, **facts)
    counts = {name: len(split) for name, split in splits.items()}
    return folder, counts, splits["train"].image_shape, count_classes(splits.values())


def _write_images(
    flags: argparse.Namespace, options: DataOptions, facts: Mapping[str, Any]
) -> _Written:
    from rich.console import Console

    from tfgen.data.importers.images import import_images
    from tfgen.data.pictures import Fitting
    from tfgen.data.writing import png_encoder, write_batches

    size = None if options.size is None else _parse_size(options.size)
    fitting = Fitting(size, options.fit, options.background, options.channels)
    with status("listing files and reading their headers"):
        images = import_images(flags.source, fitting)
    encode = png_encoder()

    def describe_skipped() -> Mapping[str, Any]:
        """What metadata.json says of the skipped files, which `--strict` refuses."""
        skipped = images.list_skipped()
        if options.strict and skipped:
            _print_skipped(images, "without --strict, metadata.json lists all")
            raise UsageError(
                f"{count_noun(len(skipped), 'file')} of {flags.source} are broken or no image; "
                "repair or remove them, or leave out --strict"
            )
        return {"skipped_files": skipped} if skipped else {}

    total = sum(len(files.paths) for files in images.splits.values())
    with progress(Console(stderr=True), "importing images", total) as advance:
        folder = write_batches(
            flags.name,
            {name: images.read(name, encode, advance) for name in images.splits},
            flags.to,
            image_shape=images.image_shape,
            classes=images.class_names,
            metadata=describe_skipped,
            **facts,
        )
    _print_skipped(images, f"{folder / 'metadata.json'} lists all")
    num_classes = None if images.class_names is None else len(images.class_names)
    return folder, images.counts, images.image_shape, num_classes


def _print_skipped(images: "ImageFolder", where: str) -> None:
    skipped = list(images.list_skipped().items())
    if not skipped:
        return
    total = len(skipped) + sum(images.counts.values())
    print(f"skipped {len(skipped)} of {total} files:")
    for path, reason in skipped[:_MAX_SKIPPED]:
        print(f"  {path} {reason}")
    if len(skipped) > _MAX_SKIPPED:
        print(f"  and {len(skipped) - _MAX_SKIPPED} more; {where}")


def _parse_size(text: str) -> "Size":
    """Height and width from `64` or, width first, `64x48`."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(
            f"--size {text!r} is no size; pass a number of pixels up to 9999, such as 64, or width "
            "and height, such as 64x48"
        )
    return int(match[2] or match[1]), int(match[1])


def _describe(name: str, options: DataOptions) -> str | None:
    """The description that TFDS stores, with the licence at its end."""
    if options.license is None:
        return options.description
    text = f"{options.description.rstrip('.')}." if options.description else f"{name}."
    return f"{text} Licence: {options.license}"


if __name__ == "__main__":
    raise SystemExit(main())
