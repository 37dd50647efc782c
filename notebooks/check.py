"""`python -m notebooks.check NOTEBOOK …`: grades the exercises of filled notebooks."""

import argparse
import csv
import io
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tfgen.errors import UsageError
from tfgen.settings.fields import hint
from tfgen.system.atomic import write_bytes
from tfgen.system.status import status
from tfgen.system.terminal import print_line

from ._cells import NotebookNode, read_notebook
from ._grading import Cells, Result, grade
from ._program import Parser, program
from .checks import load_exercises, notebook_names

_DESCRIPTION = """\
Grade the exercises of filled notebooks: call their functions on random inputs in another process, \
check what they return, and print the points.

exit status:
  0  all answers are right
  1  some are not
  2  a file is no notebook with exercises
"""
_PARSER = Parser(f"python -m {__package__}.check", _DESCRIPTION)
_PARSER.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK", help=".ipynb or .py")
_NAME = "the notebook that the files are copies of (default: as they say, or by their names)"
_PARSER.add_argument("--as", dest="name", metavar="NAME", help=_NAME)
_PARSER.add_argument("--seconds", type=int, default=60, help="limit of each exercise (default: 60)")
_PARSER.add_argument("--csv", type=Path, metavar="FILE", help="write the points to a CSV file, too")


@program(_PARSER)
def main(flags: argparse.Namespace) -> int:
    """Grades the notebooks."""
    if flags.seconds < 1:
        raise UsageError(f"--seconds {flags.seconds} is no limit; pass at least 1")
    # All files are read before the first one is graded.
    filled = [(path, read_notebook(path)) for path in flags.notebooks]
    names = [_find_name(notebook, path, flags.name) for path, notebook in filled]
    table, results = io.StringIO(), []
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["notebook", "exercise", "earned", "points", "mistake"])
    for (path, notebook), name in zip(filled, names, strict=True):
        with status(f"grading {path}"):
            graded = grade(notebook, name, flags.seconds)
        _print_table(path, graded)
        for result in graded:
            row = result.exercise, result.earned, result.points, result.mistake or ""
            writer.writerow([path, *row])
        results += graded
    if flags.csv is not None:
        write_bytes(flags.csv, table.getvalue().encode())
    return 0 if all(result.mistake is None for result in results) else 1


def _find_name(notebook: NotebookNode, path: Path, name: str | None) -> str:
    """The name of the notebook that a file is a copy of.

    Args:
        notebook: the file's content.
        path: the file.
        name: what the user calls the notebook.

    Raises:
        UsageError: there is no notebook of that name, or the file has no exercise of it.
    """
    advice = "" if name else "; pass --as NAME"
    name = name or notebook.metadata.get("tfgen", {}).get("notebook", path.stem)
    known = notebook_names()
    if name not in known:
        raise UsageError(f"{path}: no notebook is called {name!r}{hint(name, known)}{advice}")
    cells = Cells(notebook)
    if not load_exercises(name).keys() & (cells.functions.keys() | cells.broken.keys()):
        raise UsageError(f"{path} has no exercise of the notebook {name}")
    return name


def _print_table(path: Path, results: list[Result]) -> None:
    points = Column("points", justify="right", no_wrap=True)
    table = Table(Column("exercise", no_wrap=True), points, "result")
    for result in results:
        earned = f"{result.earned} / {result.points}"
        table.add_row(Text(result.exercise), earned, Text(result.mistake or "right"))
    table.add_section()
    total, most = sum(result.earned for result in results), sum(result.points for result in results)
    table.add_row("total", f"{total} / {most}")
    console = Console()
    print_line(console, str(path))
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
