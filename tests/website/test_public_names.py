"""Every public name has a page in the reference, and its docstring what a reader needs."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tfgen
from website import names, reference

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PUBLIC = [name for part in names.public_names().values() for name in part]
# What a paper defines: its docstring names the paper.
OF_PAPERS = re.compile(
    r"tfgen\.(VAE|GAN|Flow|Dequantized|bijectors\.\w*Coupling|bijectors\.(Half|Checkerboard|Squeeze"
    r"|FactorOut|ActivationNormalization|InvertibleConvolution)|random\.threefry2x32"
    r"|evaluation\.(distances|coverage|modes|likelihood)\.\w+|models\.gan\.losses\.\w+_\w+"
    r"|models\.vae\.(bounds|distributions|logistic_mixture)\.\w+|models\.flow\.deq\S+)"
)
# A docstring that points to another one for the arguments.
POINTER = re.compile(r"[Aa]s for `|see `\w+`|[Ss]ee `Dequantized`")


def value_of(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def documented_names() -> Iterator[tuple[str, str]]:
    """The names of tfgen that README and docs use, with the document of each."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for module, imported in re.findall(r"^from (tfgen[\w.]*) import ([\w, ]+)$", text, re.M):
            for name in imported.split(", "):
                yield f"{module}.{name}", document.name
        for name in re.findall(r"`(tfgen(?:\.\w+)+)[`(]", text):
            yield name, document.name


def missing_arguments(function: Callable[..., Any], docstring: str) -> list[str]:
    arguments = [
        name for name in inspect.signature(function).parameters if name not in ("self", "cls")
    ]
    return [name for name in arguments if not re.search(rf"\b{name}\b", docstring)]


def raised(function: Callable[..., Any]) -> set[str]:
    """The errors that the body of a function raises itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raises = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    errors = {ast.unparse(node.func) for node in raises if isinstance(node, ast.Call)}
    return {name for name in errors if name.endswith("Error")} - {"NotImplementedError"}


def faults(function: Callable[..., Any], docstring: str) -> Iterator[str]:
    """What the docstring of a function lacks."""
    if not docstring:
        yield "has no docstring"
    if POINTER.search(docstring):
        return
    for name in missing_arguments(function, docstring):
        yield f"does not say what {name} is"
    returned = str(inspect.signature(function).return_annotation)
    is_array = re.search(r"\b(Tensor|ndarray)\b", returned) and "TensorSpec" not in returned
    if is_array and not re.search(r"\[[^\]]*\]", docstring):
        yield "does not say the shape of what it returns"
    if (errors := raised(function)) and "Raises:" not in docstring:
        yield f"does not say when it raises {errors}"


def faults_of_class(value: type) -> Iterator[str]:
    """What the docstrings of a class and of the methods that it introduces lack."""
    docstring = inspect.getdoc(value) if value.__dict__.get("__doc__") else ""
    if dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if "help" not in field.metadata]
        for field in fields:
            is_own = field.init and field.name in value.__annotations__
            if is_own and not re.search(rf"\b{field.name}\b", docstring or ""):
                yield f"does not say what {field.name} is"
    elif isinstance(value.__dict__.get("__init__"), types.FunctionType):
        yield from faults(value.__init__, docstring or "")
    for name, member in vars(value).items():
        function = inspect.unwrap(getattr(member, "__func__", member))
        is_inherited = any(hasattr(base, name) for base in value.__mro__[1:])
        if name.startswith("_") or is_inherited or not inspect.isfunction(function):
            continue
        yield from (f".{name} {fault}" for fault in faults(function, function.__doc__ or ""))


def test_every_name_that_tfgen_offers_has_a_page() -> None:
    pages = names.public_names()
    offered = set(tfgen.__all__) - {"__version__"}
    assert offered == {name.removeprefix("tfgen.") for name in pages["tfgen"]}
    for module in pages.keys() - {"tfgen"}:
        for name in getattr(importlib.import_module(module), "__all__", ()):
            assert name in offered or f"{module}.{name}" in pages[module]


def test_every_name_that_the_documents_use_is_public() -> None:
    known = {*PUBLIC, "tfgen", "tfgen.families", "tfgen.__version__"}
    for name, document in set(documented_names()):
        if name.startswith(("tfgen.cli", "tfgen.notebooks")):
            continue
        module = names.module_file(name)
        assert name in known or module.exists(), f"{document} uses {name}, which has no page"


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_says_arguments_shapes_errors_and_paper(name: str) -> None:
    value = value_of(name)
    summary = reference.summary_of(name)
    assert summary, f"{name} has no docstring"
    if inspect.isclass(value):
        assert not list(faults_of_class(value))
    elif callable(value) and hasattr(value, "__wrapped__") | inspect.isfunction(value):
        function = inspect.unwrap(value)
        assert not list(faults(function, function.__doc__ or ""))
    if OF_PAPERS.fullmatch(name):
        assert re.search(r"\b(19|20)\d\d\b", value.__doc__), f"{name} names no paper"
