"""The cost of a run before it starts: what is said, and that no image is decoded."""

from pathlib import Path

import pytest

from tests import commands
from tests.conftest import Trained
from tfgen.data.load import load
from tfgen.data.reading import Prepared
from tfgen.system import machine
from tfgen.training import cost


def test_a_blank_data_set_is_like_the_loaded_one_and_decodes_nothing(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load("tiny", tiny_data)
    monkeypatch.setattr(Prepared, "batches", None)
    blank = cost.blank_dataset("tiny", tiny_data)
    for name in ("name", "version", "image_shape", "num_classes"):
        assert getattr(blank, name) == getattr(loaded, name)
    for split in ("train", "validation", "test"):
        assert len(getattr(blank, split)) == len(getattr(loaded, split))


@pytest.mark.parametrize("flag", ["--dry-run", "--no-publish"])
def test_too_little_disk_space_is_reported(
    flag: str,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(machine, "free_disk_bytes", lambda path: 1000)
    monkeypatch.setattr(cost, "_MEASURED_SECONDS", 0.01)
    words = ["vae", "--preset", "mlp", "--dataset", "tiny", "--data-dir", str(trained.data)]
    words += ["--hidden", "4", "--epochs", "1", "--run-dir", str(tmp_path / "run"), flag]
    assert commands.main("train", words) == 0
    (line,) = (row for row in capsys.readouterr().out.splitlines() if row.startswith("warning"))
    assert str(tmp_path) in line and "--run-dir" in line
    assert (tmp_path / "run").exists() == (flag != "--dry-run")
