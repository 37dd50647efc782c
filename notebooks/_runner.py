"""Calls a student's function on the inputs of a check, and describes what it returns.

In a notebook, `check` calls `call` in its own process. The grader runs this file as a program,
which reads statements and inputs from its standard input and writes replies to its standard output.
It gets no check, and no value that an answer is compared with.
"""

import ast
import contextlib
import importlib
import inspect
import json
import linecache
import os
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

_MAX_MEMORY = 8 << 30  # bytes
# Characters of an error's text that a message shows.
_MAX_TEXT = 300
# What TensorFlow writes around the text of an error.
_OF_TENSORFLOW = re.compile(r"\{\{function_node .*?\}\} ?| \[Op:\w+\]( name: ?\S*)?")


@dataclass(frozen=True)
class Tensor:
    """An input that becomes a tensor, by which gradients are taken if it is of real numbers."""

    values: Any


@dataclass(frozen=True)
class Toy:
    """An input that becomes a function.

    Attributes:
        source: an expression of the names of `inputs`, and of `xp`, which is TensorFlow, or NumPy
            where the check computes.
        inputs: arrays and tensors by name.
    """

    source: str
    inputs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rng:
    """An input that becomes a `numpy.random.Generator` of this seed."""

    seed: int


_MARKS = {mark.__name__: mark for mark in (Tensor, Toy, Rng)}


def dumps(tree: Any) -> bytes:
    """Lists, dictionaries, strings, numbers, arrays and the inputs above as bytes, without code."""

    def encode(node: Any) -> dict[str, Any]:
        if type(node) in _MARKS.values():
            return {type(node).__name__: vars(node)}
        array = np.asarray(node)
        return {"array": [array.dtype.str, array.shape, array.tobytes().hex()]}

    return json.dumps(tree, default=encode).encode()


def loads(content: bytes) -> Any:
    """What `dumps` was given."""

    def decode(node: dict[str, Any]) -> Any:
        if node.keys() == {"array"}:
            dtype, shape, values = node["array"]
            return np.frombuffer(bytearray.fromhex(values), dtype).reshape(shape)
        marks = [_MARKS[key](**value) for key, value in node.items() if key in _MARKS]
        return marks[0] if marks else node

    return json.loads(content, object_hook=decode)


def frame(content: bytes) -> bytes:
    """A message of the program, after its length."""
    return len(content).to_bytes(8, "little") + content


def build(node: Any, watched: list[Any] | None = None) -> Any:
    """An input as the function gets it; its tensors of real numbers are added to `watched`."""
    if isinstance(node, Rng):
        return np.random.default_rng(node.seed)
    if isinstance(node, Toy):
        names = {"np": np} | {name: build(value, watched) for name, value in node.inputs.items()}
        if "xp." in node.source:
            names["xp"] = importlib.import_module("tensorflow")
        return eval(node.source, names)
    if isinstance(node, Tensor):
        tensor = importlib.import_module("tensorflow").constant(node.values)
        if watched is not None and tensor.dtype.is_floating:
            watched.append(tensor)
        return tensor
    if isinstance(node, list):
        items = [build(item, watched) for item in node]
        return tuple(items) if all(isinstance(item, int) for item in items) else items
    return node


def call(name: str, function: Callable[..., Any], inputs: list[Any]) -> dict[str, Any]:
    """Calls a function.

    Args:
        name: its name, for messages.
        function: the function.
        inputs: its arguments, for `build`.

    Returns:
        `mistake`, if it raised an exception; else its `value`, and for each value that it returned
        `gradients`, the gradients of its sum by the tensors among the inputs in their order.
    """
    watched: list[Any] = []
    arguments = [build(item, watched) for item in loads(dumps(inputs))]
    try:
        with contextlib.suppress(ValueError):  # it has no signature
            inspect.signature(function).bind(*arguments)
    except TypeError as error:
        return {"mistake": f"does not take the arguments of the exercise: {error}"}
    try:
        if not watched:
            return {"value": _describe(function(*arguments)), "gradients": []}
        tf = importlib.import_module("tensorflow")
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(watched)
            value = function(*arguments)
            if not hasattr(value, "__array__") and isinstance(value, Iterable):
                value = list(value)  # such as a generator, which computes only now
        gradients = []
        for part in value if isinstance(value, list) else [value]:
            has_gradients = tf.is_tensor(part) and part.dtype.is_floating
            by = tape.gradient(part, watched) if has_gradients else [None] * len(watched)
            gradients.append([None if d is None else tf.convert_to_tensor(d) for d in by])
        return {"value": _describe(value), "gradients": _describe(gradients)}
    except (Exception, SystemExit) as error:
        return {"mistake": _error_text(name, error)}


def one_line(error: BaseException | str) -> str:
    """A message in one line of at most 300 printable characters."""
    text = " ".join(_OF_TENSORFLOW.sub("", str(error)).split())
    text = text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} …"
    # A text from elsewhere could otherwise move the cursor.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _error_text(name: str, error: BaseException) -> str:
    # The line that an assignment has in place of an answer.
    if isinstance(error, NotImplementedError) and str(error) == f"write {name}":
        return "not written yet"
    text = f"raises {type(error).__name__}: {one_line(error)}".removesuffix(": ")
    frames = traceback.extract_tb(error.__traceback__)
    # A cell is no file. The outermost one is the answer's own.
    cells = [row for row in frames if row.filename[:1] != "<" and not Path(row.filename).exists()]
    lines = [row.lineno for row in cells if row.filename == cells[0].filename]
    return f"line {lines[-1]} of its cell {text}" if lines else text


def _describe(value: Any) -> Any:
    """A value as lists, dictionaries, strings and arrays."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {str(key): _describe(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not hasattr(value, "__array__"):
        return [_describe(item) for item in value]
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        return [_describe(item) for item in array] if array.ndim else f"a {type(value).__name__}"
    return array if array.dtype.kind in "biufc" else array.astype(np.float32)


# --- the grader's program -----------------------------------------------------------------------


def _define(name: str, statements: list[Any]) -> tuple[Any, str]:
    """Runs statements of a notebook.

    As in a notebook, the next one runs after one that raises an exception.

    Args:
        name: what they define.
        statements: for each of them, its cell's name and text, and its index in the cell.

    Returns:
        What they define, or None; and what the first statement that failed raised, or "".
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    failures = []
    for cell, text, index in statements:
        # A tf.function with loops reads its own source.
        linecache.cache[cell] = len(text), None, text.splitlines(True), cell
        try:
            module = ast.Module([ast.parse(text).body[index]], [])
            exec(compile(module, cell, "exec"), names)
        except BaseException as error:
            failures.append(_error_text(name, error).replace("its cell", cell))
    return names.get(name), next(iter(failures), "")


def _serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answers requests `[name, statements, inputs]`, as `_define` and `call` take them."""
    answers: dict[str, tuple[Any, Any, str]] = {}
    while header := requests.read(8):
        name, statements, inputs = loads(requests.read(int.from_bytes(header, "little")))
        try:
            if answers.get(name, ("",))[0] != statements:
                answers[name] = statements, *_define(name, statements)
            _, function, failure = answers[name]
            missing = {"mistake": failure or f"the notebook has no function {name}"}
            reply = missing if function is None else call(name, function, inputs)
            if failure and "raises NameError" in reply.get("mistake", ""):
                reply["mistake"] += f"; {failure}"
        except BaseException as error:
            reply = {"mistake": _error_text(name, error)}
        replies.write(frame(dumps(reply)))
        replies.flush()


if __name__ == "__main__":
    import resource

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limits = (min(_MAX_MEMORY, memory),) * 2
    with contextlib.suppress(ValueError, OSError):  # macOS has no limit of data
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    requests, replies = (os.fdopen(os.dup(number), mode) for number, mode in ((0, "rb"), (1, "wb")))
    for number in (0, 1):
        os.dup2(2, number)  # what an answer prints is no reply
    _serve(requests, replies)
