"""Precision, recall, density and coverage on sets with known answers; nearest images."""

import numpy as np
import pytest

from tfgen.errors import UsageError
from tfgen.evaluation import coverage as module
from tfgen.evaluation.coverage import coverage, nearest, squared_radii

pytestmark = pytest.mark.quick

LINE = np.arange(10.0)[:, None]


def test_equal_to_prdc() -> None:
    # RandomState's stream never changes, which default_rng's may.
    rng = np.random.RandomState(0)
    real, mix = rng.normal(size=(600, 12)), rng.normal(size=(12, 12))
    samples = 0.3 + rng.normal(size=(500, 12)) @ mix / 3
    # prdc 0.2: compute_prdc(real_features=real, fake_features=samples, nearest_k=5).
    np.testing.assert_allclose(
        coverage(samples, real), (0.656, 0.49, 0.5956, 0.6033333333333334), rtol=1e-12
    )


def test_a_set_covers_itself() -> None:
    result = coverage(LINE, LINE, neighbours=2)
    assert (result.precision, result.recall, result.coverage) == (1, 1, 1)
    # A ball has radius 1, at both ends radius 2. Each contains three points, its centre included.
    assert result.density == 30 / (2 * 10)


def test_far_samples_cover_nothing() -> None:
    assert coverage(LINE + 1000, LINE, neighbours=3) == (0, 0, 0, 0)


def test_one_mode_of_two() -> None:
    real = np.concatenate([LINE, LINE + 1000])
    result = coverage(LINE, real, neighbours=1)
    # All samples are near real points, and half of the real points are near samples.
    assert (result.precision, result.recall, result.coverage) == (1, 0.5, 0.5)


def test_copies_of_a_single_sample() -> None:
    result = coverage(np.full((20, 1), 4.0), LINE, neighbours=2)
    # The samples' balls have radius 0 and contain the point 4 only. The samples are in the balls of
    # radius 1 around 3, 4 and 5.
    assert (result.precision, result.recall, result.coverage) == (1, 0.1, 0.3)
    assert result.density == 3 / 2


def test_an_outlier_among_the_real_widens_precision_not_coverage() -> None:
    real = np.concatenate([LINE, [[1e4]]])
    samples = np.full((5, 1), 5000.0)
    result = coverage(samples, real, neighbours=1)
    assert result.precision == 1
    assert result.coverage == pytest.approx(1 / 11)
    assert result.density == 1


def test_radii_are_sorted_distances() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 3))
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    for k in (1, 4):
        np.testing.assert_allclose(
            squared_radii(features, k), np.sort(distances, axis=1)[:, k] ** 2, rtol=1e-9
        )


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    samples, real = rng.normal(size=(2, 50, 4))
    whole, near = coverage(samples, real), nearest(samples, real)
    monkeypatch.setattr(module, "_ENTRIES", 7 * 50)
    monkeypatch.setattr(module, "_VALUES", 9 * 4)
    assert coverage(samples, real) == whole
    np.testing.assert_array_equal(nearest(samples, real), near)


def test_nearest_image() -> None:
    rng = np.random.default_rng(2)
    candidates = rng.integers(0, 256, (30, 4, 4, 1), np.uint8)
    images = candidates[[7, 3]].copy()
    images[1, 0, 0, 0] ^= 5
    result = nearest(images, candidates)
    np.testing.assert_array_equal(result.indices, [7, 3])
    change = abs(int(images[1, 0, 0, 0]) - int(candidates[3, 0, 0, 0]))
    np.testing.assert_array_equal(result.distances, [0, change])


def test_too_few_are_refused() -> None:
    with pytest.raises(UsageError, match="5 images are too few for 5 neighbours; the least is 6"):
        coverage(LINE[:5], LINE)
    with pytest.raises(UsageError, match="4 images are too few"):
        coverage(LINE, LINE[:4])
    with pytest.raises(UsageError, match="neighbours = 0 is too small"):
        coverage(np.zeros((5, 2)), np.zeros((5, 2)), 0)
