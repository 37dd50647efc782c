"""Grades the exercises of a filled notebook, each apart from the others."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from nbformat import NotebookNode

from ._cells import code_cells, function_names, read_source
from ._kernel import CellError, Kernel, KernelLostError

# Of what imports TensorFlow and reads MNIST.
_SETUP_SECONDS = 300
_CHECKS = f"__import__('importlib').import_module('{__package__}.checks')"


@dataclass(frozen=True)
class Result:
    """The result of an exercise.

    Attributes:
        exercise: name of its function.
        points: points for the right answer.
        mistake: what is wrong; None if the answer is right.
    """

    exercise: str
    points: int
    mistake: str | None

    @property
    def earned(self) -> int:
        """The points of this answer."""
        return self.points if self.mistake is None else 0


def grade(notebook: NotebookNode, name: str, seconds: int) -> list[Result]:
    """Runs the setup cell of a filled notebook and its exercise cells, and checks the answers.

    Other cells are not run. After a wrong answer, the solution takes its place, so that it does not
    spoil the exercises that build on it.

    Args:
        notebook: the filled notebook.
        name: the notebook that it is a copy of, one of `source_names()`.
        seconds: limit of each cell, and of each check.

    Returns:
        The results of all exercises, in their order.
    """
    grading = _Grading(notebook, name, seconds)
    # A kernel that an answer ends is replaced; each one judges at least one answer.
    while not grading.is_complete:
        with Kernel() as kernel:
            grading.run(kernel)
    return grading.results()


class _Grading:
    """What is known of the answers, whichever kernel found it out."""

    def __init__(self, notebook: NotebookNode, name: str, seconds: int):
        source = read_source(name)
        self._name, self._seconds = name, seconds
        cells = list(code_cells(notebook, "setup")) or list(code_cells(source, "setup"))
        self._setup = [cell.source for cell in cells]
        self._answers = _cells_by_function(code_cells(notebook))
        self._solutions = _cells_by_function(code_cells(source, "exercise"))
        self._mistakes: dict[str, str | None] = {}
        self._points: dict[str, int] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all answers are judged."""
        return self._points is not None and self._points.keys() == self._mistakes.keys()

    def results(self) -> list[Result]:
        """The results in the order of the exercises."""
        points = self._points or {}
        return [Result(name, points[name], self._mistakes[name]) for name in points]

    def run(self, kernel: Kernel) -> None:
        """Judges the answers that are not judged yet, until the kernel is lost."""
        if self._points is None:
            exercises = f"{_CHECKS}.load_exercises({self._name!r}).values()"
            pairs = f"{{exercise.name: exercise.points for exercise in {exercises}}}"
            points = kernel.evaluate(pairs, _SETUP_SECONDS)
            self._points = {name: points[name] for name in self._solutions}
        try:
            for source in self._setup:
                kernel.run(source, _SETUP_SECONDS)
        except (CellError, KernelLostError) as error:
            fault = f"the setup cell fails: {error}"
            self._mistakes |= {name: fault for name in self._points if name not in self._mistakes}
            return
        for name in self._points:
            try:
                self._run_exercise(kernel, name)
            except KernelLostError as error:
                self._mistakes[name] = str(error)
                return

    def _run_exercise(self, kernel: Kernel, name: str) -> None:
        """Judges an answer, and puts the solution in its place unless it is right."""
        if name not in self._mistakes:
            self._mistakes[name] = self._judge(kernel, name)
            if self._mistakes[name] is None:
                return
        # It may not run after another setup cell; the exercises that need it say so.
        with contextlib.suppress(CellError):
            kernel.run(self._solutions[name], self._seconds)

    def _judge(self, kernel: Kernel, name: str) -> str | None:
        if name not in self._answers:
            return f"the notebook has no function {name}"
        check = f"checks.find_mistake(checks.load_exercises({self._name!r})[{name!r}], {name})"
        try:
            kernel.run(self._answers[name], self._seconds)
            mistake: str | None = kernel.evaluate(
                f"(lambda checks: {check})({_CHECKS})", self._seconds
            )
        except CellError as error:
            return f"its cell raises {error}"
        return mistake


def _cells_by_function(cells: Iterable[NotebookNode]) -> dict[str, str]:
    """The cell of each function; of several, the last one."""
    return {name: cell.source for cell in cells for name in function_names(cell.source)}
