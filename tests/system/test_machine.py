"""What a run records of its machine."""

import pytest

from tfgen.system import machine


def test_the_instruction_set_is_one_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    flags = "fpu avx avx2 avx512f avx512_bf16"
    monkeypatch.setattr(machine, "_read_cpuinfo", lambda key: flags if key == "flags" else "")
    assert machine.hardware_record()["instruction_set"] == "AVX-512 with BF16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert machine.hardware_record()["instruction_set"] == "AVX2"
