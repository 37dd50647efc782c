"""Calls a student's function on the inputs of a check, and describes what it returns.

In a notebook, `check` calls `call` in its own process. The grader runs this file as a program,
which gets the functions' sources and inputs on a connection. It is sent no check, and no value that
an answer is compared with.
"""

import contextlib
import importlib
import inspect
import io
import json
import linecache
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

_MEMORY, _FILE = 8 << 30, 1 << 20  # bytes
_FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn")
_LINKS = ("os.link", "os.rename")  # which would give a refused file another path
# Characters of an error's text that a message shows.
_MAX_TEXT = 300


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
    arrays: list[Any] = []

    def encode(node: Any) -> dict[str, Any]:
        if type(node) in _MARKS.values():
            return {type(node).__name__: vars(node)}
        arrays.append(node)
        return {"array": len(arrays) - 1}

    text, file = json.dumps(tree, default=encode), io.BytesIO()
    np.savez(file, *arrays, tree=np.array(text))
    return file.getvalue()


def loads(content: bytes) -> Any:
    """What `dumps` was given."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:

        def decode(node: dict[str, Any]) -> Any:
            if node.keys() == {"array"}:
                return arrays[f"arr_{node['array']}"]
            marks = [_MARKS[key](**value) for key, value in node.items() if key in _MARKS]
            return marks[0] if marks else node

        return json.loads(str(arrays["tree"]), object_hook=decode)


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
            gradients.append(
                [slope if slope is None else tf.convert_to_tensor(slope) for slope in by]
            )
        return {"value": _describe(value), "gradients": _describe(gradients)}
    except (Exception, SystemExit) as error:
        return {"mistake": _error_text(name, error)}


def one_line(error: BaseException | str) -> str:
    """A message in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} …"


def _error_text(name: str, error: BaseException) -> str:
    # The line that an assignment has in place of an answer.
    if isinstance(error, NotImplementedError) and str(error) == f"write {name}":
        return "not written yet"
    return f"raises {type(error).__name__}: {one_line(error)}".removesuffix(": ")


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


class _Barrier:
    """Refuses to import tfgen, which has checks and functions like those of the exercises."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name.partition(".")[0] in {"tfgen", "notebooks"}:
            raise ImportError(f"{name} cannot be used in an answer", name=name)


def _real_path(file: Any) -> str:
    return os.path.realpath(os.fsdecode(file) if isinstance(file, bytes) else str(file))


def _confine() -> None:
    """Limits memory and files, and refuses the usual calls for checks, programs and the network."""
    import resource

    for limit, value in ((resource.RLIMIT_DATA, _MEMORY), (resource.RLIMIT_FSIZE, _FILE)):
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of data
            resource.setrlimit(limit, (value, value))
    own = str(Path(__file__).resolve().parent)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_FORBIDDEN + _LINKS) or (
            event == "open" and _real_path(arguments[0]).startswith(own)
        ):
            raise PermissionError(f"an answer may not use {event}")

    sys.addaudithook(refuse)


def _serve(connection: Connection) -> None:
    """Answers requests `[name, source, inputs]`, until the grader ends this process."""
    functions: dict[str, tuple[str, Callable[..., Any]]] = {}
    for module in loads(connection.recv_bytes()):
        with contextlib.suppress(Exception):  # the answer that needs it says so
            importlib.import_module(module)
    _confine()
    connection.send_bytes(dumps(None))
    while True:
        name, source, inputs = loads(connection.recv_bytes())
        try:
            if functions.get(name, ("",))[0] != source:
                names: dict[str, Any] = {"__name__": "answer"}
                # A tf.function with loops reads its own source.
                linecache.cache[name] = len(source), None, source.splitlines(True), name
                exec(compile(source, name, "exec"), names)
                functions[name] = source, names[name]
            reply = call(name, functions[name][1], inputs)
        except BaseException as error:
            reply = {"mistake": f"its cell raises {type(error).__name__}: {one_line(error)}"}
        connection.send_bytes(dumps(reply))


if __name__ == "__main__":
    sys.meta_path.insert(0, _Barrier())
    _serve(Connection(int(os.environ.pop("TFGEN_CONNECTION"))))
