"""`python -m notebooks.run [NAME …]`: runs notebooks from top to bottom and prints their times."""

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

from tfgen.errors import UsageError, WorkError

from ._cells import FOLDER, NotebookNode, check_names, read_source, write_notebook
from ._program import Parser, run_command

# A notebook imports `tfgen.notebooks`, which is the package that this file belongs to. Only its own
# process finds the checkout: the commands that it runs are the installed ones. The start-up
# messages of TensorFlow would be outputs of the cell that imports it.
_PRELUDE = (
    "--IPKernelApp.code_to_run="
    f"__import__('sys').path.insert(0, {str(Path(__file__).resolve().parents[1])!r}); "
    "__import__('notebooks'); "
    "__import__('tfgen.system.quiet').system.quiet.import_quietly('tensorflow')"
)
_DESCRIPTION = "Run notebooks, each in a process of its own, and print the seconds of each."
_PARSER = Parser(f"python -m {__package__}.run", _DESCRIPTION)
_PARSER.add_argument("names", nargs="*", metavar="NAME", help="notebooks to run (default: all)")
_PARSER.add_argument("--small", action="store_true", help="take the small settings of tests")
_PARSER.add_argument("--save", action="store_true", help="write NAME.ipynb, with the outputs")


def main(flags: argparse.Namespace) -> None:
    """Runs the notebooks."""
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
            # The kernel's own metadata name the version of Python.
            notebook.metadata = read_source(name).metadata
            write_notebook(notebook, FOLDER / f"{name}.ipynb")
    print(f"together: {total:.0f} s")


def _run(notebook: NotebookNode, name: str, is_small: bool) -> None:
    """Runs the cells of a notebook, which get their outputs.

    Args:
        notebook: the notebook.
        name: its name, for errors.
        is_small: whether it takes its small settings.

    Raises:
        WorkError: a cell raised an exception or ended Python.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from traitlets.config import Config

    small = "1" if is_small else ""
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", TFGEN_NOTEBOOKS_SMALL=small)
    environment.pop("MPLBACKEND", None)  # else no picture becomes an output
    with tempfile.TemporaryDirectory(prefix="tfgen-") as folder:
        # Sockets in the file system, which no other user of the machine can open.
        sockets = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        options = {"record_timing": False, "extra_arguments": [_PRELUDE]}
        config = Config({"KernelManager": sockets, "NotebookClient": options})
        client = NotebookClient(notebook, config=config)
        try:
            client.execute(env=environment, cwd=folder)
        except CellExecutionError as error:
            print(re.sub(r"\x1b\[[\d;]*m", "", error.traceback))  # without colours
            text = " ".join(f"{error.ename}: {error.evalue}".split()).removesuffix(":")
            raise WorkError(f"{name}: a cell raises {text}") from error
        except DeadKernelError as error:
            raise WorkError(f"{name}: a cell ends the Python process") from error


if __name__ == "__main__":
    raise SystemExit(run_command(_PARSER.prog, _PARSER.parse, main, None))
