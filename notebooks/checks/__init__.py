"""Checks of the exercises, which tell a right answer from a wrong one by mathematics.

The module of a notebook has one function for each exercise, named after the exercise's function, in
the order of the exercises. It calls the answer on random inputs of random sizes:

    @exercise(points=2)
    def check_kl_to_prior(answer, rng):
        draws = [(tensor(rng.normal(size=(3, 4))), tensor(...)) for _ in range(2)]
        outcomes = lambda mean, log_stddev: {"it is ½ Σ (…)": right, "sum over the latents": terms}
        compare_function(answer, draws, outcomes, ("mean", "log_stddev"))

The answer may run in another process, which gets inputs and returns values; a message never has a
right value.
"""

import contextlib
import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._runner import Rng, call, dumps, one_line
from ._compare import Mistake

_Check = Callable[..., None]


class Exercise(NamedTuple):
    """A function that a student writes.

    Attributes:
        points: points for the right answer.
        check: takes the answer and a generator, and raises a `Mistake` if the answer is wrong.
        stand_ins: expressions for the functions of earlier exercises that an answer uses. In their
            place, `check` expects what these give if it is called with `stood_in=True`.
    """

    points: int
    check: _Check
    stand_ins: dict[str, str]


def exercise(points: int, stand_ins: dict[str, str] | None = None) -> Callable[[_Check], Exercise]:
    """Makes an exercise of its check; the arguments are those of `Exercise`."""
    return lambda check: Exercise(points, check, stand_ins or {})


def notebook_names() -> list[str]:
    """The names of the notebooks that have exercises."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if not name.startswith("_"))


def load_exercises(notebook: str) -> dict[str, Exercise]:
    """The exercises of a notebook by name, in the order of its module of checks.

    Args:
        notebook: one of `notebook_names()`.
    """
    names = vars(importlib.import_module(f"{__name__}.{notebook}")).items()
    return {key.removeprefix("check_"): item for key, item in names if isinstance(item, Exercise)}


def find_mistake(
    exercise: Exercise,
    caller: Callable[[list[Any]], dict[str, Any]],
    rng: np.random.Generator | None = None,
    stood_in: bool = False,
) -> str | None:
    """Runs the check of an exercise.

    Args:
        exercise: the exercise.
        caller: calls the student's answer on inputs, as `_runner.call` does.
        rng: source of the inputs; by default one that nobody can foresee.
        stood_in: whether the answer is called with the exercise's stand-ins.

    Returns:
        The mistake in one line; None if the answer is right.
    """

    first: list[tuple[Any, Any]] = []

    def answer(*inputs: Any) -> tuple[Any, list[list[Any]]]:
        reply = caller(list(inputs))
        if "mistake" in reply:
            raise Mistake(reply["mistake"])
        if not first and not any(isinstance(item, Rng) for item in inputs):
            first.append((inputs, dumps(reply["value"])))
        return reply["value"], reply["gradients"]

    options = {"stood_in": True} if stood_in else {}
    try:
        exercise.check(answer, rng or np.random.default_rng(), **options)
    except Mistake as mistake:
        for inputs, value in first:
            with contextlib.suppress(Mistake):
                if dumps(answer(*inputs)[0]) != value:
                    return "the result changes with the same inputs; use the noise that is passed"
        return one_line(mistake)
    except Exception as error:
        text = f"{type(error).__name__}: {one_line(error)}"
        return f"the check cannot use what the function returns: {text}"
    return None


def check(function: Callable[..., Any]) -> None:
    """Checks the answer to an exercise, and prints that it is right or what the mistake is.

    Args:
        function: the function that the exercise asks for, under the exercise's name.

    Raises:
        LookupError: no notebook has an exercise of that name.
    """
    own, variables = getattr(function, "__name__", ""), sys._getframe(1).f_globals.items()
    # A lambda, a partial and an object have no name of their own.
    is_named = own.isidentifier()
    names = {own} if is_named else {name for name, value in variables if value is function}
    for exercises in map(load_exercises, notebook_names()):
        for name in exercises.keys() & names:
            mistake = find_mistake(exercises[name], functools.partial(call, name, function))
            print(f"{name}: {'right' if mistake is None else mistake}")
            return
    raise LookupError(f"no exercise is called {own!r}; pass the function that one asks for")
