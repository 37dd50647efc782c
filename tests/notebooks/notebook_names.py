"""The notebooks, and how many questions of the report each one answers."""

import pytest

# The notebook's number is that of its questions: 1.1, 1.2, … are answered in the notebook `vae`.
NUMBERS = {"vae": 1, "gan": 2, "flow": 3, "comparison": 4, "flow_matching": 5}
QUESTIONS = {"vae": 15, "gan": 7, "flow": 8, "comparison": 1, "flow_matching": 0}

every_notebook = pytest.mark.parametrize("name", list(NUMBERS))
