"""Where evaluations are read from, what they are called, and which cannot be read."""

import json
from pathlib import Path

import pytest

from tests.evaluation.evaluations import evaluation
from tfgen.errors import UsageError, WorkError
from tfgen.evaluation.compare import compare
from tfgen.evaluation.reading import read_evaluation

ROOT = Path(__file__).parents[2]


EVALUATIONS = [
    *ROOT.glob("docs/evaluations/*.json"),
    *ROOT.glob("docs/*/evaluation.json"),
    *(path for path in ROOT.glob("saved_models/*/1") if path.parent.name != "classifier"),
]


@pytest.mark.parametrize("path", EVALUATIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_evaluations_of_earlier_versions_are_compared(path: Path, tmp_path: Path) -> None:
    tables = compare([read_evaluation(str(path), tmp_path)])
    assert "FID" in tables[0].rows[0].cells
    assert tables[-1].part == "cost"


def test_names_are_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = json.dumps(evaluation("vae", fid=1.0))
    for path in ("runs/first/evaluation.json", "dé jà.json", "a=b.json", "emoji-evaluation.json"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)
    version = Path("models/mine/3/manifest.json")
    version.parent.mkdir(parents=True)
    version.write_text(json.dumps({"evaluation": json.loads(content)}))

    def name(argument: str) -> str:
        return read_evaluation(argument, Path("models")).name

    assert name("runs/first") == name("runs/first/evaluation.json") == "first"
    assert name("mine") == name("models/mine/3") == "mine version 3"
    assert name("vae") == "vae version 1"
    assert name("dé jà.json") == "dé jà"
    assert name("emoji-evaluation.json") == "emoji"
    assert name("a=b.json") == "a=b"  # a file of that name exists
    own = read_evaluation(" My VAE =runs/first", Path("models"))
    assert (own.name, own.argument, own.is_named) == ("My VAE", "runs/first", True)
    assert not read_evaluation("runs/first", Path("models")).is_named
    for argument, message in (
        ("=runs/first", "'=runs/first' lacks a name or an evaluation; pass NAME=EVALUATION"),
        ("x=", "'x=' lacks a name or an evaluation"),
        ("x=gone/run", "gone/run does not exist"),
    ):
        with pytest.raises(UsageError, match=message):
            name(argument)


def test_what_holds_no_evaluation_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    other = json.dumps(evaluation("vae") | {"format": 2}).encode()
    for content in (b"[1]", b"[", b"[" * 100_000, b"\x89PNG\xff", b'{"a": 1}', other):
        file.write_bytes(content)
        with pytest.raises(WorkError, match="has no evaluation"):
            read_evaluation(str(file), tmp_path)
    with pytest.raises(UsageError, match="has not been evaluated; run: tfgen-evaluate"):
        read_evaluation(str(tmp_path), tmp_path)
