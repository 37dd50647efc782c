"""The sources of the notebooks have the agreed form, and the committed files are made from them."""

import ast
import re
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from notebooks._cells import (
    ASSIGNMENTS,
    FOLDER,
    code_cells,
    read_notebook,
    read_source,
)
from notebooks.assign import make_assignment
from notebooks.checks import load_exercises, notebook_names
from tests.notebooks.notebook_names import NUMBERS, QUESTIONS, every_notebook

MAX_CODE_LINES = 25


def headings(notebook: NotebookNode, pattern: str) -> list[Any]:
    """What the groups of the pattern are in the lines of text that it matches."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return re.findall(pattern, "\n".join(cells), re.MULTILINE)


def test_there_are_five_notebooks_with_exercises() -> None:
    texts = {path.stem: path.read_text() for path in FOLDER.glob("[a-z]*.py")}
    sources = [name for name, text in texts.items() if text.startswith("# ---\n# jupyter:\n")]
    assert sorted(sources) == notebook_names() == sorted(NUMBERS)


@every_notebook
def test_the_index_leads_to_the_section_of_every_question_of_the_report(name: str) -> None:
    source = read_source(name)
    # JupyterLab makes such a fragment of a heading.
    fragments = {title: title.replace(" ", "-") for title in headings(source, "^#+ (.+)$")}
    sections = {
        question: fragment
        for title, fragment in fragments.items()
        for question in re.findall(r"\d\.\d+", title.partition(", question")[2])
    }
    indexed = headings(source, r"^\| (\d\.\d+) \| \[[^]]+\]\(#(.+)\) \|$")
    assert dict(indexed) == sections
    questions = [f"{NUMBERS[name]}.{index}" for index in range(1, QUESTIONS[name] + 1)]
    assert [question for question, _ in indexed] == questions
    assert {*headings(source, r"\]\(#([^)]+)\)")} <= {*fragments.values()}


@every_notebook
def test_the_setup_cell_has_the_small_settings(name: str) -> None:
    (setup,) = code_cells(read_source(name), "setup")
    assert 'SMALL = bool(os.environ.get("TFGEN_NOTEBOOKS_SMALL"))' in setup.source


@every_notebook
def test_every_exercise_is_one_function_with_a_heading_and_a_check(name: str) -> None:
    notebook = read_source(name)
    functions = []
    for index, cell in enumerate(notebook.cells):
        if "exercise" in cell.metadata.get("tags", []):
            (function,) = ast.parse(cell.source).body
            assert isinstance(function, ast.FunctionDef)
            functions.append(function.name)
            following = (cell for cell in notebook.cells[index + 1 :] if cell.cell_type == "code")
            assert f"check({function.name}" in next(following).source
    letters = [f"{NUMBERS[name]}.{chr(ord('a') + index)}" for index in range(len(functions))]
    assert headings(notebook, r"^### Exercise (\S+) — \S") == letters
    assert [*load_exercises(name)] == functions


def test_no_two_exercises_have_one_name() -> None:
    names = [exercise for name in NUMBERS for exercise in load_exercises(name)]
    assert len(names) == len(set(names))


@every_notebook
def test_code_cells_are_short(name: str) -> None:
    cells = code_cells(read_source(name))
    long = [cell.source.splitlines() for cell in cells if cell.source.count("\n") >= MAX_CODE_LINES]
    assert not [(lines[0], len(lines)) for lines in long]


@every_notebook
def test_the_committed_notebook_is_a_run_of_the_source(name: str) -> None:
    source, notebook = read_source(name), read_notebook(FOLDER / f"{name}.ipynb")
    # `python -m notebooks.run --save` writes the file again.
    assert [describe(cell) for cell in notebook.cells] == [describe(cell) for cell in source.cells]
    assert notebook.metadata == source.metadata
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    for cell in code_cells(notebook):
        names = [output.get("name", output.output_type) for output in cell.outputs]
        assert not {"error", "stderr"} & set(names), cell.source


@every_notebook
def test_every_picture_has_a_caption(name: str) -> None:
    cells = read_notebook(FOLDER / f"{name}.ipynb").cells
    captions = []
    for index, cell in enumerate(cells):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            caption = re.match(r"\*Figure (\d\.\d+)[.,]", cells[index + 1].source)
            assert caption, cell.source
            captions.append(caption[1])
    assert captions == [f"{NUMBERS[name]}.{index}" for index in range(1, len(captions) + 1)]


@every_notebook
def test_the_committed_assignment_is_that_of_the_source(name: str) -> None:
    # `python -m notebooks.assign` writes the file again.
    assert read_notebook(ASSIGNMENTS / f"{name}.ipynb") == make_assignment(name)


def describe(cell: NotebookNode) -> tuple[str, str, list[str]]:
    return cell.cell_type, cell.source, cell.metadata.get("tags", [])


def test_no_other_file_is_committed() -> None:
    expected = {f"{name}.ipynb" for name in NUMBERS}
    assert {path.name for path in ASSIGNMENTS.iterdir()} == expected
    assert {path.name for path in FOLDER.glob("*.ipynb")} == expected
    assert Path(FOLDER / "README.md").is_file()
