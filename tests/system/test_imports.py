"""Work after the import of another package."""

import importlib
import sys
from pathlib import Path

import pytest

from tfgen.system.imports import after_import

pytestmark = pytest.mark.quick


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that nobody has imported."""
    (tmp_path / "imported_late.py").write_text("VALUE = 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.delitem(sys.modules, "imported_late", raising=False)
    return "imported_late"


def test_the_function_is_called_once_the_module_is_there(module: str) -> None:
    values = []
    after_import(module, lambda: values.append(sys.modules[module].VALUE))
    assert importlib.util.find_spec(module) is not None and values == []
    assert importlib.import_module(module).VALUE == 5 and values == [5]
    importlib.import_module(module)
    assert values == [5]
    after_import(module, lambda: values.append(0))
    assert values == [5, 0]


def test_two_functions_wait_for_the_same_module(module: str) -> None:
    values: list[int] = []
    for value in (1, 2):
        after_import(module, lambda value=value: values.append(value))
    importlib.import_module(module)
    assert sorted(values) == [1, 2]


def test_a_fault_of_the_function_stops_no_import(module: str) -> None:
    after_import(module, lambda: 1 / 0)
    assert importlib.import_module(module).VALUE == 5
    after_import(module, lambda: 1 / 0)


def test_a_module_that_is_missing_stays_missing() -> None:
    after_import("imported_never", lambda: None)
    try:
        with pytest.raises(ModuleNotFoundError, match="No module named 'imported_never'"):
            importlib.import_module("imported_never")
    finally:
        del sys.meta_path[0]
