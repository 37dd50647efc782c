"""Checks of the exercises, which tell a right answer from a wrong one by mathematics.

The module of a notebook has one function for each exercise, named after the exercise's function:

    @exercise(points=2)
    def check_kl_to_prior(kl_to_prior):
        if kl_to_prior(...) != ...:
            raise Mistake("the KL is averaged over the latents; sum it over the last axis")
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

# Characters of an error's text that a message shows.
_MAX_TEXT = 300


class Mistake(AssertionError):  # noqa: N818, since a wrong answer is no error of the program
    """A wrong answer; the message names the mistake and says what would be right."""


@dataclass(frozen=True)
class Exercise:
    """A function that a student writes.

    Attributes:
        name: name of the function.
        points: points for the right answer.
        check: takes the function and raises a `Mistake` if it is wrong.
    """

    name: str
    points: int
    check: Callable[[Callable[..., Any]], None]


_Check = Callable[[Callable[..., Any]], None]
# The exercises of each notebook by the names of their functions, in the order of their checks.
CHECKS: dict[str, dict[str, Exercise]] = {}


def exercise(points: int) -> Callable[[_Check], _Check]:
    """Registers `check_NAME` as the check of the exercise NAME of the module's notebook.

    Args:
        points: points for the right answer, at least 1.

    Raises:
        ValueError: the function's name does not begin with `check_`, or `points` is below 1.
    """

    def register(check: _Check) -> _Check:
        prefix, _, name = check.__name__.partition("check_")
        if prefix or not name or points < 1:
            raise ValueError(f"{check.__name__}: expected check_NAME and at least 1 point")
        notebook = check.__module__.rpartition(".")[2]
        CHECKS.setdefault(notebook, {})[name] = Exercise(name, points, check)
        return check

    return register


def notebook_names() -> list[str]:
    """The names of the notebooks that have exercises."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_exercises(notebook: str) -> dict[str, Exercise]:
    """The exercises of a notebook by name, in the order of its module of checks.

    Args:
        notebook: one of `notebook_names()`.
    """
    importlib.import_module(f"{__name__}.{notebook}")
    return CHECKS.get(notebook, {})


def find_mistake(exercise: Exercise, function: Callable[..., Any]) -> str | None:
    """Runs the check of an exercise.

    Args:
        exercise: the exercise.
        function: the student's answer.

    Returns:
        The mistake in one line; None if the answer is right.
    """
    try:
        exercise.check(function)
    except Mistake as mistake:
        return _one_line(mistake)
    except Exception as error:
        text = f"{type(error).__name__}: {_one_line(error)}".removesuffix(": ")
        if not _is_raised_by(function, error.__traceback__):
            return f"the check cannot use what {exercise.name} returns: {text}"
        unwritten = isinstance(error, NotImplementedError)
        return "not written yet" if unwritten else f"{exercise.name} raises {text}"
    return None


def check(function: Callable[..., Any], notebook: str | None = None) -> None:
    """Checks the answer to an exercise, and prints that it is right or what the mistake is.

    Args:
        function: the function that the exercise asks for, under the exercise's name.
        notebook: name of the notebook, if several have an exercise of that name.

    Raises:
        LookupError: no notebook has an exercise of that name.
    """
    name = function.__name__
    for candidate in notebook_names() if notebook is None else [notebook]:
        exercises = load_exercises(candidate)
        if name in exercises:
            mistake = find_mistake(exercises[name], function)
            print(f"{name}: {'right' if mistake is None else mistake}")
            return
    raise LookupError(
        f"no exercise is called {name!r}; pass the function that an exercise asks for"
    )


def _is_raised_by(function: Callable[..., Any], trace: TracebackType | None) -> bool:
    """Whether an error passed through the file, or the cell, that the function is in."""
    code = getattr(function, "__code__", None)
    while trace is not None and code is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            return True
        trace = trace.tb_next
    return False


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} …"
