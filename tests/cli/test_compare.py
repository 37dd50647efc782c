"""`tfgen-compare` on the evaluations of the repository, and on variations of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import commands
from tests.cli.test_terminal import in_terminal

pytestmark = pytest.mark.usefixtures("here")

ROOT = Path(__file__).parents[2]
EVALUATIONS = sorted(map(str, (ROOT / "docs" / "evaluations").glob("*.json")))


def compare(*argv: str) -> int:
    return commands.main("compare", [*argv])


def variation(name: str, **changes: Any) -> str:
    """A file with the shipped GAN's evaluation, changed."""
    manifest = json.loads((ROOT / "saved_models" / "gan" / "1" / "manifest.json").read_text())
    Path(name).write_text(json.dumps(manifest["evaluation"] | changes))
    return name


def test_tables_are_printed_and_nothing_is_written(capsys: Any, here: Path) -> None:
    assert compare("vae", "Mine=gan", "flow") == 0
    text, error = capsys.readouterr()
    assert error == ""
    assert "| Mine | **0.379** | **1.87 ± 0.58** |" in text
    assert "| flow version 1 | – | – | 0.9818 ± 0.0024 |" in text
    assert not list(here.iterdir())


def test_out(capsys: Any, here: Path) -> None:
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
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    small = variation("small.json", n=5000)
    status, text = in_terminal("compare", ["vae", "gan", "flow", small, EVALUATIONS[0]], here)
    assert status == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.startswith("|") for line in lines)
    assert any("0.379 (n = 5 000)" in line for line in lines)


@pytest.mark.slow
def test_no_tensorflow(here: Path) -> None:
    commands.without_tensorflow("compare", ["vae", "gan", "--out", "figure.png"], here)
