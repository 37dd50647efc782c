"""FID and KID against closed forms and another implementation."""

import itertools

import numpy as np
import pytest

from tfgen.evaluation.distances import Moments, RunningMoments, fid, frechet_distance, kid


def random_covariance(rng: np.random.Generator, size: int) -> np.ndarray:
    root = rng.normal(size=(size, size))
    return root @ root.T


def test_frechet_distance_of_a_transported_normal() -> None:
    # x ↦ A (x − m) + a, with a symmetric positive A, is the optimal transport from N(m, Σ) to
    # N(a, A Σ A). So the distance is the mean squared length of the way, ‖a − m‖² +
    # tr((A − 1) Σ (A − 1)).
    rng = np.random.default_rng(1)
    sigma, stretch = random_covariance(rng, 6), random_covariance(rng, 6) + np.eye(6)
    mean, moved = rng.normal(size=(2, 6))
    change = stretch - np.eye(6)
    expected = ((moved - mean) ** 2).sum() + np.trace(change @ sigma @ change)
    first, second = Moments(mean, sigma), Moments(moved, stretch @ sigma @ stretch)
    np.testing.assert_allclose(frechet_distance(first, second), expected, rtol=1e-9)
    np.testing.assert_allclose(frechet_distance(second, first), expected, rtol=1e-9)


def features() -> tuple[np.ndarray, np.ndarray]:
    # RandomState's stream never changes, which default_rng's may.
    rng = np.random.RandomState(0)
    first, mix = rng.normal(size=(600, 12)), rng.normal(size=(12, 12))
    return first, 0.3 + rng.normal(size=(500, 12)) @ mix / 3


def test_equal_to_torch_fidelity() -> None:
    first, second = features()
    # torch-fidelity 0.4.0: metric_fid.fid_statistics_to_metric of mean and np.cov of both sets, and
    # metric_kid.kernel_mmd of first[:500] and second, kernel "poly" of degree 3, gamma None, coef0
    # 1.
    np.testing.assert_allclose(fid(first, second), 6.830513442936056, rtol=1e-6)
    np.testing.assert_allclose(kid(first[:500], second).value, 1.1303829057406456, rtol=1e-6)


def test_fid_of_equal_sets_is_zero_also_in_float32() -> None:
    first, _ = features()
    assert 0 <= fid(first, first) < 1e-9
    # Of dimensions that hardly vary, computation in float32 would give NaN.
    dead = np.concatenate([first, np.full((600, 5), 1e-7)], axis=1).astype(np.float32)
    assert 0 <= fid(dead, dead) < 1e-4


def test_kid_is_that_of_all_pairs_of_images_in_any_order() -> None:
    first, second = features()
    pairs = (itertools.permutations(part, 2) for part in (first[:90], second[:70]))
    within = sum(np.mean([(x @ y / 12 + 1) ** 3 for x, y in part]) for part in pairs)
    expected = within - 2 * ((first[:90] @ second[:70].T / 12 + 1) ** 3).mean()
    assert kid(first[:90], second[:70]).value == pytest.approx(expected, rel=1e-9)
    # More images than rows of the kernel's matrix at a time.
    assert kid(first[::-1], second[::-1]) == pytest.approx(kid(first, second), rel=1e-9)


@pytest.mark.parametrize(("shift", "most"), [(0.0, 1.25), (0.3, 1.1)])
def test_the_error_of_kid_is_the_standard_deviation(shift: float, most: float) -> None:
    rng = np.random.RandomState(3)
    values, errors = np.transpose(
        [kid(rng.normal(shift, size=(60, 16)), rng.normal(size=(40, 16))) for _ in range(400)]
    )
    # The standard deviation of 400 values is known to 1 / √800, a third of a tenth. Errors of equal
    # distributions are too large by up to a quarter.
    assert 0.9 < np.sqrt((errors**2).mean()) / values.std() < most
    # That of a few blocks varied by three quarters of its mean.
    assert errors.std() < errors.mean() / 3
    if not shift:  # unbiased
        assert abs(values.mean()) < 3.5 * values.std() / 20
        assert values.min() < 0 < values.max()


@pytest.mark.parametrize("sizes", [[600], [1, 599], [250, 0, 250, 100], [1] * 600])
def test_running_moments_are_those_of_two_passes(sizes: list[int]) -> None:
    # A mean of 10⁴ standard deviations, where E[xxᵀ] − μμᵀ in float64 loses eight digits.
    data = 1e4 + features()[0]
    running = RunningMoments(data.shape[1])
    for part in np.split(data, np.cumsum(sizes)[:-1]):
        running.add(part)
    assert running.n == len(data)
    mean, covariance = running.moments()
    np.testing.assert_allclose(mean, data.mean(0), rtol=1e-9)
    scale = np.sqrt(np.outer(*[data.var(0, ddof=1)] * 2))
    difference = covariance - np.cov(data, rowvar=False)
    assert abs(difference / scale).max() < 1e-9
    # They are not changed by what comes later.
    running.add(data[:5])
    np.testing.assert_allclose(mean, data.mean(0), rtol=1e-9)
