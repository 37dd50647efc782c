"""What the programs of this folder share with each other and with the commands of tfgen."""

from typing import TYPE_CHECKING

# In a checkout, the commands stand next to this folder; installed, they are `tfgen.cli`.
if TYPE_CHECKING or __package__ == "notebooks":
    from cli._command import run_command as run_command
    from cli._flags import Parser as Parser
else:
    from tfgen.cli._command import run_command as run_command
    from tfgen.cli._flags import Parser as Parser
