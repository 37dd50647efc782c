"""`tfgen-compare`: evaluations side by side."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tfgen.errors import UsageError
from tfgen.evaluation.compare import Table, compare, to_json
from tfgen.evaluation.reading import Evaluation, read_evaluation
from tfgen.evaluation.tables import markdown, print_comparison
from tfgen.publishing import versions
from tfgen.settings.fields import Config, option
from tfgen.system.atomic import write_bytes
from tfgen.system.terminal import print_line

from ._command import SAVED_MODELS, check_folder, check_output, command
from ._flags import argument

# The files of a folder of --out, by their extension.
FILES = {".md": "comparison.md", ".json": "comparison.json", ".png": "comparison.png"}


@dataclass(frozen=True)
class CompareOptions(Config):
    """The arguments of `tfgen-compare`."""

    what: tuple[str, ...] = argument(
        "EVALUATION",
        "run, version, published name, or JSON file; NAME=EVALUATION sets its name in the tables",
    )
    out: Path | None = option(
        None, "file for the tables (.md), values (.json) or figure (.png), or folder for all three"
    )
    saved_models: Path = option(SAVED_MODELS, "folder of published models")


@command("tfgen-compare", CompareOptions)
def main(options: CompareOptions) -> None:
    """Put evaluations side by side, as tfgen-evaluate wrote them."""
    evaluations = [read_evaluation(what, options.saved_models) for what in options.what]
    paths = {} if options.out is None else output_paths(options.out, evaluations)
    tables = compare(evaluations)
    written = write(tables, paths)
    show(tables)
    if written:
        print_line(Console(), "\n" + "\n".join(f"written to {path}" for path in written))


def show(tables: Sequence[Table]) -> None:
    """Print the tables, as Markdown unless this is a terminal."""
    console = Console()
    if console.is_terminal:
        print_comparison(tables, console)
    else:
        print(markdown(tables), end="")


def output_paths(out: Path, evaluations: Sequence[Evaluation]) -> dict[str, Path]:
    """The files to write by their extensions, before any work is done.

    Args:
        out: a file; or a folder, which exists as one or whose name has no extension.
        evaluations: to compare.

    Raises:
        UsageError: no comparison can be written there, or it would replace an evaluation.
    """
    if out.is_dir() or (not out.suffix and not out.is_file()):
        check_folder(out)
        paths = {suffix: out / name for suffix, name in FILES.items()}
    else:
        check_output(out, tuple(FILES))
        paths = {out.suffix: out}
    reserved = (versions.MANIFEST, "config.json", "evaluation.json")
    sources = {evaluation.source.resolve() for evaluation in evaluations}
    for path in paths.values():
        if path.name in reserved or path.resolve() in sources:
            raise UsageError(f"cannot write {path}: it would replace what was evaluated")
    return paths


def write(tables: Sequence[Table], paths: dict[str, Path]) -> list[Path]:
    """Write the files by their extensions; returns what was written.

    Raises:
        UsageError: there is nothing to draw, and only a .png file was asked for.
    """
    from tfgen.evaluation.chart import draw
    from tfgen.figures import save_figure

    figure = draw(tables) if ".png" in paths else None
    if list(paths) == [".png"] and figure is None:
        raise UsageError("there is nothing to draw: no evaluation has metrics of samples")
    values = json.dumps(to_json(tables), indent=1, allow_nan=False, ensure_ascii=False)
    texts = {".md": markdown(tables), ".json": f"{values}\n"}
    for suffix, path in list(paths.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix in texts:
            write_bytes(path, texts[suffix].encode())
        elif figure is None:
            # A figure of an earlier comparison would show other models.
            paths.pop(suffix).unlink(missing_ok=True)
        else:
            with warnings.catch_warnings():
                # If the font lacks a letter of a name, the figure shows a box in its place.
                warnings.filterwarnings("ignore", "Glyph")
                save_figure(figure, path)
    return list(paths.values())
