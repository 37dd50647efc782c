"""The notebooks themselves are graded: solved ones get full marks, and empty ones none."""

import re
from pathlib import Path

import pytest

from notebooks._cells import ASSIGNMENTS, FOLDER
from notebooks.checks import load_exercises
from tests import commands
from tests.notebooks.notebook_names import every_notebook

# With the lowest versions, .ci/run grades the solved notebooks of the installed package.
pytestmark = pytest.mark.newest


@every_notebook
@pytest.mark.parametrize("is_solved", [True, False])
def test_a_solved_notebook_has_full_marks_and_an_empty_one_none(
    name: str, is_solved: bool, tmp_path: Path
) -> None:
    path = (FOLDER if is_solved else ASSIGNMENTS) / f"{name}.ipynb"
    graded = commands.python(["-m", "notebooks.check", str(path)], tmp_path)
    exercises = load_exercises(name).values()
    points = sum(exercise.points for exercise in exercises)
    assert graded.stderr == ""
    assert re.search(rf"total +│ +{points if is_solved else 0} / {points} │", graded.stdout)
    words = "right" if is_solved else "not written yet"
    assert len(re.findall(f"│ {words} +│", graded.stdout)) == len(exercises)
    assert graded.returncode == (0 if is_solved else 1)
