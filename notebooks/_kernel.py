"""A process that runs the cells of a notebook, apart from the program that waits for it."""

import ast
import contextlib
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, v4
from traitlets.config import Config

from ._cells import FOLDER

# A notebook imports `tfgen.notebooks`, which is the package that this file belongs to. The start-up
# messages of TensorFlow would be outputs of the cell that imports it.
_PRELUDE = (
    f"__import__({__package__!r}); "
    "__import__('tfgen.system.quiet').system.quiet.import_quietly('tensorflow')"
)


class CellError(Exception):
    """A cell raised an exception; the message is its class and text in one line."""


class KernelLostError(Exception):
    """A cell took too long or ended the process; the message says which."""


@contextlib.contextmanager
def open_client(
    notebook: NotebookNode, is_small: bool
) -> Iterator[tuple[nbclient.NotebookClient, dict[str, Any]]]:
    """A client for a notebook, whose cells get their outputs, and the options of its kernel.

    The kernel is one of this Python, in an empty folder.

    Args:
        notebook: the notebook.
        is_small: whether it takes its small settings.
    """
    log = logging.getLogger("tfgen.notebooks")
    log.setLevel(logging.CRITICAL)  # what went wrong is raised too
    with tempfile.TemporaryDirectory(prefix="tfgen-") as folder:
        # Sockets in the file system, which no other user of the machine can open.
        sockets = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        client = nbclient.NotebookClient(
            notebook,
            kernel_name="python3",
            record_timing=False,
            extra_arguments=[f"--IPKernelApp.code_to_run={_PRELUDE}"],
            config=Config({"KernelManager": sockets}),
            log=log,
        )
        work = Path(folder, "work")
        work.mkdir()
        yield client, {"env": _environment(is_small), "cwd": str(work)}


def error_text(error: CellExecutionError) -> str:
    """The exception that a cell raised, in one line."""
    return " ".join(f"{error.ename}: {error.evalue}".split()).removesuffix(":")


def _environment(is_small: bool) -> dict[str, str]:
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", TFGEN_NOTEBOOKS_SMALL="1")
    environment.pop("MPLBACKEND", None)  # else no picture becomes an output
    if not is_small:
        del environment["TFGEN_NOTEBOOKS_SMALL"]
    if __package__ == "notebooks":
        paths = [str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


class Kernel:
    """Runs single cells; a context that starts and ends the process."""

    def __init__(self) -> None:
        self._notebook = v4.new_notebook()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Kernel":
        opening = open_client(self._notebook, is_small=True)
        self._client, options = self._stack.enter_context(opening)
        # The kernel prints errors of its own when an answer ends it.
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._stack.enter_context(self._client.setup_kernel(**options, **silent))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, source: str, seconds: int) -> NotebookNode:
        """Runs a cell and returns it with its outputs.

        Args:
            source: the cell.
            seconds: how long it may take.

        Raises:
            CellError: it raised an exception.
            KernelLostError: it took too long, or ended the process.
        """
        cell = v4.new_code_cell(source)
        self._client.timeout = seconds
        self._notebook.cells.append(cell)
        try:
            return self._client.execute_cell(cell, len(self._notebook.cells) - 1)
        except CellTimeoutError as error:
            raise KernelLostError(f"takes longer than {seconds} s") from error
        except DeadKernelError as error:
            raise KernelLostError("ends the Python process") from error
        except CellExecutionError as error:
            raise CellError(error_text(error)) from error

    def evaluate(self, expression: str, seconds: int) -> Any:
        """The value of an expression, which is a literal; arguments and errors as for `run`."""
        for output in self.run(expression, seconds).outputs:
            if output.output_type == "execute_result":
                return ast.literal_eval(output.data["text/plain"])
        return None
