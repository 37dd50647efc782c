"""The commands as the tests call them: in this process, or in a process of their own."""

import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

# Installed, the commands are a part of the package; in a checkout they are next to it.
PACKAGE = "tfgen.cli" if importlib.util.find_spec("tfgen.cli") else "cli"
ROOT = Path(__file__).parents[1]
# Seconds after which a test fails rather than hang: more than any machine needs, however busy.
PATIENCE = 1800.0


class Status(int):
    """An exit status, which a failing assertion shows with what is on standard error."""

    errors = ""

    def __repr__(self) -> str:
        return f"{int(self)} ({self.errors.strip() or 'nothing on standard error'})"


class Copied:
    """A stream that keeps what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.text = stream, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        self.text += text
        return self.stream.write(text)


def main(verb: str, argv: Iterable[object]) -> Status:
    """Runs a command in this process."""
    module = importlib.import_module(f"{PACKAGE}.{verb}")
    with contextlib.redirect_stderr(Copied(sys.stderr)) as stream:
        status = Status(module.main([*map(str, argv)]))
    status.errors = stream.text
    return status


def refused(verb: str, argv: Iterable[object], *parts: str, status: int = 2) -> None:
    """Asserts that a command ends with the status and one line of error, with all the parts."""
    result = main(verb, argv)
    assert result == status, argv
    (line,) = result.errors.splitlines(keepends=True)
    assert line.startswith(f"tfgen-{verb}: error: ")
    for part in parts:
        assert part in line


def npz(verb: str, *argv: object) -> dict[str, np.ndarray]:
    """Runs a command that writes `out.npz` in the working directory; returns its arrays."""
    assert main(verb, [*argv, "--out", "out.npz"]) == 0
    with np.load("out.npz", allow_pickle=False) as stored:
        return dict(stored)


def python(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python in `folder` as a user does, without settings for TensorFlow's log.

    Args:
        arguments: the arguments of Python.
        folder: working directory.
    """
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def opened(verb: str, argv: list[str], folder: Path) -> subprocess.Popen[str]:
    """Starts a command as a process in `folder`, with pipes for what it prints."""
    return subprocess.Popen(
        [sys.executable, "-m", "tfgen", verb, *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def process(verb: str, argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as a process in `folder`."""
    return python(["-m", "tfgen", verb, *argv], folder)


def without_tensorflow(verb: str, argv: list[str], folder: Path) -> str:
    """Runs a command, which must not import TensorFlow, as a process; returns what it prints."""
    code = f"import sys; from {PACKAGE}.{verb} import main; assert main({argv!r}) == 0; "
    code += "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    done = python(["-c", code], folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
