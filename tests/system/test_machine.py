"""What a run records of its machine."""

import importlib.metadata

import pytest

from tfgen.system import machine

ZEN4 = "fpu avx avx2 avx512f avx512_bf16"
SAPPHIRE_RAPIDS = f"{ZEN4} amx_bf16"


@pytest.mark.parametrize(
    ("flags", "limit", "expected"),
    [
        ("fpu sse4_1", "", ""),
        ("fpu avx avx2", "", "AVX2"),
        (ZEN4, "", "AVX-512 with BF16"),
        (SAPPHIRE_RAPIDS, "", "AMX"),
        # What oneDNN is not allowed is not used, in whatever case that is written.
        (SAPPHIRE_RAPIDS, "AVX2", "AVX2"),
        (SAPPHIRE_RAPIDS, "avx2", "AVX2"),
        (SAPPHIRE_RAPIDS, "AVX2_VNNI", "AVX2"),
        (SAPPHIRE_RAPIDS, "SSE41", ""),
        (SAPPHIRE_RAPIDS, "AVX512_CORE", "AVX-512"),
        (SAPPHIRE_RAPIDS, "AVX512_CORE_BF16", "AVX-512 with BF16"),
        (SAPPHIRE_RAPIDS, "AVX512_CORE_AMX", "AMX"),
        (SAPPHIRE_RAPIDS, "no such set", "AMX"),
        # A limit gives a processor nothing that it does not have.
        ("fpu avx avx2", "AVX512_CORE", "AVX2"),
        (ZEN4, "AVX512_CORE_AMX", "AVX-512 with BF16"),
    ],
)
def test_the_instruction_set_is_the_fastest_that_may_be_used(
    flags: str, limit: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    monkeypatch.setattr(machine, "_read_cpuinfo", lambda key: flags if key == "flags" else "")
    assert machine.hardware_record()["instruction_set"] == expected
    assert machine.has_avx512() == (expected not in ("", "AVX2"))


def test_a_nightly_release_stands_for_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "keras":
            raise importlib.metadata.PackageNotFoundError(package)
        return "3.16.0.dev1" if package == "keras-nightly" else "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert machine.package_versions()["keras"] == "3.16.0.dev1"
