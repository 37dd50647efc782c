"""`tfgen-compare`: evaluations side by side, and what they say of the source report's claims."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfgen.evaluation import compare as comparing
from tfgen.evaluation.groups import read_evaluation
from tfgen.settings.fields import Config, option

from ._command import run_command
from ._flags import Parser, add_flags, read_flags

PROG = "tfgen-compare"


@dataclass(frozen=True)
class CompareOptions(Config):
    """The flags of `tfgen-compare`."""

    to: Path = option(
        Path("comparison"), "folder for comparison.md, comparison.json and comparison.png"
    )
    saved_models: Path = option(Path("saved_models"), "folder of published models")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG, "Put judged models side by side: runs, versions, or what tfgen-evaluate wrote."
    )
    parser.add_argument(
        "what",
        metavar="RUN",
        nargs="+",
        help="run directory, version's folder, published name, or JSON file",
    )
    add_flags(parser, CompareOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, CompareOptions)
    write([read_evaluation(what, options.saved_models) for what in namespace.what], options.to)


def write(evaluations: Sequence[dict], folder: Path) -> None:
    """Prints tables and claims, and writes them with the figure.

    Raises:
        UsageError: the evaluations do not compare.
    """
    from tfgen.figures import save_figure
    from tfgen.system.atomic import write_bytes

    comparison = comparing.compare(evaluations)
    text = comparing.markdown(comparison)
    picture = comparing.figure(evaluations)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "comparison.md", text.encode())
    write_bytes(folder / "comparison.json", (json.dumps(comparison, indent=1) + "\n").encode())
    if picture is not None:
        save_figure(picture, folder / "comparison.png")
    else:
        # One of before would show other models.
        (folder / "comparison.png").unlink(missing_ok=True)
    print(text)
    print(f"written to {folder}")


if __name__ == "__main__":
    raise SystemExit(main())
