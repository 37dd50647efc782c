"""Every example in a docstring runs, on small data, and returns what its comment says."""

import ast
import doctest
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgen
from tfgen import testing

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "tfgen").rglob("*.py"), *(ROOT / "cli").glob("*.py")])
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef)


def docstrings() -> dict[str, str]:
    """The docstrings of tfgen by file and name."""
    texts = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, DEFINITIONS) and (text := ast.get_docstring(node)):
                texts[f"{path.relative_to(ROOT)}:{getattr(node, 'name', '')}"] = text
    return texts


EXAMPLES = {place: text for place, text in docstrings().items() if ">>>" in text}
# Those that trace a flow or a solver for images of 28 × 28.
SLOW = {"tfgen/models/flow/model.py:Flow", "tfgen/models/flow_matching/model.py:FlowMatching"}


def shapes(value: Any) -> list[str]:
    """The dtype and shape of an array, or of each of several, as docstrings write them."""
    values = value if isinstance(value, tuple | list) else [value]
    return [
        f"{np.asarray(item).dtype}{list(np.asarray(item).shape)}"
        for item in values
        if hasattr(item, "shape")
    ]


@pytest.mark.parametrize(
    "place",
    [pytest.param(place, marks=[pytest.mark.slow] * (place in SLOW)) for place in EXAMPLES],
)
def test_the_example_runs(place: str) -> None:
    images = testing.images_of((28, 28, 1))
    variables = {**vars(tfgen), **{name: getattr(tfgen, name) for name in tfgen.__all__}}
    variables |= {"tfgen": tfgen, "images": images, "labels": np.arange(len(images)) % 10}
    for example in doctest.DocTestParser().get_examples(EXAMPLES[place]):
        code, _, comment = example.source.partition("  # ")
        tree = ast.parse(code.strip())
        assert not example.want, "the comment says what the value is; there is no printed output"
        if isinstance(last := tree.body[-1], ast.Expr):
            value = eval(code, variables)
        else:
            exec(code, variables)
            is_assignment = isinstance(last, ast.Assign)
            value = eval(ast.unparse(last.targets[0]), variables) if is_assignment else None
        expected = re.findall(r"\w+\[\d+(?:, \d+)*\]", comment)
        assert not expected or shapes(value) == expected, example.source


def test_the_test_file_of_a_family_has_all_checks() -> None:
    text = docstrings()["tfgen/testing/__init__.py:"]
    block = re.search(r"such as\n\n((?:    .*\n|\n)+)", text)
    assert block is not None
    script = re.sub(r"^    ", "", block[1], flags=re.M).replace(
        "from tfgen_ppca.model import PPCA", "from tfgen import VAE as PPCA"
    )
    variables: dict[str, Any] = {}
    exec(script, variables)
    (mark,) = variables["test_contract"].pytestmark
    argument, checks = mark.args
    assert argument == "check" and [check.id for check in checks] == list(testing.CHECKS)
