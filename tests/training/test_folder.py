"""The files of a run directory."""

from pathlib import Path

import pytest

from tfgen.training.folder import RunFolder


def test_damaged_lines_are_counted_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path)
    damaged = [
        b"{}",
        b"3",
        b"[" * 10**5,
        b'{"epoch": "\xff"}',
        b'{"epoch": 3, "loss": "low"}',
        b'{"e',
    ]
    lines = [b'{"epoch": 1, "loss": 5.5}', *damaged, b'{"epoch": 2, "loss": NaN}']
    run.metrics.write_bytes(b"\n".join(lines))
    assert [row["epoch"] for row in run.read_metrics()] == [1, 2]
    assert len(run.read_metrics()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{len(damaged)} damaged lines of {run.metrics} ")
    # What is written again has none.
    run.truncate_metrics(2)
    assert len(run.metrics.read_text().splitlines()) == len(run.read_metrics()) == 2
    assert not capsys.readouterr().err
