"""Notebooks as text: reading `.py` and `.ipynb` files, and finding cells by their tags."""

import ast
from collections.abc import Iterator
from pathlib import Path

import jupytext
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
# A source begins with jupytext's header; the other files of this folder are programs.
_HEADER = "# ---\n# jupyter:\n"


def source_names() -> list[str]:
    """The names of the notebooks, by their sources in this folder."""
    paths = sorted(FOLDER.glob("[a-z]*.py"))
    return [path.stem for path in paths if path.read_text("utf-8").startswith(_HEADER)]


def read_source(name: str) -> NotebookNode:
    """The notebook of that name, from its source; its cells have no outputs."""
    return jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell has the tag."""
    return tag in cell.metadata.get("tags", [])


def code_cells(notebook: NotebookNode, tag: str | None = None) -> Iterator[NotebookNode]:
    """The code cells of a notebook, or those of a tag."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and (tag is None or has_tag(cell, tag)):
            yield cell


def defined_functions(source: str) -> list[ast.FunctionDef]:
    """The functions that a cell defines at its top level.

    Raises:
        SyntaxError: the cell is no Python.
    """
    return [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
