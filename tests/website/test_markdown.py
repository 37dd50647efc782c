"""The Markdown of the documents, turned into what ProperDocs reads."""

import json
from pathlib import Path

import pytest

from website import markdown
from website.content import Content
from website.notebooks import NotebookPage


def test_only_text_outside_code_changes() -> None:
    text = "a\n```python\na\n````\na\n```\na\n~~~\na\n"
    changed = markdown.outside_fences(text, str.upper)
    assert changed == "A\n```python\na\n````\na\n```\nA\n~~~\na\n"


@pytest.mark.parametrize(
    ("source", "uri", "text", "expected"),
    [
        ("README.md", "index.md", "[a](docs/train.md#flags)", "[a](train.md#flags)"),
        (
            "README.md",
            "index.md",
            "[![a](docs/ring.png)](docs/serve.md)",
            "[![a](ring.png)](serve.md)",
        ),
        ("README.md", "index.md", '<img src="docs/ring.png">', '<img src="ring.png">'),
        ("docs/judge.md", "judge.md", "[a](../README.md)", "[a](index.md)"),
        ("notebooks/vae.ipynb", "notebooks/vae.md", "[a](../docs/train.md)", "[a](../train.md)"),
    ],
)
def test_links_lead_to_pages(source: str, uri: str, text: str, expected: str) -> None:
    content = Content()
    content.add_document("README.md", "index.md")
    content.add_document("docs/train.md", "train.md")
    content.add_document("docs/serve.md", "serve.md")
    assert markdown.Links(content, source, uri).rewrite(text) == expected


@pytest.mark.parametrize(
    ("repository", "expected"),
    [("", "a, b"), ("https://h/o/n", "[a](https://h/o/n), [b](https://h/o/n/releases)")],
)
def test_links_to_the_host_need_its_address(repository: str, expected: str) -> None:
    links = markdown.Links(Content(repository=repository), "README.md", "index.md")
    assert links.rewrite("[a](../..), [b](../../releases)") == expected


def test_code_has_a_page_and_data_a_path() -> None:
    content = Content()
    links = markdown.Links(content, "docs/reproduction.md", "reproduction.md")
    assert links.rewrite("[ring](../examples/ring.py)") == "[ring](code/examples/ring.py.md)"
    assert "````python\n" in str(content.pages["code/examples/ring.py.md"])
    assert links.rewrite("[vae/metrics.jsonl](vae/metrics.jsonl)") == "`docs/vae/metrics.jsonl`"


def test_links_to_headings_and_hints_of_a_notebook_work_on_its_page(tmp_path: Path) -> None:
    source = "[1.4](#Plain-Monte-Carlo,-question-1.4)\n\n<details>\n\n$x$\n\n</details>"
    cells = [{"cell_type": "markdown", "source": [source]}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    page = NotebookPage(tmp_path / "a.ipynb").markdown
    assert page.startswith("[1.4](#plain-monte-carlo-question-14)")
    assert '<details markdown="1">' in page
