"""Intermediate values on disk."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tfgen.data import Dataset, Split
from tfgen.evaluation.evaluate import Job
from tfgen.evaluation.job import EvaluationRequest
from tfgen.evaluation.sources import SampleSource


def job(folder: Path, n: int = 10) -> Job:
    split = Split(np.zeros((20, 2, 2, 1), np.uint8))
    dataset = Dataset("d", "1.0.0", split, split, split, None, "f")
    source = SampleSource("t", folder, "run", "0", (2, 2, 1))
    console = Console(file=io.StringIO())
    return Job(source, dataset, EvaluationRequest(n=n), folder / "e.json", console)


def test_an_interrupted_estimate_continues(tmp_path: Path) -> None:
    starts: list[int] = []

    def estimate(part: slice) -> np.ndarray:
        starts.append(part.start)
        if len(starts) == 3:
            raise KeyboardInterrupt
        return np.arange(part.start, part.stop) * 1.5

    with pytest.raises(KeyboardInterrupt):
        job(tmp_path).per_image("ELBO", estimate, 3)
    again = job(tmp_path)
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
        job(tmp_path).per_image("nll", estimate, 10, samples=1)
    for n, samples in ((10, 1), (10, 2), (9, 2)):
        job(tmp_path, n).per_image("nll", estimate, 10, samples=samples)
    assert len(calls) == 2 + 2
