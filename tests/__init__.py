"""A package, so that scripts find these tests and not those that other packages install."""

import pytest

# A failing assertion in them shows its values, too.
pytest.register_assert_rewrite("tests.commands", "tests.errors")
