"""`python -m notebooks.assign [NAME …]`: makes the assignments from the notebooks' sources."""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfgen.errors import WorkError

from ._program import Parser, run_program

if TYPE_CHECKING:
    from nbformat import NotebookNode

_PARSER = Parser(
    f"python -m {__package__}.assign",
    "Write the assignments: the notebooks without outputs and without the bodies of the functions "
    "that are exercises.",
)
_PARSER.add_argument(
    "names", nargs="*", metavar="NAME", help="notebooks to make assignments of (default: all)"
)
_PARSER.add_argument(
    "--to",
    type=Path,
    metavar="FOLDER",
    help="where to write NAME.ipynb (default: the folder assignments/ beside the sources)",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return run_program(_PARSER, _body, argv)


def _body(argv: list[str]) -> int:
    from ._cells import ASSIGNMENTS, check_names, write_notebook

    flags = _PARSER.parse(argv)
    folder = flags.to or ASSIGNMENTS
    for name in check_names(flags.names):
        assignment = make_assignment(name)
        folder.mkdir(parents=True, exist_ok=True)
        write_notebook(assignment, folder / f"{name}.ipynb")
        print(f"wrote {folder / name}.ipynb")
    return 0


def make_assignment(name: str) -> "NotebookNode":
    """The assignment of a notebook: its exercises are blank, and it is not paired with a source.

    Raises:
        WorkError: an exercise is not one function with a docstring.
    """
    from ._cells import code_cells, read_source

    notebook = read_source(name)
    notebook.metadata.pop("jupytext", None)
    for cell in code_cells(notebook, "exercise"):
        cell["source"] = blank(cell.source)
    return notebook


def blank(source: str) -> str:
    """An exercise without its solution: the lines up to the end of the function's docstring.

    Raises:
        WorkError: it is not one function with a docstring.
    """
    body = ast.parse(source).body
    function = body[0] if len(body) == 1 else None
    if not isinstance(function, ast.FunctionDef) or ast.get_docstring(function) is None:
        first = source.partition("\n")[0]
        raise WorkError(f"an exercise is not one function with a docstring: {first}")
    docstring = function.body[0]
    lines = source.splitlines()[: docstring.end_lineno]
    indent = " " * docstring.col_offset
    return "\n".join([*lines, f'{indent}raise NotImplementedError("write {function.name}")'])


if __name__ == "__main__":
    raise SystemExit(main())
