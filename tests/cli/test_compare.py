"""`tfgen-compare` on the evaluations of the repository, and on variations of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import commands
from tests.cli.test_terminal import in_terminal

ROOT = Path(__file__).parents[2]
EVALUATIONS = sorted(map(str, (ROOT / "docs" / "evaluations").glob("*.json")))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(*argv: str) -> int:
    return commands.main("compare", [*argv])


def variation(name: str, **changes: Any) -> str:
    """A file with the shipped GAN's evaluation, changed."""
    manifest = json.loads((ROOT / "saved_models" / "gan" / "1" / "manifest.json").read_text())
    Path(name).write_text(json.dumps(manifest["evaluation"] | changes))
    return name


def test_tables_are_printed_and_nothing_is_written(capsys: Any, folder: Path) -> None:
    assert compare("vae", "Mine=gan", "flow") == 0
    text, error = capsys.readouterr()
    assert error == ""
    assert "| Mine | **0.379** | **1.87 ± 0.58** |" in text
    assert "| flow version 1 | – | – | 0.9818 ± 0.0024 |" in text
    assert not list(folder.iterdir())


def test_out(capsys: Any, folder: Path) -> None:
    new = Path("side by side/new")
    assert compare("vae", "gan", "--out", str(new)) == compare("vae", "gan", "--out", "t.md") == 0
    text = capsys.readouterr().out
    names = ("comparison.md", "comparison.json", "comparison.png")
    assert {path.name for path in new.iterdir()} == set(names)
    assert all(f"written to {new / name}" in text for name in names)
    assert (new / "comparison.md").read_text() == Path("t.md").read_text() in text
    tables = json.loads((new / "comparison.json").read_text())["tables"]
    assert [table["part"] for table in tables] == ["samples", "likelihood", "cost"]
    assert (new / "comparison.png").read_bytes().startswith(b"\x89PNG")
    # A figure of an earlier comparison would show other models.
    values = {"nll": 1.0, "events": "bytes", "importance_samples": 5}
    likelihood = variation("l.json", samples=None, likelihood=values)
    assert compare(likelihood, "--out", str(new)) == 0
    assert not (new / "comparison.png").exists()


def test_the_shipped_figure_can_be_drawn_again_beside_images_from_anywhere(capsys: Any) -> None:
    images = variation("фото.json", family=None, preset=None, seed=None, cost={})
    random = variation("r.json", features={"name": "random", "sha256": "0" * 64})
    assert compare("gan", images, random, "--out", "f.png") == 0
    text, error = capsys.readouterr()
    assert error == ""
    assert text.count("### Samples against the test images of mnist") == 2
    assert "| фото | 0.379 |" in text
    assert Path("f.png").stat().st_size > 1000


def test_a_terminal_gets_tables_as_wide_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    small = variation("small.json", n=5000)
    status, text = in_terminal("compare", ["vae", "gan", "flow", small, EVALUATIONS[0]], folder)
    assert status == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.startswith("|") for line in lines)
    assert any("0.379 (n = 5 000)" in line for line in lines)


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["vae", "vae"], 2, "2 evaluations are named vae, but"),
        (["old.json"], 1, "its format is 0, not 1"),
        (["vae", "--out", "list/x"], 2, "list is a file; choose another folder"),
        (["new.json", "--out", "new.json"], 2, "new.json: it would replace what was evaluated"),
        (["vae", "--out", "2/x.md"], 2, "a version may not hold further files"),
    ],
)
def test_wrong_uses(argv: list[str], status: int, message: str, capsys: Any, folder: Path) -> None:
    Path("list").touch()
    Path("2").mkdir()
    Path("2/manifest.json").touch()
    variation("new.json")
    variation("old.json", format=0)
    before = sorted(folder.rglob("*"))
    assert compare(*argv) == status
    out, error = capsys.readouterr()
    assert error.startswith("tfgen-compare: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert out == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.slow
def test_no_tensorflow() -> None:
    code = (
        f"import sys; from {commands.PACKAGE}.compare import main; import tfgen.evaluation.chart; "
        "assert main(['vae', 'gan']) == 0; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    done = commands.python(["-c", code], Path())
    assert (done.returncode, done.stderr) == (0, "")
