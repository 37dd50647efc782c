"""Compares what an answer returns with what is right, and names the mistake."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .._runner import Tensor
from ._arrays import by_numpy, differences

# Of the value; answers may be in float32.
_TOLERANCE = 1e-4


class Mistake(AssertionError):  # noqa: N818, since a wrong answer is no error of the program
    """A wrong answer; the message names the mistake and says what would be right."""


# Takes inputs, of which `Tensor`, `Toy` and `Rng` are marks; returns the value, and for each value
# the gradients of its sum by the tensors among the inputs.
Answer = Callable[..., tuple[Any, list[list[Any]]]]


def numbers(value: Any) -> np.ndarray:
    """What an answer returned as real numbers.

    Raises:
        Mistake: it is something else.
    """
    if value is None:
        raise Mistake("the function returns nothing; end it with `return` and the result")
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.array("")
    if array.dtype.kind not in "biuf":
        kind = "complex" if array.dtype.kind == "c" else "neither a number nor an array of numbers"
        raise Mistake(f"the result is {kind}")
    return array.astype(np.float64)


def parts(value: Any, *names: str) -> list[Any]:
    """The values that a function must return.

    Raises:
        Mistake: it returns something else.
    """
    if not isinstance(value, list) or len(value) != len(names):
        raise Mistake(f"the function must return {len(names)} values, {' and '.join(names)}")
    return value


def refuse(mistakes: Mapping[str, Any]) -> None:
    """Raises the first `Mistake` that is made, of some by the sentences that name them."""
    for sentence, is_made in mistakes.items():
        if is_made:
            raise Mistake(sentence)


def is_close(value: Any, right: Any, tolerance: float = _TOLERANCE) -> bool:
    """Whether an array is the right one, or what a function makes of it, but for rounding."""
    right = right(value) if callable(right) else right
    same = np.shape(value) == np.shape(right)
    return same and np.allclose(value, right, tolerance, tolerance, equal_nan=True)


def compare_function(
    answer: Answer,
    draws: Iterable[Iterable[Any]],
    outcomes: Callable[..., Any],
    names: Sequence[str] = (),
    values: Sequence[str] = ("the result",),
    tolerance: float = _TOLERANCE,
) -> None:
    """Compares an answer and its gradients with a function.

    Args:
        answer: the answer.
        draws: its inputs.
        outcomes: computes from the inputs, as `by_numpy` gives them, what is right by a sentence
            that says so, and then what typical mistakes return by sentences that name them; for a
            function of several values, a list of these.
        names: for each input, the name by which a message calls it if a gradient by it is wrong;
            "" if it has none. Nothing compares no gradients.
        values: the names of the values.
        tolerance: of the values, relative and absolute.

    Raises:
        Mistake: a value or a gradient is wrong.
    """

    def tables_of(*arrays: Any) -> list[dict[str, Any]]:
        tables = outcomes(*arrays)
        return tables if isinstance(tables, list) else [tables]

    cases: list[list[Case]] = [[] for _ in values]
    for inputs in draws:
        value, gradients = answer(*inputs)
        arrays = [by_numpy(item) for item in inputs]
        own = [value] if len(values) == 1 else parts(value, *values)
        for part, result, table in zip(cases, own, tables_of(*arrays), strict=True):
            part.append((result, first(table), table))
    for part in cases:
        compare(part, next(iter(part[0][2])), tolerance)
    if len(values) == 1:  # of a list, its items were taken for values
        columns = zip(*gradients, strict=True)
        gradients = [[None if any(part is None for part in by) else sum(by) for by in columns]]
    for index, name in enumerate(values if names else ()):
        by_tensor = iter(gradients[index])
        by_input = [next(by_tensor) if isinstance(item, Tensor) else None for item in inputs]
        right = functools.partial(lambda part, *moved: first(tables_of(*moved)[part]), index)
        compare_gradients(by_input, right, arrays, names, name)


def first(table: Mapping[str, Any]) -> Any:
    """What is right, of a table of what is right and mistakes."""
    return next(iter(table.values()))


# What an answer returned, what is right, and what typical mistakes return, or a function that
# makes this of what the answer returned.
Case = tuple[Any, Any, Mapping[str, Any]]


def compare(cases: Sequence[Case], general: str, tolerance: float = _TOLERANCE) -> None:
    """Compares answers with the right ones.

    Args:
        cases: for each inputs, what the answer returned, what is right, and what typical mistakes
            return, by the sentences that name them.
        general: the sentence for any other mistake.
        tolerance: of the comparison, relative and absolute.

    Raises:
        Mistake: an answer differs from the right one by more than rounding.
    """
    values = [numbers(value) for value, *_ in cases]
    tables = [{None: right, **mistakes} for _, right, mistakes in cases]
    for sentence in tables[0]:
        results = zip(values, (table[sentence] for table in tables), strict=True)
        if all(is_close(value, result, tolerance) for value, result in results):
            if sentence is None:
                return
            raise Mistake(sentence)
    for value, (_, right, _) in zip(values, cases, strict=True):
        if value.shape != np.shape(right):
            shapes = f"{list(value.shape)}, not {list(np.shape(right))}"
            raise Mistake(f"the result has the shape {shapes}; {general}")
    raise Mistake(general)


def shifted(right: Any, unit: float = 0.0) -> Callable[[Any], Any]:
    """The mistake to be off by a constant: makes it of what an answer returned.

    Args:
        right: what is right.
        unit: of which the constant is a multiple, if it is not 0.
    """

    def wrong(value: Any) -> Any:
        constant = np.mean(value) - np.mean(right)
        return right + (unit * np.round(constant / unit) if unit else constant)

    return wrong


def compare_gradients(
    gradients: Sequence[Any],
    right: Callable[..., Any],
    inputs: Sequence[np.ndarray],
    names: Sequence[str],
    result: str = "the result",
) -> None:
    """Compares the gradients of an answer whose value is right with differences.

    Args:
        gradients: those of the sum of the value, by the inputs.
        right: computes the right value from the inputs.
        inputs: arrays of real numbers, or others without a name.
        names: their names; "" for those without a gradient.
        result: what the value is called.

    Raises:
        Mistake: a gradient is missing or wrong.
    """
    for index, (gradient, name) in enumerate(zip(gradients, names, strict=True)):
        slopes = differences(right, inputs, index) if name else np.zeros(())
        if gradient is None and np.abs(slopes).max() > 1e-6:
            by = "compute by TensorFlow alone, without NumPy and tf.stop_gradient"
            raise Mistake(f"no gradient of {result} reaches {name}: {by}")
        if name and gradient is not None and not is_close(gradient, slopes, 1e-3):
            by = f"with respect to {name}: NumPy or tf.stop_gradient makes a part of it a constant"
            raise Mistake(f"{result} is right, but not its gradient {by}")
