"""Precision, recall, density and coverage on sets with known answers; nearest images."""

import numpy as np
import pytest

from tfgen.errors import UsageError
from tfgen.evaluation import coverage as module
from tfgen.evaluation.coverage import coverage, nearest, radii

LINE = np.arange(10.0)[:, None]


def test_equal_to_prdc() -> None:
    # RandomState's stream never changes, which default_rng's may.
    rng = np.random.RandomState(0)
    one, mix = rng.normal(size=(600, 12)), rng.normal(size=(12, 12))
    other = 0.3 + rng.normal(size=(500, 12)) @ mix / 3
    # prdc 0.2: compute_prdc(real_features=one, fake_features=other, nearest_k=5).
    np.testing.assert_allclose(
        coverage(other, one), (0.656, 0.49, 0.5956, 0.6033333333333334), rtol=1e-12
    )


def test_a_set_covers_itself() -> None:
    found = coverage(LINE, LINE, neighbours=2)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    # Each ball of radius 1 holds its centre and two more, at the ends radius 2 and again three in
    # all.
    assert found.density == 30 / (2 * 10)


def test_far_samples_cover_nothing() -> None:
    assert coverage(LINE + 1000, LINE, neighbours=3) == (0, 0, 0, 0)


def test_one_mode_of_two() -> None:
    real = np.concatenate([LINE, LINE + 1000])
    found = coverage(LINE, real, neighbours=1)
    # All samples are good, and half of what is real is reached.
    assert (found.precision, found.recall, found.coverage) == (1, 0.5, 0.5)


def test_one_sample_again_and_again() -> None:
    found = coverage(np.full((20, 1), 4.0), LINE, neighbours=2)
    # Balls of radius 0 recall their centre alone; it lies in the balls of radius 1 around 3, 4 and
    # 5.
    assert (found.precision, found.recall, found.coverage) == (1, 0.1, 0.3)
    assert found.density == 3 / 2


def test_an_outlier_among_the_real_widens_precision_not_coverage() -> None:
    real = np.concatenate([LINE, [[1e4]]])
    samples = np.full((5, 1), 5000.0)
    found = coverage(samples, real, neighbours=1)
    assert found.precision == 1
    assert found.coverage == pytest.approx(1 / 11)
    assert found.density == 1


def test_radii_are_those_of_sorted_distances() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 3))
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    for k in (1, 4):
        np.testing.assert_allclose(
            radii(features, k), np.sort(distances, axis=1)[:, k] ** 2, rtol=1e-9
        )


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    samples, real = rng.normal(size=(2, 50, 4))
    whole, near = coverage(samples, real), nearest(samples, real)
    monkeypatch.setattr(module, "_ENTRIES", 7 * 50)
    assert coverage(samples, real) == whole
    np.testing.assert_array_equal(nearest(samples, real), near)


def test_nearest_image() -> None:
    rng = np.random.default_rng(2)
    others = rng.integers(0, 256, (30, 4, 4, 1), np.uint8)
    images = others[[7, 3]].copy()
    images[1, 0, 0, 0] ^= 5
    found = nearest(images, others)
    np.testing.assert_array_equal(found.place, [7, 3])
    change = abs(int(images[1, 0, 0, 0]) - int(others[3, 0, 0, 0]))
    np.testing.assert_array_equal(found.distance, [0, change])


def test_too_few_are_refused() -> None:
    with pytest.raises(UsageError, match="5 images are too few for 5 neighbours; the least is 6"):
        coverage(LINE[:5], LINE)
    with pytest.raises(UsageError, match="4 images are too few"):
        coverage(LINE, LINE[:4])
    with pytest.raises(UsageError, match="neighbours = 0 is too small"):
        coverage(np.zeros((5, 2)), np.zeros((5, 2)), 0)
