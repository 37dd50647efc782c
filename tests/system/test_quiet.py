"""Imports: quiet ones, those that Ctrl-C ends, and those that are followed by a call."""

import importlib
import os
import signal
import sys
from pathlib import Path

import pytest

from tfgen.system.quiet import after_import, hold_back_stderr, interruptible


def test_standard_error_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with hold_back_stderr():
        os.write(2, b"start-up messages")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_standard_error_is_written_if_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), hold_back_stderr():
        os.write(2, b"why it failed")
        raise KeyError
    assert capfd.readouterr().err == "why it failed"


@pytest.mark.parametrize("error", [None, ImportError, KeyboardInterrupt])
def test_ctrl_c_ends_a_block_whatever_becomes_of_the_exception(
    error: type[BaseException] | None,
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if error is not None:
                raise error from None
    assert signal.getsignal(signal.SIGINT) is handler


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
