"""The notebooks themselves are graded: empty ones have no points."""

import csv
from pathlib import Path

from notebooks._cells import ASSIGNMENTS
from notebooks.checks import load_exercises
from tests import commands
from tests.notebooks.notebook_names import NUMBERS


def test_an_empty_notebook_has_no_points(tmp_path: Path) -> None:
    # .ci/run runs the solved ones, and grades one where the wheel is installed.
    files = [str(ASSIGNMENTS / f"{name}.ipynb") for name in NUMBERS]
    arguments = ["-m", "notebooks.check", *files, "--csv", "points.csv"]
    graded = commands.python(arguments, tmp_path)
    assert (graded.returncode, graded.stderr) == (1, "")
    with (tmp_path / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    exercises = [exercise for name in NUMBERS for exercise in load_exercises(name)]
    assert sorted(row["exercise"] for row in rows) == sorted(exercises)
    assert {(row["earned"], row["mistake"]) for row in rows} == {("0", "not written yet")}
