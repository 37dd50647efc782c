"""Counted modes against closed forms, and against draws of known distributions."""

import contextlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.told import fails
from tfgen.evaluation import evaluate
from tfgen.evaluation.modes import captured_modes, expected_modes
from tfgen.evaluation.progress import silent

MODES = 1000
# What Lin et al. 2018 draw.
DRAWS = 26_000


def test_every_mode_as_often_is_nothing_from_the_uniform() -> None:
    counts = captured_modes(np.arange(DRAWS) % MODES, MODES)
    assert (counts.captured, counts.kl) == (MODES, 0)
    assert counts.entropy == pytest.approx(np.log(MODES), rel=1e-12)
    assert counts.histogram.tolist() == [DRAWS // MODES] * MODES


@pytest.mark.parametrize("reached", [1, 2, 150, 999])
def test_some_modes_as_often_are_the_logarithm_of_their_share_away(reached: int) -> None:
    counts = captured_modes(np.arange(999 * 600) % reached, MODES)
    assert counts.captured == np.count_nonzero(counts.histogram) == reached
    # Not as often to the last sample where their number does not divide that of the samples: 150
    # does not.
    assert counts.kl == pytest.approx(np.log(MODES / reached), rel=1e-6)
    assert counts.entropy == pytest.approx(np.log(reached), rel=1e-6)


def test_uneven_modes_are_their_closed_form() -> None:
    counts = captured_modes(np.repeat([0, 1, 3], [8, 4, 4]), 4)
    assert counts.histogram.tolist() == [8, 4, 0, 4]
    assert counts.entropy == pytest.approx(1.5 * np.log(2), rel=1e-12)
    assert counts.kl == pytest.approx(0.5 * np.log(2), rel=1e-12)


def test_a_reference_takes_the_place_of_the_uniform() -> None:
    labels = np.repeat([0, 1, 3], [8, 4, 4])
    # ½ ln(½ / ¼) + ¼ ln(¼ / ¼) + ¼ ln(¼ / ⅜), of weights that do not sum to one.
    counts = captured_modes(labels, 4, np.array([2, 2, 1, 3]))
    assert counts.kl == pytest.approx(0.5 * np.log(2) + 0.25 * np.log(2 / 3), rel=1e-12)
    itself = captured_modes(np.repeat(np.arange(3), [5, 2, 1]), 3, np.array([5, 2, 1]))
    assert itself.kl == pytest.approx(0, abs=1e-15)


def test_uniform_draws_reach_what_is_expected_and_have_the_floor_of_kl() -> None:
    rng = np.random.default_rng(0)
    # Few enough draws that some modes are missed.
    few = [captured_modes(rng.integers(MODES, size=MODES), MODES).captured for _ in range(200)]
    # Were the modes independent, their number's variance would be M · 0.37 · 0.63 = 233; it is
    # less.
    assert np.mean(few) == pytest.approx(expected_modes(MODES, MODES), abs=4 * np.sqrt(233 / 200))
    many = [captured_modes(rng.integers(MODES, size=DRAWS), MODES).kl for _ in range(200)]
    # 2N · KL is χ² of M − 1 degrees of freedom but for the next order, (M² − 1) / 12N².
    floor, spread = (MODES - 1) / (2 * DRAWS), np.sqrt(2 * (MODES - 1)) / (2 * DRAWS)
    next_order = (MODES**2 - 1) / (12 * DRAWS**2)
    assert np.mean(many) == pytest.approx(floor + next_order, abs=4 * spread / np.sqrt(200))


def test_expected_modes_are_their_closed_form() -> None:
    assert [expected_modes(n, 1) for n in (0, 1, 5)] == [0, 1, 1]
    assert [expected_modes(n, 2) for n in (0, 1, 2, 3)] == [0, 1, 1.5, 1.75]
    assert expected_modes(1, MODES) == pytest.approx(1, rel=1e-12)
    # So many draws miss 1000 e^−26 modes.
    assert MODES - expected_modes(DRAWS, MODES) == pytest.approx(1000 * np.exp(-26.013), rel=1e-2)


def test_labels_that_are_no_modes_are_refused() -> None:
    fails(
        lambda: captured_modes(np.zeros(999, int), 1000),
        "999 samples",
        "the least is 1000",
        "26 a mode",
    )
    fails(lambda: captured_modes(np.zeros(4), 2), "float64[4]", "integers")
    fails(lambda: captured_modes(np.zeros((4, 1), int), 2), "int64[4, 1]")
    fails(lambda: captured_modes(np.array([0, 1, 2]), 2), "0 to 2", "2 modes")
    fails(lambda: captured_modes(np.array([0, -1]), 2), "-1 to 0")
    fails(lambda: captured_modes(np.zeros(0, int), 0), "num_modes = 0")
    for n, modes, told in [(-1, 5, "n = -1"), (5, 0, "num_modes = 0")]:
        fails(lambda n=n, modes=modes: expected_modes(n, modes), told)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ([1, 1], "[2] weights; there are 3"),
        ([1, 0, 1], "weight 0 for mode 1"),
        ([1, 1, -2], "weight -2 for mode 2"),
        ([np.nan, 1, 1], "weight nan for mode 0"),
    ],
)
def test_reference_must_have_a_weight_for_each_mode(reference: list[float], told: str) -> None:
    fails(lambda: captured_modes(np.arange(3), 3, np.array(reference)), told)


def test_many_modes_are_counted_on_samples_of_their_own() -> None:
    drawn: list[tuple[int, int]] = []

    def samples(n: int, seed: int, *_: Any) -> tuple[np.ndarray, float]:
        drawn.append((n, seed))
        return np.arange(n), 0.0

    work = SimpleNamespace(
        dataset=SimpleNamespace(image_shape=(28, 28, 3)),
        options=SimpleNamespace(seed=7),
        phase=lambda name, total: contextlib.nullcontext(silent),
        subject=SimpleNamespace(samples=samples),
    )
    judge = SimpleNamespace(
        num_modes=lambda shape: 10 ** shape[-1],
        see=lambda images, advance: SimpleNamespace(classes=images % 500),
    )
    found = evaluate._modes(work, judge)  # type: ignore[arg-type]
    # 26 a mode, of other seeds than the samples that are judged otherwise.
    assert drawn == [(26_000, 8)]
    assert (found["n"], found["captured"]) == (26_000, 500)
    # Uniform on half of them.
    assert found["kl"] == pytest.approx(np.log(2))
    assert found["captured_by_uniform"] == pytest.approx(1000, abs=1e-6)
    assert found["kl_of_uniform"] == pytest.approx(999 / 52_000)
