"""What `check` says of an answer: right, a mistake by name, or an error of the student's code."""

import functools
import re
from typing import Any

import pytest

from notebooks import checks
from notebooks._runner import call
from tests.notebooks import tiny_checks

# The checks of the tests' own notebook.
DOUBLE = tiny_checks.check_double


def mistake_of(answer: Any) -> str | None:
    return checks.find_mistake(DOUBLE, functools.partial(call, "double", answer))


def double(x: int) -> int:
    return 2 * x


def fail(x: int, error: Exception) -> int:
    raise error


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (double, "None"),
        (lambda x: x**2, "that is the square; add x to itself"),
        (lambda x: fail(x, NotImplementedError("write double")), "not written yet"),
        (lambda x: fail(x, NotImplementedError("other")), "raises NotImplementedError: oth.*"),
        (lambda x: x / 0, "raises ZeroDivisionError: division by zero"),
        (lambda x: fail(x, ValueError("no " * 10_000)), "raises ValueError: no no .{,400}"),
        (lambda: 6, "does not take the arguments of the exercise: .*"),
        (lambda x: None, "the function returns nothing; .*"),
        (lambda x: {"x": x}, "the result is neither a number nor an array of numbers"),
        (lambda x: 1j, "the result is complex"),
    ],
)
def test_a_wrong_answer_has_a_message_of_one_line(answer: Any, message: str) -> None:
    assert re.fullmatch(message, str(mistake_of(answer)))


def test_check_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "notebook_names", lambda: ["gan", "vae"])
    exercises = {"gan": {}, "vae": {"double": DOUBLE}}
    monkeypatch.setattr(checks, "load_exercises", exercises.__getitem__)
    checks.check(double)
    names = {"check": checks.check, "partial": functools.partial}
    exec("double = lambda x: 2 * x; check(double); double = partial(double); check(double)", names)
    assert capsys.readouterr().out == "double: right\n" * 3
    monkeypatch.setattr(double, "__name__", "triple")
    with pytest.raises(LookupError, match="no exercise is called 'triple'"):
        checks.check(double)
