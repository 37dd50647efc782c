"""Intermediate values on disk."""

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.conftest import job, tiny
from tfgen.evaluation.evaluate import Job
from tfgen.evaluation.sources import SampleSource


def started(folder: Path, n: int = 10) -> Job:
    source = SampleSource("t", folder, "run", "0", (2, 2, 1))
    return job(source, tiny(np.zeros((60, 2, 2, 1), np.uint8)), folder, n=n)


def test_an_interrupted_estimate_continues(tmp_path: Path) -> None:
    starts: list[int] = []

    def estimate(part: slice) -> np.ndarray:
        starts.append(part.start)
        if len(starts) == 3:
            raise KeyboardInterrupt
        return np.arange(part.start, part.stop) * 1.5

    with pytest.raises(KeyboardInterrupt):
        started(tmp_path).per_image("ELBO", estimate, 3)
    again = started(tmp_path)
    values = again.per_image("ELBO", estimate, 3)
    np.testing.assert_array_equal(values, np.arange(10) * 1.5)
    assert starts == [0, 3, 6, 6, 9]
    assert again.partial_files == list(tmp_path.iterdir())


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
