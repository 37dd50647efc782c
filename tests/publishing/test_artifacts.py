"""What is at a path, or published under a name."""

from pathlib import Path

import pytest

from tests.errors import refuses
from tfgen.publishing import versions
from tfgen.publishing.artifacts import identify, kind_at

NONE = Path("none")


def write(path: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")
    return file.parent


def test_each_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = {
        write("run/config.json"): "run",
        write("mine/2/manifest.json"): "version",
        write("shards/a-00000-of-00001.tfrecord"): "shards",
        write("pictures/a.png"): "folder",
        write("x/a.keras") / "a.keras": "keras",
        write("x/a.npz") / "a.npz": "npz",
        write("x/a.json") / "a.json": "file",
        Path("gone"): "nothing",
    }
    assert {path: kind_at(path) for path in kinds} == kinds
    version = identify("mine/2", NONE).version
    assert version is not None
    assert (version.name, version.number) == ("mine", 2)


def test_a_word_is_a_published_name_unless_a_run_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = versions.shipped_folder() / "vae" / "1"
    assert identify("vae", NONE).path == shipped
    write("vae/a.png")
    assert identify("vae", NONE).path == shipped
    assert identify("./vae", NONE).kind == "folder"
    write("vae/config.json")
    assert identify("vae", NONE).kind == "run"
    refuses(lambda: identify("vae", NONE, 1), "--version")
    refuses(lambda: identify("vea", NONE), "did you mean 'vae'")
    refuses(lambda: identify("no/vae", NONE), "no/vae does not exist")
