"""`tfgen-data`: prepares a TFDS directory from local files."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfgen.errors import UsageError, size_text
from tfgen.settings.fields import Config, hint, option

from ._command import run_command, terminable
from ._flags import Parser, add_flags, align_columns, read_flags, read_path

if TYPE_CHECKING:
    from tfgen.data.importers.base import Imported

PROG = "tfgen-data"
_DESCRIPTION = "Prepare a data set from local files, as a TFDS directory for tfgen and TFDS."
_FORMATS = {
    "idx": "IDX files with the names of the MNIST family, gzipped or not; or one file of images",
    "images": "PNG or JPEG images of one size; sub-folders are classes, and sub-folders named "
    "train and test are splits",
}


@dataclass(frozen=True)
class DataOptions(Config):
    """What `tfgen-data` imports, and what it stores about the images."""

    prefix: str | None = option(
        None,
        "data set to import from a folder of IDX files that holds several, such as emnist-letters",
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
    if options.prefix is not None and flags.format != "idx":
        raise UsageError("--prefix is for the format idx only; leave it out")
    # SIGTERM raises an error here, so that no incomplete folder is left behind.
    with terminable("terminated; nothing was written"):
        _write(flags, options)


def _write(flags: argparse.Namespace, options: DataOptions) -> None:
    from tfgen.data.writing import check_name, write_prepared

    check_name(flags.name)
    imported = _import(flags.format, flags.source, options)
    folder = write_prepared(
        flags.name,
        imported.splits,
        flags.to,
        class_names=imported.class_names,
        description=_describe(flags.name, options),
        citation=options.citation,
        homepage=options.homepage,
    )
    print(f"wrote {folder}: {_summarize(imported)}")
    root = shlex.quote(str(flags.to))
    print(f"train on it with: tfgen-train vae --dataset {flags.name} --data-dir {root}")


def _import(file_format: str, source: Path, options: DataOptions) -> "Imported":
    """The splits of local files; a new importer is one more choice here."""
    if file_format == "idx":
        from tfgen.data.importers.idx import import_idx

        return import_idx(source, options.prefix)
    from tfgen.data.importers.images import import_images

    return import_images(source)


def _describe(name: str, options: DataOptions) -> str | None:
    """The description that TFDS stores, with the licence at its end."""
    if options.license is None:
        return options.description
    text = f"{options.description.rstrip('.')}." if options.description else f"{name}."
    return f"{text} Licence: {options.license}"


def _summarize(imported: "Imported") -> str:
    counts = ", ".join(f"{len(split)} {name}" for name, split in imported.splits.items())
    size = size_text(imported.splits["train"].image_shape)
    classes = "no labels" if imported.num_classes is None else f"{imported.num_classes} classes"
    return f"{counts} images of {size}, {classes}"


if __name__ == "__main__":
    raise SystemExit(main())
