"""What `check` says of an answer: right, a mistake by name, or an error of the student's code."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from notebooks import checks
from notebooks.checks import find_mistake
from tests.notebooks import tiny_checks

pytestmark = pytest.mark.quick


# The checks of the tests' own notebook.
DOUBLE = checks.CHECKS[tiny_checks.__name__.rpartition(".")[2]]["double"]


def double(x: int) -> int:
    return 2 * x


def unwritten(x: int) -> int:
    raise NotImplementedError("write double")


def test_a_right_answer_has_no_mistake() -> None:
    assert find_mistake(DOUBLE, double) is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x**2, "that is the square; add x to itself"),
        (lambda x: x, r"double\(3\) is not 6"),
        (unwritten, "not written yet"),
        (lambda x: x / 0, "double raises ZeroDivisionError: division by zero"),
        (lambda: 6, "the check cannot .*double.*: TypeError: .* 0 positional arguments .*"),
        (lambda x: None, "the check cannot .*double.*: TypeError: .*NoneType.*"),
    ],
)
def test_a_wrong_answer_has_a_message_of_one_line(answer: Any, message: str) -> None:
    mistake = find_mistake(DOUBLE, answer)
    assert mistake is not None
    assert re.fullmatch(message, mistake)


def test_a_long_error_is_cut() -> None:
    def fail(x: int) -> int:
        raise ValueError("no " * 10_000)

    mistake = find_mistake(DOUBLE, fail)
    assert mistake is not None
    assert mistake.startswith("double raises ValueError: no no")
    assert len(mistake) < 400


def test_check_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "notebook_names", lambda: ["gan", "vae"])
    exercises = {"gan": {}, "vae": {"double": DOUBLE}}
    monkeypatch.setattr(checks, "load_exercises", exercises.__getitem__)
    checks.check(double)
    checks.check(double, "vae")
    assert capsys.readouterr().out == "double: right\n" * 2
    monkeypatch.setattr(double, "__name__", "triple")
    with pytest.raises(LookupError, match="no exercise is called 'triple'"):
        checks.check(double, "vae")


@pytest.mark.parametrize(("name", "points"), [("double", 1), ("check_", 1), ("check_double", 0)])
def test_a_check_has_a_name_and_points(name: str, points: int) -> None:
    def check(double: Callable[[int], int]) -> None: ...

    check.__name__ = name
    with pytest.raises(ValueError, match=name):
        checks.exercise(points)(check)
