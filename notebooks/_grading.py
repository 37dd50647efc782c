"""Grades the exercises of a filled notebook in a process that knows no right value."""

import ast
import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import symtable
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from . import _runner
from ._cells import FOLDER, code_cells
from .checks import find_mistake, load_exercises
from .checks._compare import Mistake

# Limit for importing TensorFlow.
_START_SECONDS = 300
_MAX_REPLY = 1 << 25  # bytes
_PYTHON = [sys.executable, "-P", "-B"]
_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "agg"}
_ENVIRONMENT |= {"HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
# What is visible of each prefix of Python and of the system; and of it, where the checks may be.
_FOLDERS = ("bin", "lib", "lib64", "pyvenv.cfg")
_SYSTEM = ("/etc/ld.so.cache", "/etc/alternatives")
_INSTALLED = ("tfgen*", "python*/*-packages/tfgen*")
# 16 MB for files in /tmp, where Python may be, too; everything else is read-only at the end.
_FIRST = "--unshare-all --die-with-parent --new-session --size 16777216 --tmpfs /tmp"
_LAST = "--proc /proc --dev /dev --chdir /tmp --remount-ro /dev --remount-ro /"


@functools.cache
def confinement() -> tuple[list[str], str]:
    """How the process of answers is started.

    Returns:
        The command, with bubblewrap if it works; and why it is not used, or "".
    """
    runner, program = str(FOLDER / "_runner.py"), shutil.which("bwrap")
    if program is None:
        return [*_PYTHON, runner], "bubblewrap is not installed"
    own = str(Path(sys.executable).resolve().parents[1])
    prefixes = {sys.prefix, sys.base_prefix, own, "", "/usr", "/usr/local"}
    shown = {f"{prefix}/{name}" for prefix in prefixes for name in _FOLDERS}
    shown |= {path for path in sys.path if path.endswith("-packages")}
    command = [program, *_FIRST.split()]
    for path in (*sorted(shown), *_SYSTEM):
        command += ["--ro-bind-try", path, path]
    for hidden in (each for path in shown for glob in _INSTALLED for each in Path(path).glob(glob)):
        command += ["--tmpfs", str(hidden), "--remount-ro", str(hidden)] * hidden.is_dir()
    command += ["--ro-bind", runner, "/runner.py", *_LAST.split(), *_PYTHON, "/runner.py"]
    tried = subprocess.run(command, env=_ENVIRONMENT, input="", capture_output=True, text=True)
    if tried.returncode:
        last = tried.stderr.strip().rpartition("\n")[2]
        return [*_PYTHON, runner], f"bubblewrap cannot start ({last})"
    return command, ""


class Result(NamedTuple):
    """The result of an exercise.

    Attributes:
        exercise: name of its function.
        earned: the points of this answer.
        points: points for the right answer.
        mistake: what is wrong; "" if the answer is right.
    """

    exercise: str
    earned: int
    points: int
    mistake: str


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
    cells, results = Cells(notebook), dict[str, Result]()
    code = "\n".join(cell.source for cell in code_cells(notebook))
    modules = {*re.findall(r"^\s*(?:import|from) (\w+)", code, re.MULTILINE)} - {"tfgen"}
    with (
        tempfile.TemporaryDirectory(prefix="tfgen-") as folder,
        contextlib.closing(Process(folder, sorted(modules), seconds)) as process,
    ):
        for key, exercise in load_exercises(name).items():
            mistake: str | None = cells.broken.get(key, f"the notebook has no function {key}")
            if key in cells.changes:
                process.start_clock()
                call = functools.partial(process.call, key, cells.source(key, {}))
                mistake = find_mistake(exercise, call)
                if mistake and any(results[used].mistake for used in exercise.stand_ins):
                    source = cells.source(key, exercise.stand_ins)
                    call = functools.partial(process.call, key, source)
                    mistake = find_mistake(exercise, call, stood_in=True)
            earned = 0 if mistake else exercise.points
            results[key] = Result(key, earned, exercise.points, mistake or "")
    return list(results.values())


class Cells:
    """The statements of a notebook that its functions need.

    Attributes:
        changes: the statements that set or change a name, in their order, by the name.
        broken: what is wrong with the cells that are no Python, by the functions in them.
    """

    def __init__(self, notebook: NotebookNode):
        self.changes: dict[str, list[int]] = {}
        self.broken: dict[str, str] = {}
        # Of each statement its cell, the cell's text and the index in it; and the names it uses.
        self._statements: list[tuple[list[Any], set[str]]] = []
        self._modules = {"get_ipython"}
        self._effects: dict[str, set[str]] = {}  # what a call of a function changes
        for number, cell in enumerate(code_cells(notebook), 1):
            try:
                text = _python(cell.source)
                for index, statement in enumerate(ast.parse(text).body):
                    self._add(statement, [f"code cell {number}", text, index])
            except SyntaxError as error:
                names = re.findall(r"^(?:def )?(\w+)", cell.source, re.MULTILINE)
                mistake = f"line {error.lineno} of its cell raises SyntaxError: {error.msg}"
                self.broken |= dict.fromkeys(names, mistake)

    def _add(self, statement: ast.stmt, place: list[Any]) -> None:
        table = symtable.symtable(ast.unparse(statement), "cell", "exec")
        symbols, uses = table.get_symbols(), set(_globals(table))
        names = {each.get_name() for each in symbols if each.is_assigned() or each.is_imported()}
        self._modules |= {each.get_name() for each in symbols if each.is_imported()}
        changed = set(self._changed(statement, uses))
        if isinstance(statement, ast.FunctionDef):
            self._effects[statement.name], changed = changed, set()
        elif isinstance(statement, ast.Assign) and (other := _base(statement.value)):
            # Another name of the same thing, or of a part of it.
            self._modules |= names if other in self._modules else set()
            changed.add(other)
        elif isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
            names.add("*")
        for name in names | (changed & self.changes.keys()):
            self.changes.setdefault(name, []).append(len(self._statements))
        self._statements.append((place, uses))

    def _changed(self, statement: ast.stmt, uses: set[str]) -> Iterator[str]:
        """The names of what a statement may change, by an item, an attribute, or a call."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                yield from node.names
            elif isinstance(node, ast.Attribute | ast.Subscript) and type(node.ctx) is not ast.Load:
                yield _base(node)
            elif isinstance(node, ast.Call):
                base = _base(node.func)
                if isinstance(node.func, ast.Name):
                    yield from self._effects.get(base, ())
                elif base not in self._modules or uses <= self._modules:  # as to set a seed
                    yield base
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                passed = {_base(item) for item in (*node.value.args, *node.value.keywords)}
                yield from passed - self._modules - self._effects.keys()

    def source(self, name: str, stand_ins: dict[str, str]) -> list[Any]:
        """The statements that define a function and all that it uses, for `_runner.py`.

        Args:
            name: name of the function.
            stand_ins: expressions that take the places of other functions, by their names.
        """
        chosen, waiting, done = set[int](), {name, "*"}, set(stand_ins)
        while waiting:
            done.add(key := waiting.pop())
            for index in set(self.changes.get(key, [])) - chosen:
                chosen.add(index)
                waiting |= self._statements[index][1] - done
        own = [f"{key} = {value}" for key, value in stand_ins.items()]
        own[:0] = ["import tensorflow as tf"] if "tf." in "".join(own) else []
        replaced = [[f"stand-in {number}", text, 0] for number, text in enumerate(own)]
        return [*replaced, *(self._statements[index][0] for index in sorted(chosen))]


def _python(source: str) -> str:
    """A cell as Python, with the same lines."""
    source = re.sub(r"\A(\s*)%%(time|capture)\b.*", r"\1pass", source)
    blank = source[: len(source) - len(source.lstrip())].count("\n")
    return "\n" * blank + TransformerManager().transform_cell(source)


def _base(node: ast.AST) -> str:
    """The name `a` of `a`, `a.b`, `a[b]`, `*a` and `b=a`; "" of anything else."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.keyword):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """The global names that a statement uses or sets."""
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_global())
    for child in table.get_children():
        yield from _globals(child)


class Process:
    """Runs `_runner.py`, and again if an answer ends it, until `close`."""

    def __init__(self, folder: str, modules: list[str], seconds: int):
        self._folder, self._modules, self._seconds, self._end = folder, modules, seconds, 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start_clock(self) -> None:
        """Gives the next exercise all its seconds."""
        if self._process is None:
            options: Any = {"env": _ENVIRONMENT, "cwd": self._folder, "start_new_session": True}
            options |= {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            options["stderr"] = subprocess.DEVNULL
            self._process = subprocess.Popen(confinement()[0], **options)
            self._end = time.monotonic() + _START_SECONDS
            self.call("", [["modules", f"import {name}", 0] for name in self._modules], [])
        self._end = time.monotonic() + self._seconds

    def call(self, name: str, statements: list[Any], inputs: list[Any]) -> Any:
        """Calls an answer on inputs, as `_runner.call` does; a lack of a reply is a mistake."""
        if self._process is None:
            self.start_clock()
        timer = threading.Timer(self._end - time.monotonic(), self._kill)
        timer.start()
        try:
            reply = _runner.loads(self._exchange([name, statements, inputs]))
        except Exception as error:  # of a reply that an answer wrote, too
            self.close()
            text = str(error) if isinstance(error, Mistake) else "ends the Python process"
            reply = {"mistake": text}
        finally:
            timer.cancel()
        if time.monotonic() > self._end:
            self.close()
            return {"mistake": f"takes longer than {self._seconds} s"}
        return reply

    def _exchange(self, request: list[Any]) -> bytes:
        assert self._process is not None and self._process.stdin and self._process.stdout
        self._process.stdin.write(_runner.frame(_runner.dumps(request)))
        self._process.stdin.flush()
        size = int.from_bytes(self._process.stdout.read(8), "little")
        if size > _MAX_REPLY:
            raise Mistake(f"returns more than {_MAX_REPLY >> 20} MB")
        return self._process.stdout.read(size)

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._kill()
            # Closes the pipes, one of which may hold a request that nobody reads, and waits.
            with contextlib.suppress(BrokenPipeError), self._process:
                self._process = None

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
