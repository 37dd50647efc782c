"""`python -m notebooks.assign [NAME …]`: makes the assignments from the notebooks' sources."""

import argparse
import ast

from tfgen.errors import WorkError

from ._cells import ASSIGNMENTS, NotebookNode, check_names, code_cells, read_source, write_notebook
from ._program import Parser, run_command

_DESCRIPTION = "Write the assignments: the notebooks without outputs and without solutions."
_PARSER = Parser(f"python -m {__package__}.assign", _DESCRIPTION)
_PARSER.add_argument("names", nargs="*", metavar="NAME", help="notebooks (default: all)")


def main(flags: argparse.Namespace) -> None:
    """Writes the assignments."""
    for name in check_names(flags.names):
        write_notebook(make_assignment(name), ASSIGNMENTS / f"{name}.ipynb")
        print(f"wrote {ASSIGNMENTS / name}.ipynb")


def make_assignment(name: str) -> NotebookNode:
    """The assignment of a notebook: its exercises are blank, and it is not paired with a source.

    Raises:
        WorkError: an exercise is not one function with a docstring.
    """
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
    raise SystemExit(run_command(_PARSER.prog, _PARSER.parse, main, None))
