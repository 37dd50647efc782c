"""Intermediate values on disk."""

from pathlib import Path

import numpy as np

from tests.evaluation.conftest import job, tiny
from tfgen.evaluation.evaluate import Job
from tfgen.evaluation.sources import SampleSource


def started(folder: Path, n: int = 10) -> Job:
    source = SampleSource("t", folder, "run", "0", (2, 2, 1))
    return job(source, tiny(np.zeros((60, 2, 2, 1), np.uint8)), folder, n=n)


def test_values_of_other_settings_and_broken_files_are_computed_again(tmp_path: Path) -> None:
    calls = []

    def estimate(part: slice) -> np.ndarray:
        calls.append(part)
        return np.ones(part.stop - part.start)

    for content in (b"", b"PK\x03\x04 no archive"):
        (tmp_path / "e.json-nll.npz").write_bytes(content)
        started(tmp_path).per_image("nll", estimate, 10, samples=1)
    for n, samples in ((10, 1), (10, 2), (9, 2)):
        started(tmp_path, n).per_image("nll", estimate, 10, samples=samples)
    assert len(calls) == 2 + 2
