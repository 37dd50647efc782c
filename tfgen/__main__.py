"""`python -m tfgen`: lists the commands. `python -m tfgen NAME …` is `tfgen-NAME …`."""

import importlib
import importlib.util
import pkgutil
import sys

# Installed, the commands are a part of the package; in a checkout they are next to it.
cli = importlib.import_module("tfgen.cli" if importlib.util.find_spec("tfgen.cli") else "cli")
names = [entry.name for entry in pkgutil.iter_modules(cli.__path__) if entry.name[0] != "_"]
if sys.argv[1:] and sys.argv[1] in names:
    raise SystemExit(importlib.import_module(f"{cli.__name__}.{sys.argv[1]}").main(sys.argv[2:]))
for name in names:
    module = importlib.import_module(f"{cli.__name__}.{name}")
    # The first line of a command's docstring is `tfgen-NAME`: what it does.
    command, _, text = str(module.__doc__).partition("\n")[0].replace("`", "").partition(": ")
    print(f"{command:<18}{text}")
print("COMMAND --help explains a command")
raise SystemExit(0 if sys.argv[1:] in ([], ["--help"]) else 2)
