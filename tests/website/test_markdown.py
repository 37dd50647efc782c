"""Markdown and notebooks, turned into what MkDocs reads."""

import base64
import json
from pathlib import Path

import pytest

from website import markdown
from website.content import Content
from website.notebooks import NotebookPage

pytestmark = [pytest.mark.quick, pytest.mark.newest]


def test_only_text_outside_code_changes() -> None:
    text = "a\n```python\na\n````\na\n```\na\n~~~\na\n"
    changed = markdown.outside_fences(text, str.upper)
    assert changed == "A\n```python\na\n````\na\n```\nA\n~~~\na\n"


def test_lists_and_formulas_within_a_paragraph_stand_apart() -> None:
    text = "two:\n- one\n- two\n  more\n\ntext - no list\n$$x$$\nafter"
    assert markdown.with_blank_lines(text) == (
        "two:\n\n- one\n- two\n  more\n\ntext - no list\n\n$$x$$\n\nafter"
    )


def test_a_line_of_a_formula_is_no_item_of_a_list() -> None:
    assert markdown.with_blank_lines("$$a\n+ b$$\n") == "\n$$a\n+ b$$\n\n"


def test_comments_are_left_out() -> None:
    assert (
        markdown.without_comments("<!-- a\nb -->\ntext <!-- kept -->\n") == "text <!-- kept -->\n"
    )


@pytest.mark.parametrize(
    ("source", "uri", "text", "expected"),
    [
        ("README.md", "index.md", "[a](docs/train.md#flags)", "[a](train.md#flags)"),
        ("README.md", "index.md", "![a](docs/ring.png)", "![a](ring.png)"),
        (
            "README.md",
            "index.md",
            "[![a](docs/ring.png)](docs/serve.md)",
            "[![a](ring.png)](serve.md)",
        ),
        ("docs/judge.md", "judge.md", "[a](../README.md)", "[a](index.md)"),
        ("docs/judge.md", "judge.md", "[a](#metrics)", "[a](#metrics)"),
        ("docs/judge.md", "judge.md", "[a](https://docs.ray.io)", "[a](https://docs.ray.io)"),
        ("docs/judge.md", "judge.md", "[a](../nothing.py)", "[a](../nothing.py)"),
        ("notebooks/vae.ipynb", "notebooks/vae.md", "[a](../docs/train.md)", "[a](../train.md)"),
    ],
)
def test_links_lead_to_pages(source: str, uri: str, text: str, expected: str) -> None:
    content = Content()
    content.add_document("README.md", "index.md")
    content.add_document("docs/train.md", "train.md")
    content.add_document("docs/serve.md", "serve.md")
    assert markdown.Links(content, source, uri).rewrite(text) == expected


def test_code_has_a_page_and_data_a_path() -> None:
    content = Content()
    links = markdown.Links(content, "docs/reproduction.md", "reproduction.md")
    assert links.rewrite("[ring](../examples/ring.py)") == "[ring](code/examples/ring.py.md)"
    assert "````python\n" in str(content.pages["code/examples/ring.py.md"])
    package = links.rewrite("[`tfgen-ppca`](../examples/tfgen-ppca)")
    assert package == "[`tfgen-ppca`](code/examples/tfgen-ppca.md)"
    assert "## `tfgen_ppca/model.py`" in str(content.pages["code/examples/tfgen-ppca.md"])
    assert links.rewrite("[vae/metrics.jsonl](vae/metrics.jsonl)") == "`docs/vae/metrics.jsonl`"
    assert links.rewrite("[the log](vae/metrics.jsonl)") == "the log (`docs/vae/metrics.jsonl`)"
    assert links.rewrite("[evaluations](evaluations)") == "`docs/evaluations`"


def notebook(folder: Path, *cells: dict) -> NotebookPage:
    path = folder / "toy.ipynb"
    path.write_text(json.dumps({"cells": [*cells], "metadata": {}, "nbformat": 4}))
    return NotebookPage(path)


def code(source: str, *outputs: dict) -> dict:
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [*outputs]}


def test_a_notebook_is_its_text_code_and_outputs(tmp_path: Path) -> None:
    printed = {
        "output_type": "stream",
        "name": "stdout",
        "text": ["543.4\n", "\x1b[1mnats\x1b[0m\n"],
    }
    warning = {"output_type": "stream", "name": "stderr", "text": "W0000 noise"}
    picture = {"image/png": base64.b64encode(b"pixels").decode(), "text/plain": "<Figure>"}
    drawn = {"output_type": "display_data", "data": picture}
    value = {"output_type": "execute_result", "data": {"text/plain": ["array(", "[0])"]}}
    text = {"cell_type": "markdown", "metadata": {}, "source": ["# Toy\n", "\n", "Text.\n"]}
    page = notebook(tmp_path, text, code("f(x)\n", printed, warning, drawn, value), code(""))
    assert page.markdown == (
        "# Toy\n\nText.\n\n```python\nf(x)\n```\n\n```{ .text .output }\n543.4\nnats\n```\n\n"
        "![output of the cell above](toy-1.png){ .output }\n\n"
        "```{ .text .output }\narray([0])\n```\n"
    )
    assert page.pictures == {"toy-1.png": b"pixels"}


def test_a_notebook_that_failed_is_no_page(tmp_path: Path) -> None:
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    with pytest.raises(ValueError, match="the notebook toy has an error: no"):
        notebook(tmp_path, code("f(x)", error))
