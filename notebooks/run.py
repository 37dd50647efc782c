"""`python -m notebooks.run [NAME …]`: runs notebooks from top to bottom and prints their times."""

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfgen.errors import UsageError, WorkError

from ._program import Parser, run_program

if TYPE_CHECKING:
    from nbformat import NotebookNode

_PARSER = Parser(
    f"python -m {__package__}.run",
    "Run notebooks from top to bottom, each in a process of its own, and print the seconds of "
    "each.",
)
_PARSER.add_argument("names", nargs="*", metavar="NAME", help="notebooks to run (default: all)")
_PARSER.add_argument(
    "--small", action="store_true", help="take the small settings, which tests take"
)
_PARSER.add_argument(
    "--save", action="store_true", help="write NAME.ipynb, with the outputs, beside the sources"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return run_program(_PARSER, _body, argv)


def _body(argv: list[str]) -> int:
    from ._cells import FOLDER, check_names, read_source, write_notebook

    flags = _PARSER.parse(argv)
    if flags.small and flags.save:
        raise UsageError("--save needs the outputs of a full run; leave out --small")
    total = 0.0
    for name in check_names(flags.names):
        notebook, start = read_source(name), time.perf_counter()
        _run(notebook, name, flags.small)
        seconds = time.perf_counter() - start
        total += seconds
        print(f"{name}: {seconds:.0f} s", flush=True)
        if flags.save:
            write_notebook(notebook, FOLDER / f"{name}.ipynb")
    print(f"together: {total:.0f} s")
    return 0


def _run(notebook: "NotebookNode", name: str, is_small: bool) -> None:
    """Runs the cells of a notebook, which get their outputs.

    Args:
        notebook: the notebook.
        name: its name, for errors.
        is_small: whether it takes its small settings.

    Raises:
        WorkError: a cell raised an exception or ended Python.
    """
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    from ._kernel import error_text, open_client

    language = dict(notebook.metadata["language_info"])
    try:
        with open_client(notebook, is_small) as (client, options):
            client.execute(**options)
    except CellExecutionError as error:
        print(re.sub(r"\x1b\[[\d;]*m", "", error.traceback))  # without colours
        raise WorkError(f"{name}: a cell raises {error_text(error)}") from error
    except DeadKernelError as error:
        raise WorkError(f"{name}: a cell ends the Python process") from error
    # The kernel's own names the version of Python.
    notebook.metadata["language_info"] = language


if __name__ == "__main__":
    raise SystemExit(main())
