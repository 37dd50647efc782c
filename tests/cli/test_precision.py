"""What `tfgen-train` says where 16 bits are slower than float32."""

from pathlib import Path

import pytest

from tests import commands
from tfgen.nn import cpu


@pytest.mark.parametrize(("ratio", "lines"), [(0.6, 0), (8.0, 1)])
def test_a_slow_precision_is_said_once(
    ratio: float,
    lines: int,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cpu, "slowdown", lambda dtype: ratio)
    cpu.warn_if_slow.cache_clear()
    flags = ["--data-dir", tiny_data, "--precision", "mixed_bfloat16", "--no-publish"]
    flags += ["--hidden", 4, "--epochs", 1, "--batch-size", 64, "--preset", "mlp"]
    for run in ("first", "second"):
        words = ["vae", "--dataset", "tiny", *flags, "--run-dir", tmp_path / run]
        assert commands.main("train", [str(word) for word in words]) == 0
    error = capsys.readouterr().err
    assert error.count("\n") == error.count("no instructions for bfloat16") == lines
