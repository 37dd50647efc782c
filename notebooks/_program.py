"""What the programs of this folder share with each other and with the commands of tfgen."""

import argparse
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli._command import run_command
    from cli._flags import Parser as Parser
else:
    # In a checkout, the commands stand next to this folder; installed, they are `tfgen.cli`.
    _cli = f"{__package__.removesuffix('notebooks')}cli"
    run_command = importlib.import_module(f"{_cli}._command").run_command
    Parser = importlib.import_module(f"{_cli}._flags").Parser


def program(parser: Parser) -> Callable[[Callable[[argparse.Namespace], int]], Callable[..., int]]:
    """Makes the `main` of a program of this folder from a function that returns the exit status.

    Args:
        parser: parses the arguments; it has the program's name.
    """

    def decorate(work: Callable[[argparse.Namespace], int]) -> Callable[..., int]:
        def work_and_exit(flags: argparse.Namespace) -> None:
            raise SystemExit(work(flags))

        def main(argv: Sequence[str] | None = None) -> int:
            return run_command(parser.prog, parser.parse, work_and_exit, argv)

        return main

    return decorate
