"""`python -m notebooks.check NOTEBOOK …`: grades the exercises of filled notebooks."""

import argparse
import csv
import os
import sys
from pathlib import Path

from tfgen.errors import UsageError, describe, printable
from tfgen.settings.fields import hint
from tfgen.system.status import status

from ._cells import NotebookNode, read_notebook
from ._grading import Cells, Result, confinement, grade
from ._program import Parser, run_command
from .checks import load_exercises, notebook_names

_DESCRIPTION = """\
Grade the exercises of filled notebooks: call their functions on random inputs in another process, \
check what they return, and print the points and the mistakes.

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


def main(flags: argparse.Namespace) -> None:
    """Grades the notebooks."""
    if flags.seconds < 1:
        raise UsageError(f"--seconds {flags.seconds} is no limit; pass at least 1")
    if reason := confinement()[1]:
        print(f"{printable(reason)}, so answers are trusted", file=sys.stderr)
    all_right, refused = True, []
    with (flags.csv or Path(os.devnull)).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["notebook", *Result._fields])
        for path in flags.notebooks:
            try:
                with status(f"grading {printable(path)}"):
                    notebook = read_notebook(path)
                    name = _find_name(notebook, path, flags.name)
                    results = grade(notebook, name, flags.seconds)
            except Exception as error:  # whatever a file has: the others are graded
                other = f"{path} is not graded: {describe(error)}"
                refused.append(str(error) if isinstance(error, UsageError) else other)
                if len(flags.notebooks) > 1:
                    print(f"{'–':>8}  {printable(path)}  not graded", flush=True)
                continue
            earned = sum(result.earned for result in results)
            total = f"{earned} / {sum(result.points for result in results)}"
            print(f"{total:>8}  {printable(path)}", flush=True)
            for result in results:
                writer.writerow([_cell(path), *map(_cell, result)])
                if result.mistake:
                    print(f"{'':8}  {result.exercise}: {printable(result.mistake)}", flush=True)
                all_right &= not result.mistake
            file.flush()
    if refused:
        raise UsageError("; ".join(map(printable, refused)))
    if not all_right:
        raise SystemExit(1)


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


if __name__ == "__main__":
    raise SystemExit(run_command(_PARSER.prog, _PARSER.parse, main, None))
