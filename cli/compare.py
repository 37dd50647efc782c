"""`tfgen-compare`: evaluations side by side, and verdicts on the report's claims."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfgen.errors import UsageError
from tfgen.evaluation.groups import read_evaluation
from tfgen.settings.fields import Config, option

from ._command import SAVED_MODELS, run_command
from ._flags import Parser, add_flags, read_flags

PROG = "tfgen-compare"


@dataclass(frozen=True)
class CompareOptions(Config):
    """The flags of `tfgen-compare`."""

    to: Path = option(
        Path("comparison"), "folder for comparison.md, comparison.json and comparison.png"
    )
    saved_models: Path = option(SAVED_MODELS, "folder of published models")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(PROG, "Put evaluations side by side, as tfgen-evaluate wrote them.")
    parser.add_argument(
        "what",
        metavar="EVALUATION",
        nargs="+",
        help="run directory, folder of a version, published name, or JSON file",
    )
    add_flags(parser, CompareOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, CompareOptions)
    evaluations = [read_evaluation(what, options.saved_models) for what in namespace.what]
    write(evaluations, options.to)


def write(evaluations: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Print tables and verdicts, and write them with the picture.

    Raises:
        UsageError: the evaluations do not compare.
    """
    from tfgen.evaluation.compare import compare, draw, markdown
    from tfgen.figures import save_figure
    from tfgen.system.atomic import write_bytes

    comparison = compare(evaluations)
    text = markdown(comparison)
    picture = draw(evaluations)
    create_folder(folder)
    write_bytes(folder / "comparison.md", text.encode())
    write_bytes(folder / "comparison.json", (json.dumps(comparison, indent=1) + "\n").encode())
    if picture is not None:
        save_figure(picture, folder / "comparison.png")
    else:
        # A picture of an earlier comparison would show other models.
        (folder / "comparison.png").unlink(missing_ok=True)
    print(text)
    print(f"written to {folder}")


def create_folder(folder: Path) -> None:
    """Creates the folder for the result, unless it exists.

    Raises:
        UsageError: it is a file, or cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise UsageError(
            f"the folder {folder} cannot be created ({reason}); choose another one with --to"
        ) from error


if __name__ == "__main__":
    raise SystemExit(main())
