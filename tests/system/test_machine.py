"""What a run records of its machine."""

import pytest

from tfgen.system import machine

pytestmark = pytest.mark.quick


def test_instructions_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    text = "flags : fpu avx avx2 avx512f avx512_bf16"
    monkeypatch.setattr(machine.Path, "read_text", lambda _: text)
    assert machine.describe()["instructions"] == "AVX-512 with BF16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert machine.describe()["instructions"] == "AVX2"
    monkeypatch.setattr(machine.Path, "read_text", lambda _: "Features : fp asimd")
    assert machine.describe()["instructions"] == ""
