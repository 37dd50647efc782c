"""`python -m notebooks.check NOTEBOOK …`: grades the exercises of filled notebooks."""

import argparse
import csv
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tfgen.errors import UsageError, first_line, printable
from tfgen.settings.fields import hint
from tfgen.system.status import status
from tfgen.system.terminal import print_line

from ._cells import NotebookNode, read_notebook
from ._grading import Cells, Result, confinement, grade
from ._program import Parser, program
from .checks import load_exercises, notebook_names

_DESCRIPTION = """\
Grade the exercises of filled notebooks: call their functions on random inputs in another process, \
check what they return, and print the points.

exit status:
  0  all answers are right
  1  some are not
  2  a file is no notebook with exercises; the others are graded
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
    if reason := confinement()[1]:
        print(f"{printable(reason)}, so answers are trusted", file=sys.stderr)
    console, all_right, refused = Console(), True, []
    with (flags.csv or Path(os.devnull)).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["notebook", "exercise", "earned", "points", "mistake"])
        for path in flags.notebooks:
            try:
                with status(f"grading {printable(path)}"):
                    notebook = read_notebook(path)
                    name = _find_name(notebook, path, flags.name)
                    results = grade(notebook, name, flags.seconds)
            except Exception as error:  # whatever a file has: the others are graded
                is_known = isinstance(error, UsageError)
                refused.append(str(error) if is_known else f"{path}: {first_line(error)}")
                results = []
            for result in results:
                row = result.exercise, result.earned, result.points, result.mistake or ""
                writer.writerow([_cell(path), *map(_cell, row)])
            file.flush()
            all_right &= all(result.mistake is None for result in results)
            if len(flags.notebooks) > 1:
                _print_row(console, path, results)
            elif results:
                _print_table(console, path, results)
    if refused:
        raise UsageError("; ".join(map(printable, refused)))
    return 0 if all_right else 1


def _cell(value: object) -> str:
    """A value in a CSV file, where no spreadsheet takes it for a formula."""
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


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
    if not load_exercises(name).keys() & (cells.changes.keys() | cells.broken.keys()):
        raise UsageError(f"{path} has no exercise of the notebook {name}")
    return name


def _total(results: list[Result]) -> str:
    return f"{sum(each.earned for each in results)} / {sum(each.points for each in results)}"


def _print_row(console: Console, path: Path, results: list[Result]) -> None:
    wrong = ", ".join(result.exercise for result in results if result.mistake is not None)
    total, note = (_total(results), wrong and f"wrong: {wrong}") if results else ("–", "not graded")
    print_line(console, f"{total:>8}  {printable(path)}  {note}".rstrip())


def _print_table(console: Console, path: Path, results: list[Result]) -> None:
    points = Column("points", justify="right", no_wrap=True)
    table = Table(Column("exercise", no_wrap=True), points, "result")
    for result in results:
        earned = f"{result.earned} / {result.points}"
        table.add_row(Text(result.exercise), earned, Text(result.mistake or "right"))
    table.add_section()
    table.add_row("total", _total(results))
    print_line(console, printable(path))
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
