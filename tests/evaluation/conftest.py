"""Fixtures: the shipped classifier, MNIST, and an evaluation that prints nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import tfgen
from tfgen.data import Dataset, Split
from tfgen.evaluation.classifier import FeatureClassifier, open_classifier
from tfgen.evaluation.evaluate import Job
from tfgen.evaluation.job import EvaluationRequest
from tfgen.evaluation.sources import SampleSource


@pytest.fixture(scope="session")
def classifier() -> FeatureClassifier:
    return open_classifier("mnist", None, Path("none"))


@pytest.fixture(scope="session")
def mnist() -> tfgen.data.Dataset:
    return tfgen.load_data("mnist")


def tiny(images: np.ndarray, labels: np.ndarray | None = None) -> Dataset:
    """A data set of three splits, each of a third of the images."""
    thirds = [slice(i * len(images) // 3, (i + 1) * len(images) // 3) for i in range(3)]
    splits = [Split(images[part], None if labels is None else labels[part]) for part in thirds]
    return Dataset("tiny", "1.0.0", *splits, None if labels is None else labels.max() + 1, "f")


def job(source: SampleSource, dataset: Dataset, folder: Path = Path(), **request: Any) -> Job:
    out, console = folder / "e.json", Console(quiet=True)
    return Job(source, dataset, EvaluationRequest(**request), out, console)
