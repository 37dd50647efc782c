"""Every wrong use ends in one line that says what was wrong, and leaves the disk as it was."""

import hashlib
import re
from pathlib import Path

import pytest

from tests import commands
from tests.cli.cases import Case
from tests.cli.worlds import World
from tests.cli.wrong_uses import AS_PROCESSES, CASES
from tests.conftest import Trained

pytestmark = pytest.mark.newest


def snapshot(*folders: Path) -> dict[Path, str | None]:
    """All files in the folders with their SHA-256, and all folders in them."""
    paths = (path for folder in folders for path in folder.rglob("*"))
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else None for p in paths}


def assert_one_line(case: Case, status: int, err: str) -> None:
    assert err.startswith(f"tfgen-{case.verb}: error: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert re.search(case.message, err)
    assert "Traceback" not in err
    assert "TFGEN_TRACEBACK" not in err  # an exception without a message of its own
    assert status == case.status


@pytest.fixture
def world(
    tmp_path: Path,
    trained: Trained,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    # Nothing may be written to TFDS's own folder either.
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    # What Keras and matplotlib write when they are first imported is not a command's doing.
    monkeypatch.setenv("KERAS_HOME", str(tmp_path_factory.getbasetemp() / "keras"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.getbasetemp() / "matplotlib"))
    return World(tmp_path, trained)


def roots(world: World) -> tuple[Path, ...]:
    return world.tmp, world.trained.data, world.trained.runs, world.trained.saved_models


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_wrong_use_is_one_line_and_changes_nothing(
    case: Case, world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = [str(word) for word in case.argv(world)]
    before = snapshot(*roots(world))
    capfd.readouterr()
    status = commands.main(case.verb, argv)
    out, err = capfd.readouterr()
    assert_one_line(case, status, err)
    assert out == ""
    assert snapshot(*roots(world)) == before


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.id in AS_PROCESSES], ids=lambda case: case.id
)
def test_wrong_use_as_a_process_says_nothing_else(case: Case, world: World) -> None:
    argv = [str(word) for word in case.argv(world)]
    before = snapshot(*roots(world))
    done = commands.process(case.verb, argv, world.tmp / "here")
    assert_one_line(case, done.returncode, done.stderr)
    assert done.stdout == ""
    assert snapshot(*roots(world)) == before


def test_the_table_names_each_case_once() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert {case.id for case in CASES} >= set(AS_PROCESSES)
