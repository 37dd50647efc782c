"""Checks of the exercises, which tell a right answer from a wrong one by mathematics.

The module of a notebook has one function for each exercise, named after the exercise's function, in
the order of the exercises. It calls the answer on random inputs of random sizes:

    @exercise(points=2)
    def check_kl_to_prior(answer, rng):
        draws = [(tensor(rng.normal(size=(3, 4))), tensor(...)) for _ in range(2)]
        outcomes = lambda mean, log_stddev: {"": right, "sum over the latents": ...}
        compare_function(answer, draws, outcomes, {"the result": "it is ½ Σ (…)"}, names)

The answer may run in another process, which gets inputs and returns values; a message never has a
right value.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._runner import Tensor, Toy, call, one_line

# Of the value; answers may be in float32.
_TOLERANCE = 1e-4


class Mistake(AssertionError):  # noqa: N818, since a wrong answer is no error of the program
    """A wrong answer; the message names the mistake and says what would be right."""


# Takes inputs, of which `Tensor`, `Toy` and `Rng` are marks; returns the value, and for each value
# the gradients of its sum by the tensors among the inputs.
Answer = Callable[..., tuple[Any, list[list[Any]]]]
_Check = Callable[..., None]


@dataclass(frozen=True)
class Exercise:
    """A function that a student writes.

    Attributes:
        name: name of the function.
        points: points for the right answer.
        check: takes the answer and a generator, and raises a `Mistake` if the answer is wrong.
        stand_ins: expressions for the functions of earlier exercises that an answer uses. In their
            place, `check` expects what these give if it is called with `stood_in=True`.
    """

    name: str
    points: int
    check: _Check
    stand_ins: dict[str, str] = field(default_factory=dict)


# The exercises of each notebook by the names of their functions, in the order of their checks.
CHECKS: dict[str, dict[str, Exercise]] = {}


def exercise(points: int, stand_ins: Mapping[str, str] | None = None) -> Callable[[_Check], _Check]:
    """Registers `check_NAME` as the check of the exercise NAME of the module's notebook.

    Args:
        points: points for the right answer.
        stand_ins: those of `Exercise`.
    """

    def register(check: _Check) -> _Check:
        name, notebook = check.__name__.removeprefix("check_"), check.__module__.rpartition(".")[2]
        CHECKS.setdefault(notebook, {})[name] = Exercise(name, points, check, dict(stand_ins or {}))
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

    def answer(*inputs: Any) -> tuple[Any, list[list[Any]]]:
        reply = caller(list(inputs))
        if "mistake" in reply:
            raise Mistake(reply["mistake"])
        return reply["value"], reply["gradients"]

    options = {"stood_in": True} if stood_in else {}
    try:
        exercise.check(answer, rng or np.random.default_rng(), **options)
    except Mistake as mistake:
        return one_line(mistake)
    except Exception as error:
        text = f"{type(error).__name__}: {one_line(error)}"
        return f"the check cannot use what {exercise.name} returns: {text}"
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
            mistake = find_mistake(exercises[name], lambda inputs: call(name, function, inputs))
            print(f"{name}: {'right' if mistake is None else mistake}")
            return
    raise LookupError(
        f"no exercise is called {name!r}; pass the function that an exercise asks for"
    )


# --- what the checks share ----------------------------------------------------------------------


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


def is_close(value: Any, right: Any, tolerance: float = _TOLERANCE) -> bool:
    """Whether two arrays have the same shape and differ only by rounding."""
    same = np.shape(value) == np.shape(right)
    return same and np.allclose(value, right, tolerance, tolerance, equal_nan=True)


def compare_function(
    answer: Answer,
    draws: Iterable[Iterable[Any]],
    outcomes: Callable[..., Any],
    generals: Mapping[str, str],
    names: Sequence[str] = (),
    tolerance: float = _TOLERANCE,
) -> None:
    """Compares an answer and its gradients with a function.

    Args:
        answer: the answer.
        draws: its inputs.
        outcomes: computes from the inputs, as `by_numpy` gives them, the right value by "" and what
            typical mistakes return by the sentences that name them; for a function of several
            values, a list of these.
        generals: for each value, its name and the sentence for any other mistake.
        names: for each input, the name by which a message calls it if a gradient by it is wrong;
            "" if it has none. Nothing compares no gradients.
        tolerance: of the values, relative and absolute.

    Raises:
        Mistake: a value or a gradient is wrong.
    """

    def tables_of(*arrays: Any) -> Any:
        tables = outcomes(*arrays)
        return [tables] if len(generals) == 1 else tables

    cases: list[list[Case]] = [[] for _ in generals]
    for inputs in draws:
        value, gradients = answer(*inputs)
        values = [value] if len(generals) == 1 else parts(value, *generals)
        arrays = [by_numpy(item) for item in inputs]
        for part, own, table in zip(cases, values, tables_of(*arrays), strict=True):
            part.append((own, table[""], table))
    for part, general in zip(cases, generals.values(), strict=True):
        compare(part, general, tolerance)
    for index, name in enumerate(generals if names else ()):
        by_tensor = iter(gradients[index])
        by_input = [next(by_tensor) if isinstance(item, Tensor) else None for item in inputs]
        right = functools.partial(lambda part, *moved: tables_of(*moved)[part][""], index)
        compare_gradients(by_input, right, arrays, names, name)


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
    if _are_close(values, (right for _, right, _ in cases), tolerance):
        return
    for sentence in cases[0][2]:
        if _are_close(values, (mistakes[sentence] for *_, mistakes in cases), tolerance):
            raise Mistake(sentence)
    for value, (_, right, _) in zip(values, cases, strict=True):
        if value.shape != np.shape(right):
            shapes = f"{list(value.shape)}, not {list(np.shape(right))}"
            raise Mistake(f"the result has the shape {shapes}; {general}")
    raise Mistake(general)


def _are_close(values: Iterable[Any], others: Iterable[Any], tolerance: float) -> bool:
    return all(
        is_close(value, other(value) if callable(other) else other, tolerance)
        for value, other in zip(values, others, strict=True)
    )


def shifted(right: Any) -> Callable[[Any], Any]:
    """The mistake to be off by a constant: makes it of what an answer returned."""
    return lambda value: right + np.mean(value) - np.mean(right)


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
        if name and gradient is None:
            raise Mistake(
                f"no gradient of {result} reaches {name}: compute with TensorFlow's functions "
                "alone, without NumPy and tf.stop_gradient"
            )
        if name and not is_close(gradient, differences(right, inputs, index), 1e-3):
            raise Mistake(
                f"{result} is right, but not its gradient with respect to {name}: NumPy or "
                "tf.stop_gradient makes a part of it a constant"
            )


def differences(function: Callable[..., Any], inputs: Sequence[Any], index: int) -> np.ndarray:
    """The gradient of the sum of a function by one of its inputs, by central differences."""
    slopes = np.zeros(inputs[index].shape)
    for position in np.ndindex(slopes.shape):
        sums = []
        for step in (1e-5, -1e-5):
            moved = np.array(inputs[index], np.float64)
            moved[position] += step
            sums.append(np.sum(function(*inputs[:index], moved, *inputs[index + 1 :])))
        slopes[position] = (sums[0] - sums[1]) / 2e-5
    return slopes


def size(rng: np.random.Generator, low: int, high: int) -> int:
    """A random size from `low` to `high`."""
    return int(rng.integers(low, high + 1))


def tensor(values: Any) -> Tensor:
    """Values as a `float32` tensor."""
    return Tensor(np.asarray(values, np.float32))


def by_numpy(item: Any) -> Any:
    """An input as the check uses it: arrays, of real numbers in `float64`, in place of tensors."""
    if isinstance(item, Toy):
        names = {name: by_numpy(value) for name, value in item.inputs.items()}
        return eval(item.source, {"np": np, "xp": np, **names})
    if isinstance(item, Tensor):
        array = np.asarray(item.values)
        return array.astype(np.float64) if array.dtype.kind == "f" else array
    return [by_numpy(part) for part in item] if isinstance(item, list) else item


def compare_log_means(answer: Answer, rng: np.random.Generator, dtype: type, samples: str) -> None:
    """Checks a function that returns the log of a mean of exp(log_p) over the first axis.

    Args:
        answer: the function, of an array `[K, N]`.
        rng: source of the inputs.
        dtype: of the inputs.
        samples: what the first axis is, for messages.

    Raises:
        Mistake: the answer is wrong.
    """

    def outcomes(near: np.ndarray) -> dict[str, Any]:
        summed = np.logaddexp.reduce(near.astype(np.float64), axis=0)
        right = summed - np.log(len(near))
        over_images = np.logaddexp.reduce(near, axis=1) - np.log(near.shape[1])
        return {
            "": right,
            "1/K is missing: this is the log of the sum, not the log of the mean": summed,
            "1/K is there twice; subtract log K once": right - np.log(len(near)),
            "this is the mean of the logs, not the log of the mean": near.mean(axis=0),
            f"the mean is over the images; take it over the {samples}": over_images,
            "all images are averaged together; return one for each": np.log(np.exp(near).mean()),
            "this is the mean itself; return its logarithm": np.exp(right),
            "the maximum is subtracted, but not added again": right - near.max(axis=0),
            f"this is the largest one; all K {samples} count": near.max(axis=0),
            f"K is not the number of {samples}, the length of the first axis": shifted(right),
        }

    shapes = [(count, size(rng, 2, 4)) for count in rng.permutation(range(5, 10))[:2]]
    draws: list[Any] = [[rng.normal(size=shape, scale=2).astype(dtype)] for shape in shapes]
    general = f"the result must be log((1/K) Σ_k exp(…)) over the K {samples}, for each column"
    compare_function(answer, draws, outcomes, {"the result": general})
    (near,), underflow = draws[-1], "subtract the largest value before exp, and add it after log"
    columns = np.arange(1, near.shape[1] + 1)
    for shifts, sentence in (
        (-3000, f"exp of −3000 is 0; {underflow}"),
        (900, f"exp of 900 is infinite; {underflow}"),
        (-900.0 * np.arange(len(near))[:, None], "exp overflows; subtract the largest value"),
        (-2000.0 * columns, "one maximum of all images is subtracted; subtract each column's own"),
    ):
        far: np.ndarray = (near + shifts).astype(dtype)
        with np.errstate(all="ignore"):
            value, right = numbers(answer(far)[0]), outcomes(far)[""]
        if not np.isfinite(value).all():
            raise Mistake(sentence)
        sentence = "adding a constant to a column must add the same constant to the result"
        # float32 has a spacing of 5e-4 near 8000.
        compare([(value - right, 0 * right, {})], sentence, 4e-3)


def log_probs(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """log p(x) of some images of a shape, or a number of dimensions, nats."""
    return -np.prod(shape) * rng.uniform(0.5, 5, size(rng, 2, 5))


def compare_bits(answer: Answer, draws: Iterable[Iterable[Any]], dimensions: str) -> None:
    """Checks a function that makes bits per dimension of log-probabilities.

    Args:
        answer: the function.
        draws: its inputs, log p(x) in nats and the images' shape, or number of dimensions.
        dimensions: what to call their number.

    Raises:
        Mistake: the answer is wrong.
    """

    def outcomes(log_prob: np.ndarray, shape: Any) -> dict[str, Any]:
        count, eight = np.prod(shape), "8 bits, as if of a density in 0…1; here log p is of bytes"
        bits = -log_prob / count / np.log(2)
        return {
            "": bits,
            "ln 2 is missing: these are nats per dimension; divide by ln 2": bits * np.log(2),
            "it multiplies by ln 2; a bit is ln 2 nats, so divide": bits * np.log(2) ** 2,
            "the sign is wrong: bits/dim is −log p, so that fewer are better": -bits,
            f"these are bits per image; divide by {dimensions}": bits * count,
            f"these are nats per image; divide by {dimensions} · ln 2": -log_prob,
            "it divides by the pixels; each channel is a dimension": bits * np.ravel(shape)[-1],
            "the logarithm has base 10; a bit is ln 2 nats": -log_prob / count / np.log10(2),
            f"it adds log₂ 256 = {eight}": bits + 8,
            f"it subtracts log₂ 256 = {eight}": bits - 8,
            "it averages over images; return one value for each image": bits.mean(),
        }

    general = f"the result must be −log p / ({dimensions} · ln 2)"
    compare_function(answer, draws, outcomes, {"the result": general})
