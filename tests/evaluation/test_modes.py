"""Counted modes against closed forms, and against draws of known distributions."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tfgen.evaluation import evaluate
from tfgen.evaluation.modes import captured_modes, expected_modes

MODES = 1000
# Number of samples in Lin et al. 2018.
DRAWS = 26_000


def test_kl_and_entropy_of_uneven_modes_are_their_closed_form() -> None:
    counts = captured_modes(np.repeat([0, 1, 3], [8, 4, 4]), 4)
    assert counts.histogram.tolist() == [8, 4, 0, 4]
    assert counts.entropy == pytest.approx(1.5 * np.log(2), rel=1e-9)
    assert counts.kl == pytest.approx(0.5 * np.log(2), rel=1e-9)


def test_uniform_draws_have_the_expected_modes_and_kl() -> None:
    rng = np.random.default_rng(0)
    # So few draws that some modes have none.
    few = [captured_modes(rng.integers(MODES, size=MODES), MODES).captured for _ in range(200)]
    # If the modes were independent, the variance of their number would be M · 0.37 · 0.63 = 233. It
    # is less.
    assert np.mean(few) == pytest.approx(expected_modes(MODES, MODES), abs=4 * np.sqrt(233 / 200))
    many = [captured_modes(rng.integers(MODES, size=DRAWS), MODES).kl for _ in range(200)]
    # 2N · KL has a χ² distribution with M − 1 degrees of freedom, up to the next order,
    # (M² − 1) / 12N².
    floor, spread = (MODES - 1) / (2 * DRAWS), np.sqrt(2 * (MODES - 1)) / (2 * DRAWS)
    next_order = (MODES**2 - 1) / (12 * DRAWS**2)
    assert np.mean(many) == pytest.approx(floor + next_order, abs=4 * spread / np.sqrt(200))


def test_expected_modes_are_their_closed_form() -> None:
    assert [expected_modes(n, 2) for n in (0, 1, 2, 3)] == [0, 1, 1.5, 1.75]
    # On average 1000 e^−26 modes have no draw.
    assert MODES - expected_modes(DRAWS, MODES) == pytest.approx(1000 * np.exp(-26.013), rel=1e-2)


def test_many_modes_are_counted_on_samples_of_their_own() -> None:
    drawn: list[tuple[int, int]] = []

    def samples(n: int, seed: int, *_: Any) -> tuple[np.ndarray, float]:
        drawn.append((n, seed))
        return np.arange(n), 0.0

    job = SimpleNamespace(
        dataset=SimpleNamespace(image_shape=(28, 28, 3)),
        request=SimpleNamespace(seed=7),
        console=Console(file=io.StringIO()),
        source=SimpleNamespace(samples=samples),
    )
    classifier = SimpleNamespace(
        num_modes=lambda shape: 10 ** shape[-1],
        extract=lambda images, advance: SimpleNamespace(classes=images % 500),
    )
    counts = evaluate._count_modes(job, classifier)  # type: ignore[arg-type]
    # 26 per mode, with other seeds than the samples of the other metrics.
    assert drawn == [(26_000, 8)]
    assert (counts["n"], counts["captured"]) == (26_000, 500)
    # The samples are uniform on half of the modes.
    assert counts["kl"] == pytest.approx(np.log(2))
    assert counts["captured_by_uniform"] == pytest.approx(1000, abs=1e-6)
    assert counts["kl_of_uniform"] == pytest.approx(999 / 52_000)
