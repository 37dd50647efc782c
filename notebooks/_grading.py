"""Grades the exercises of a filled notebook in a process that knows no right value."""

import ast
import contextlib
import functools
import os
import re
import signal
import subprocess
import symtable
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from . import _runner
from ._cells import FOLDER, code_cells
from .checks import find_mistake, load_exercises
from .checks._compare import Mistake

# Limit for importing TensorFlow.
_START_SECONDS = 300
_MAX_REPLY = 1 << 28  # bytes


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
    """Checks the answers of a filled notebook, each on random inputs that nobody has seen before.

    An exercise that uses a wrong answer also passes with a stand-in for it.

    Args:
        notebook: the filled notebook.
        name: the notebook that it is a copy of.
        seconds: limit of each exercise.

    Returns:
        The results of all exercises, in their order.
    """
    cells, mistakes = Cells(notebook), dict[str, str | None]()
    exercises = load_exercises(name)
    sources = {name: cells.source(name, {}) for name in exercises if name in cells.functions}
    modules = set(re.findall(r"^\s*(?:import|from) (\w+)", "\n".join(sources.values()), re.M))
    # Inputs may be tensors.
    modules |= {"tensorflow"} if "tf" in cells.functions else set()
    with (
        tempfile.TemporaryDirectory(prefix="tfgen-") as folder,
        contextlib.closing(_Process(folder, sorted(modules), seconds)) as process,
    ):
        for key, exercise in exercises.items():
            if key not in sources:
                mistakes[key] = cells.broken.get(key, f"the notebook has no function {key}")
                continue
            process.start_clock()
            call = functools.partial(process.call, key, sources[key])
            mistakes[key] = find_mistake(exercise, call)
            if mistakes[key] and any(mistakes[used] for used in exercise.stand_ins):
                call = functools.partial(process.call, key, cells.source(key, exercise.stand_ins))
                mistakes[key] = find_mistake(exercise, call, stood_in=True)
    return [Result(key, exercise.points, mistakes[key]) for key, exercise in exercises.items()]


class Cells:
    """The statements of a notebook that its functions need.

    Attributes:
        functions: what the notebook defines, by name: the statements, in their order.
        broken: what is wrong with the cells that are no Python, by the functions in them.
    """

    def __init__(self, notebook: NotebookNode):
        self.functions: dict[str, list[int]] = {}
        self.broken: dict[str, str] = {}
        self._statements: list[str] = []
        self._uses: list[set[str]] = []
        for cell in code_cells(notebook):
            try:
                for statement in ast.parse(TransformerManager().transform_cell(cell.source)).body:
                    self._add(ast.unparse(statement))
            except SyntaxError as error:
                names = re.findall(r"^(?:def )?(\w+)", cell.source, re.MULTILINE)
                self.broken |= dict.fromkeys(names, f"its cell raises SyntaxError: {error.msg}")

    def _add(self, statement: str) -> None:
        table = symtable.symtable(statement, "cell", "exec")
        for symbol in table.get_symbols():
            if symbol.is_assigned() or symbol.is_imported():
                self.functions.setdefault(symbol.get_name(), []).append(len(self._statements))
        self._statements.append(statement)
        self._uses.append(set(_globals(table)))

    def source(self, name: str, stand_ins: dict[str, str]) -> str:
        """The statements that define a function and all that it uses.

        Args:
            name: name of the function.
            stand_ins: expressions that take the places of other functions, by their names.
        """
        chosen = {index for index, text in enumerate(self._statements) if text.endswith("import *")}
        waiting = {name, "tf"} if stand_ins else {name}
        while waiting:
            for index in self.functions.get(waiting.pop(), []):
                if index not in chosen:
                    chosen.add(index)
                    waiting |= self._uses[index] - stand_ins.keys()
        lines = [f"{key} = {value}" for key, value in stand_ins.items()]
        return "\n".join([*lines, *(self._statements[index] for index in sorted(chosen))])


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    is_module = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_global() or (is_module and symbol.is_referenced()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


class _Process:
    """Runs `_runner.py` in a folder, and again if an answer ends it, until `close`."""

    def __init__(self, folder: str, modules: list[str], seconds: int):
        self._folder, self._modules, self._seconds, self._end = folder, modules, seconds, 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start_clock(self) -> None:
        """Gives the next exercise all its seconds."""
        if self._process is None:
            self._start()
        self._end = time.monotonic() + self._seconds

    def call(self, name: str, source: str, inputs: list[Any]) -> Any:
        """Calls an answer on inputs, as `_runner.call` does."""
        if self._process is None:
            self.start_clock()
        return self._ask([name, source, inputs], self._end)

    def _start(self) -> None:
        self._connection, remote = Pipe()
        own = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        limits = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "agg"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-B", FOLDER / "_runner.py"],
            cwd=self._folder,
            env=own | limits | {"TFGEN_CONNECTION": str(remote.fileno())},
            pass_fds=[remote.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        remote.close()
        self._ask(self._modules, time.monotonic() + _START_SECONDS)

    def _ask(self, request: Any, end: float) -> Any:
        try:
            self._connection.send_bytes(_runner.dumps(request))
            if self._connection.poll(max(0.0, end - time.monotonic())):
                return _runner.loads(self._connection.recv_bytes(_MAX_REPLY))
        except (EOFError, OSError, ValueError, KeyError) as error:
            self.close()
            raise Mistake("ends the Python process") from error
        self.close()
        raise Mistake(f"takes longer than {self._seconds} s")

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._connection.close()
            self._process = None
