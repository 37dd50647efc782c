"""`python -m tfgen`: lists the commands."""

import importlib
import importlib.util
import pkgutil

# Installed, the commands are a part of the package; in a checkout they are next to it.
cli = importlib.import_module("tfgen.cli" if importlib.util.find_spec("tfgen.cli") else "cli")
for entry in pkgutil.iter_modules(cli.__path__):
    if not entry.name.startswith("_"):
        module = importlib.import_module(f"{cli.__name__}.{entry.name}")
        # The first line of a command's docstring is `tfgen-NAME`: what it does.
        command, _, text = str(module.__doc__).partition("\n")[0].replace("`", "").partition(": ")
        print(f"{command:<18}{text}")
print("COMMAND --help explains a command")
