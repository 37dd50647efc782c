"""`python -m notebooks.check NOTEBOOK …`: grades the exercises of filled notebooks."""

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfgen.errors import UsageError
from tfgen.settings.fields import hint
from tfgen.system.atomic import write_bytes
from tfgen.system.status import status

from ._program import Parser, run_program

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from ._grading import Result

_DESCRIPTION = """\
Grade the exercises of filled notebooks: call their functions on random inputs in another process, \
check what they return, and print the points.

exit status:
  0  all answers are right
  1  some are not
  2  a file is no notebook with exercises
"""
_PARSER = Parser(f"python -m {__package__}.check", _DESCRIPTION)
_PARSER.add_argument(
    "notebooks", nargs="+", type=Path, metavar="NOTEBOOK", help="a filled .ipynb or .py file"
)
_PARSER.add_argument(
    "--as",
    dest="name",
    metavar="NAME",
    help="the notebook that the files are copies of (default: as they say, or by their names)",
)
_PARSER.add_argument("--seconds", type=int, default=60, help="limit of each exercise (default: 60)")
_PARSER.add_argument(
    "--csv", type=Path, metavar="FILE", help="write the points to a CSV file too, a row an exercise"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return run_program(_PARSER, _body, argv)


def _body(argv: list[str]) -> int:
    from ._cells import read_notebook
    from ._grading import grade

    flags = _PARSER.parse(argv)
    if flags.seconds < 1:
        raise UsageError(f"--seconds {flags.seconds} is no limit; pass at least 1")
    filled = {}
    # All files are read before the first one is graded.
    for path in flags.notebooks:
        notebook = read_notebook(path)
        filled[path] = notebook, _find_name(notebook, path, flags)
    results: dict[Path, list[Result]] = {}
    for path, (notebook, name) in filled.items():
        with status(f"grading {path}"):
            results[path] = grade(notebook, name, flags.seconds)
        _print_table(path, results[path])
    if flags.csv is not None:
        _write_csv(flags.csv, results)
    return 0 if all(result.mistake is None for rows in results.values() for result in rows) else 1


def _find_name(notebook: "NotebookNode", path: Path, flags: argparse.Namespace) -> str:
    """The name of the notebook that a file is a copy of.

    Raises:
        UsageError: there is no notebook of that name, or the file has no exercise of it.
    """
    from ._grading import Cells
    from .checks import load_exercises, notebook_names

    own = notebook.metadata.get("tfgen", {}).get("notebook", path.stem)
    name = flags.name or own
    known = notebook_names()
    if name not in known:
        advice = "" if flags.name else "; pass --as NAME"
        raise UsageError(f"{path}: no notebook is called {name!r}{hint(name, known)}{advice}")
    cells = Cells(notebook)
    if not load_exercises(name).keys() & (cells.functions.keys() | cells.broken.keys()):
        raise UsageError(f"{path} has no exercise of the notebook {name}")
    return name


def _print_table(path: Path, results: "Sequence[Result]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tfgen.system.terminal import print_line

    table = Table()
    table.add_column("exercise", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("result")
    for result in results:
        table.add_row(
            Text(result.exercise),
            f"{result.earned} / {result.points}",
            Text(result.mistake or "right"),
        )
    table.add_section()
    table.add_row("total", "{} / {}".format(*_total(results)))
    console = Console()
    print_line(console, str(path))
    console.print(table)


def _total(results: "Sequence[Result]") -> tuple[int, int]:
    return sum(result.earned for result in results), sum(result.points for result in results)


def _write_csv(path: Path, results: "dict[Path, list[Result]]") -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["notebook", "exercise", "earned", "points", "mistake"])
    for notebook, rows in results.items():
        for result in rows:
            mistake = result.mistake or ""
            writer.writerow([notebook, result.exercise, result.earned, result.points, mistake])
    write_bytes(path, file.getvalue().encode())


if __name__ == "__main__":
    raise SystemExit(main())
