"""Four notebooks on the report's questions, with exercises and their checks; see README.md.

A notebook imports from `tfgen.notebooks`, as this package is called where tfgen is installed. In a
checkout that is not installed, `import notebooks` makes that name available.
"""

import sys
from pathlib import Path

import tfgen

if __name__ == "notebooks" and Path(tfgen.__file__).parents[1] == Path(__file__).parents[1]:
    sys.modules.setdefault("tfgen.notebooks", sys.modules[__name__])
