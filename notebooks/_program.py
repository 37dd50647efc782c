"""What the programs of this folder share with each other and with the commands of tfgen."""

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tfgen.errors import UsageError

if TYPE_CHECKING:
    from cli._command import run_command
    from cli._flags import Parser as Parser
else:
    # In a checkout, the commands stand next to this folder; installed, they are `tfgen.cli`.
    _cli = f"{__package__.removesuffix('notebooks')}cli"
    run_command = importlib.import_module(f"{_cli}._command").run_command
    Parser = importlib.import_module(f"{_cli}._flags").Parser

_LIBRARIES = {"jupytext", "nbformat", "nbclient", "ipykernel"}


def run_program(
    parser: Parser, body: Callable[[list[str]], int], argv: Sequence[str] | None
) -> int:
    """Runs a program of this folder and returns its exit status.

    Args:
        parser: its parser, which has its name.
        body: takes the arguments and returns the exit status.
        argv: the arguments; None takes those of the process.
    """

    def run(arguments: list[str]) -> None:
        try:
            raise SystemExit(body(arguments))
        except ModuleNotFoundError as error:
            if error.name not in _LIBRARIES:
                raise
            raise UsageError(
                "the extra [notebooks] is needed; install it with: pip install 'tfgen[notebooks]'"
            ) from error

    return run_command(parser.prog, run, argv)
