"""`python -m notebooks.run [NAME …]`: runs notebooks from top to bottom in kernels of their own."""

import argparse
import sys
import time
from collections.abc import Sequence

import nbclient

from ._cells import FOLDER, read_source, source_names


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the notebooks and prints the seconds of each; returns the exit status."""
    parser = argparse.ArgumentParser("notebooks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all notebooks")
    status = 0
    for name in parser.parse_args(argv).names or source_names():
        notebook, start = read_source(name), time.perf_counter()
        client = nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(FOLDER)}})
        try:
            client.execute()
        except nbclient.exceptions.CellExecutionError as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
        print(f"{name}: {time.perf_counter() - start:.1f} s")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
