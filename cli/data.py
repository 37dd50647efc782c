"""`tfgen-data`: prepares a TFDS directory from local files."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._command import run_command, terminable
from ._flags import Parser

PROG = "tfgen-data"
_DESCRIPTION = """Prepares a data set from local files as a TFDS directory, which tfgen and TFDS read.

  tfgen-data idx    FOLDER   IDX files of the MNIST family, found by name, gzipped or not;
                             or one file of images
  tfgen-data images FOLDER   PNG or JPEG images of one size; sub-folders are classes, those
                             named train and test are splits"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _parser() -> Parser:
    parser = Parser(PROG, _DESCRIPTION)
    parser.add_argument(
        "kind", choices=["idx", "images"], metavar="{idx,images}", help="what SOURCE holds"
    )
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="the folder to read, or one IDX file of images"
    )
    parser.add_argument(
        "--name", required=True, metavar="N", help="the data set's name, in snake case"
    )
    parser.add_argument(
        "--to",
        required=True,
        type=Path,
        metavar="D",
        help="the TFDS root to write <D>/<N>/<version> to",
    )
    parser.add_argument(
        "--prefix",
        metavar="P",
        help="which data set of an IDX folder that holds several: emnist-letters",
    )
    about = parser.add_argument_group("what TFDS keeps with the images")
    about.add_argument("--description", metavar="TEXT", help="what the images are")
    about.add_argument(
        "--license", metavar="TEXT", help="their licence and its holders; joins the description"
    )
    about.add_argument("--citation", metavar="TEXT", help="how to cite them")
    about.add_argument("--homepage", metavar="URL", help="where they come from")
    return parser


def _body(argv: list[str]) -> None:
    parser = _parser()
    flags = parser.parse(argv)
    if flags.prefix is not None and flags.kind != "idx":
        parser.error("--prefix is for idx only; leave it out")
    # Half a folder is not left behind.
    with terminable("terminated; nothing was written"):
        _prepare(flags)


def _prepare(flags: argparse.Namespace) -> None:
    from tfgen.data.writing import check_name, prepare

    check_name(flags.name)
    class_names = None
    splits: dict[str, Any]
    if flags.kind == "idx":
        from tfgen.data.importers.idx import read_idx_folder

        splits = read_idx_folder(flags.source, flags.prefix)
    else:
        from tfgen.data.importers.images import read_image_folder

        splits, class_names = read_image_folder(flags.source)
    description = flags.description
    if flags.license is not None:
        described = f"{description.rstrip('.')}." if description else f"{flags.name}."
        description = f"{described} Licence: {flags.license}"
    target = prepare(
        flags.name,
        splits,
        flags.to,
        class_names=class_names,
        description=description,
        citation=flags.citation,
        homepage=flags.homepage,
    )
    print(f"wrote {target}: {_summary(splits, class_names)}")
    print(f"use it: tfgen-train vae --dataset {flags.name} --data-dir {shlex.quote(str(flags.to))}")


def _summary(splits: dict[str, Any], class_names: list[str] | None) -> str:
    counts = ", ".join(f"{len(images)} {split}" for split, (images, _) in splits.items())
    images, labels = splits["train"]
    height, width, channels = images.shape[1:]
    if labels is None:
        classes = "no labels"
    else:
        number = (
            len(class_names)
            if class_names
            else max(int(labels.max()) for _, labels in splits.values()) + 1
        )
        classes = f"{number} classes"
    return f"{counts} images of {height} x {width} x {channels}, {classes}"


if __name__ == "__main__":
    raise SystemExit(main())
