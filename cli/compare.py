"""`tfgen-compare`: evaluations side by side."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfgen.errors import UsageError
from tfgen.evaluation.reading import Evaluation, read_evaluation
from tfgen.publishing import versions
from tfgen.settings.fields import Config, option

from ._command import SAVED_MODELS, check_folder, check_output, run_command
from ._flags import Parser, add_flags, read_flags

if TYPE_CHECKING:
    from tfgen.evaluation.compare import Table

PROG = "tfgen-compare"
# The files of a folder of --out, by their extension.
FILES = {".md": "comparison.md", ".json": "comparison.json", ".png": "comparison.png"}


@dataclass(frozen=True)
class CompareOptions(Config):
    """The flags of `tfgen-compare`."""

    out: Path | None = option(
        None,
        "file to write: .md for the tables as Markdown, .json for their values, .png for the "
        "figure; or a folder for comparison.md, comparison.json and comparison.png",
    )
    saved_models: Path = option(SAVED_MODELS, "folder of published models")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG,
        "Put evaluations side by side, as tfgen-evaluate wrote them.",
        reasons={"--to": "use --out"},
    )
    parser.add_argument(
        "what",
        metavar="EVALUATION",
        nargs="+",
        help="run directory, folder of a version, published name, or JSON file; NAME=EVALUATION "
        "sets its name in the tables",
    )
    add_flags(parser, CompareOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, CompareOptions)
    evaluations = [read_evaluation(what, options.saved_models) for what in namespace.what]
    if options.out is not None:
        check_destination(options.out, evaluations)
    show(evaluations, options.out)


def show(evaluations: Sequence[Evaluation], out: Path | None) -> None:
    """Print the tables, and write the files of `--out`.

    Args:
        evaluations: to compare.
        out: file or folder to write; None writes nothing.

    Raises:
        UsageError: there is nothing to compare, or nothing to draw.
    """
    from rich.console import Console

    from tfgen.evaluation.compare import compare
    from tfgen.evaluation.tables import markdown, print_comparison
    from tfgen.system.terminal import print_line

    tables = compare(evaluations)
    written = [] if out is None else write(tables, out)
    console = Console()
    if console.is_terminal:
        print_comparison(tables, console)
    else:
        print(markdown(tables), end="")
    if written:
        print_line(console, "\n" + "\n".join(f"written to {path}" for path in written))


def write(tables: "Sequence[Table]", out: Path) -> list[Path]:
    """Write a file, or all files into a folder; returns what was written.

    Raises:
        UsageError: there is nothing to draw in a .png file.
    """
    from tfgen.evaluation.chart import draw
    from tfgen.evaluation.compare import to_json
    from tfgen.evaluation.tables import markdown
    from tfgen.figures import save_figure
    from tfgen.system.atomic import write_bytes

    paths = {out.suffix: out}
    if is_folder(out):
        out.mkdir(parents=True, exist_ok=True)
        paths = {suffix: out / name for suffix, name in FILES.items()}
    figure = draw(tables) if ".png" in paths else None
    if ".md" in paths:
        write_bytes(paths[".md"], markdown(tables).encode())
    if ".json" in paths:
        text = json.dumps(to_json(tables), indent=1, allow_nan=False, ensure_ascii=False)
        write_bytes(paths[".json"], f"{text}\n".encode())
    if figure is not None:
        with warnings.catch_warnings():
            # A letter of a name that the font lacks: the figure shows a box in its place.
            warnings.filterwarnings("ignore", "Glyph")
            save_figure(figure, paths[".png"])
    elif out.suffix == ".png":
        raise UsageError("there is nothing to draw: no evaluation has metrics of samples")
    elif ".png" in paths:
        # A figure of an earlier comparison would show other models.
        paths.pop(".png").unlink(missing_ok=True)
    return list(paths.values())


# --- files
# ------------------------------------------------------------------------------------------------


def check_destination(out: Path, evaluations: Sequence[Evaluation]) -> None:
    """Refuse an output path before any work is done.

    Raises:
        UsageError: it is no file or folder for a comparison, or would replace an evaluation.
    """
    targets = [out / name for name in FILES.values()] if is_folder(out) else [out]
    if is_folder(out):
        check_folder(out)
    else:
        check_output(out, tuple(FILES))
    reserved = (versions.MANIFEST, "config.json", "evaluation.json")
    sources = {evaluation.source.resolve() for evaluation in evaluations}
    for target in targets:
        if target.name in reserved or target.resolve() in sources:
            raise UsageError(f"cannot write {target}: it would replace what was evaluated")


def is_folder(out: Path) -> bool:
    """Whether `--out` names a folder: it exists as one, or its name has no extension."""
    return out.is_dir() or (not out.suffix and not out.is_file())


if __name__ == "__main__":
    raise SystemExit(main())
