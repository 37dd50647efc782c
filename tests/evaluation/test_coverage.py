"""Precision, recall, density and coverage on sets with known answers; nearest images."""

import numpy as np
import pytest

from tests.evaluation.test_distances import features
from tfgen.evaluation import coverage as module
from tfgen.evaluation.coverage import coverage, nearest

LINE = np.arange(10.0)[:, None]


def test_equal_to_prdc() -> None:
    real, samples = features()
    # prdc 0.2: compute_prdc(real_features=real, fake_features=samples, nearest_k=5).
    expected = 0.656, 0.49, 0.5956, 0.6033333333333334
    np.testing.assert_allclose(coverage(samples, real), expected, rtol=1e-12)


def test_a_set_covers_itself() -> None:
    result = coverage(LINE, LINE, neighbours=2)
    assert (result.precision, result.recall, result.coverage) == (1, 1, 1)
    # A ball has radius 1, at both ends radius 2. Each contains three points, its centre included.
    assert result.density == 30 / (2 * 10)


def test_far_samples_cover_nothing() -> None:
    assert coverage(LINE + 1000, LINE, neighbours=3) == (0, 0, 0, 0)


def test_copies_of_a_single_sample() -> None:
    result = coverage(np.full((20, 1), 4.0), LINE, neighbours=2)
    # The samples' balls have radius 0 and contain the point 4 only. The samples are in the balls of
    # radius 1 around 3, 4 and 5.
    assert (result.precision, result.recall, result.coverage) == (1, 0.1, 0.3)
    assert result.density == 3 / 2


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    samples, real = rng.normal(size=(2, 50, 4))
    whole, near = coverage(samples, real), nearest(samples, real)
    monkeypatch.setattr(module, "_ENTRIES", 7 * 50)
    monkeypatch.setattr(module, "_VALUES", 9 * 4)
    assert coverage(samples, real) == whole
    parted = nearest(samples, real)
    np.testing.assert_array_equal(parted.indices, near.indices)
    np.testing.assert_array_equal(parted.distances, near.distances)
    # In float32, where squares of about 10 cancel: the size of a block decides their last digits.
    np.testing.assert_allclose(parted.second, near.second, rtol=1e-4)


def test_nearest_image() -> None:
    rng = np.random.default_rng(2)
    candidates = rng.integers(0, 256, (30, 4, 4, 1), np.uint8)
    images = candidates[[7, 3]].copy()
    images[1, 0, 0, 0] ^= 5
    result = nearest(images, candidates)
    np.testing.assert_array_equal(result.indices, [7, 3])
    change = abs(int(images[1, 0, 0, 0]) - int(candidates[3, 0, 0, 0]))
    np.testing.assert_array_equal(result.distances, [0, change])
    far = np.linalg.norm(
        np.delete(candidates, 3, 0).reshape(29, -1) - images[1].ravel().astype(float), axis=1
    )
    np.testing.assert_allclose(result.second[1], far.min(), rtol=1e-6)
    assert result.is_copy.all()
    twice = np.concatenate([candidates, candidates])
    np.testing.assert_array_equal(nearest(images, twice).is_copy, [True, False])
    assert not nearest(candidates[:1] // 2 + candidates[1:2] // 2, candidates).is_copy.any()
