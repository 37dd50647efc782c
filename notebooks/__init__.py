"""Five notebooks on generative models, with exercises and their checks; see README.md.

A notebook imports from `tfgen.notebooks`, as this package is called where tfgen is installed. In a
checkout, `import notebooks` makes this package available under that name.
"""

import sys
from pathlib import Path

# The documents with the records of longer trainings, beside this package wherever it is.
RECORDS = Path(__file__).resolve().parents[1] / "docs"

if __name__ == "notebooks":
    sys.modules["tfgen.notebooks"] = sys.modules[__name__]
