"""What the programs of this folder share with each other and with the commands of tfgen."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli._command import run_command as run_command
    from cli._flags import Parser as Parser
else:
    # In a checkout, the commands stand next to this folder; installed, they are `tfgen.cli`.
    _cli = f"{__package__.removesuffix('notebooks')}cli"
    run_command = importlib.import_module(f"{_cli}._command").run_command
    Parser = importlib.import_module(f"{_cli}._flags").Parser
