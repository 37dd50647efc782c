"""Notebooks as text: reading `.py` and `.ipynb` files, and finding cells by their tags."""

import sys
from collections.abc import Iterator
from pathlib import Path

try:
    import jupytext
    import nbformat
    from nbformat import NotebookNode as NotebookNode
except ModuleNotFoundError:
    print(f"{__package__} needs an extra: pip install '.[notebooks]'", file=sys.stderr)
    sys.exit(2)

from tfgen.errors import UsageError
from tfgen.settings.fields import hint
from tfgen.system.atomic import write_bytes

from .checks import notebook_names

FOLDER = Path(__file__).parent
ASSIGNMENTS = FOLDER / "assignments"
_LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
_LANGUAGE |= {"pygments_lexer": "ipython3"}


def check_names(names: list[str]) -> list[str]:
    """The notebooks that a command is asked for; without a name, all.

    Raises:
        UsageError: a name is unknown.
    """
    known = notebook_names()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no notebook is called {unknown[0]!r}{hint(unknown[0], known)}")
    return names or known


def read_source(name: str) -> NotebookNode:
    """The notebook of that name, from its source; its cells have no outputs.

    `metadata.tfgen.notebook` is the name, by which a renamed copy is recognized.
    """
    notebook = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    notebook.metadata["language_info"] = dict(_LANGUAGE)
    notebook.metadata["tfgen"] = {"notebook": name}
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"  # jupytext's are random
        cell.metadata.pop("lines_to_next_cell", None)
    return notebook


def read_notebook(path: Path) -> NotebookNode:
    """A notebook from a `.ipynb` file, or from a `.py` file in jupytext's percent format.

    Raises:
        UsageError: the file is missing.
        Exception: it is no notebook.
    """
    if not path.is_file():
        raise UsageError(f"{path} is no file; pass a notebook, such as vae.ipynb")
    if path.suffix == ".py":
        return jupytext.read(path, fmt="py:percent")
    return nbformat.read(path, as_version=4)


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Writes a `.ipynb` file, whole or not at all."""
    nbformat.validate(notebook)
    write_bytes(path, f"{nbformat.writes(notebook)}\n".encode())


def code_cells(notebook: NotebookNode, tag: str | None = None) -> Iterator[NotebookNode]:
    """The code cells of a notebook; with a tag, those that have it."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and (tag is None or tag in cell.metadata.get("tags", [])):
            yield cell
