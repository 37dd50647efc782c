"""FID and KID against closed forms and another implementation."""

import numpy as np
import pytest

from tfgen.errors import UsageError
from tfgen.evaluation.distances import Moments, fid, frechet_distance, kernel_mmd, kid, moments


def random_covariance(rng: np.random.Generator, size: int) -> np.ndarray:
    root = rng.normal(size=(size, size))
    return root @ root.T


def test_frechet_distance_of_normals_with_diagonal_covariances() -> None:
    rng = np.random.default_rng(0)
    means, variances = rng.normal(size=(2, 7)), rng.gamma(2.0, size=(2, 7))
    # There the root of the product is the product of the roots.
    expected = ((means[0] - means[1]) ** 2).sum() + (
        (variances[0] ** 0.5 - variances[1] ** 0.5) ** 2
    ).sum()
    found = frechet_distance(
        *(Moments(m, np.diag(v)) for m, v in zip(means, variances, strict=True))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_frechet_distance_where_one_is_the_other_transported() -> None:
    # N(a, A Σ A) for a symmetric positive A is reached by x ↦ A (x − m) + a, the optimal transport,
    # so the distance is E ‖that − x‖² = ‖a − m‖² + tr((A − 1) Σ (A − 1)).
    rng = np.random.default_rng(1)
    sigma, stretch = random_covariance(rng, 6), random_covariance(rng, 6) + np.eye(6)
    mean, moved = rng.normal(size=(2, 6))
    change = stretch - np.eye(6)
    expected = ((moved - mean) ** 2).sum() + np.trace(change @ sigma @ change)
    one, other = Moments(mean, sigma), Moments(moved, stretch @ sigma @ stretch)
    np.testing.assert_allclose(frechet_distance(one, other), expected, rtol=1e-10)
    np.testing.assert_allclose(frechet_distance(other, one), expected, rtol=1e-10)


def test_frechet_distance_of_singular_covariances() -> None:
    rng = np.random.default_rng(2)
    root = rng.normal(size=(6, 2))
    flat = Moments(np.zeros(6), root @ root.T)
    assert abs(frechet_distance(flat, flat)) < 1e-6
    # From a point the distance is the trace.
    point = Moments(np.zeros(6), np.zeros((6, 6)))
    np.testing.assert_allclose(frechet_distance(flat, point), np.trace(flat.covariance), rtol=1e-10)


def features() -> tuple[np.ndarray, np.ndarray]:
    # RandomState's stream never changes, which default_rng's may.
    rng = np.random.RandomState(0)
    one, mix = rng.normal(size=(600, 12)), rng.normal(size=(12, 12))
    return one, 0.3 + rng.normal(size=(500, 12)) @ mix / 3


def test_equal_to_torch_fidelity() -> None:
    one, other = features()
    # torch-fidelity 0.4.0: metric_fid.fid_statistics_to_metric of mean and np.cov of both sets, and
    # metric_kid.kernel_mmd of one[:500] and other, kernel "poly" of degree 3, gamma None, coef0 1.
    np.testing.assert_allclose(fid(one, other), 6.830513442936056, rtol=1e-6)
    np.testing.assert_allclose(kernel_mmd(one[:500], other), 1.1303829057406456, rtol=1e-6)


def test_fid_of_equal_sets_is_zero_and_of_float32_finite() -> None:
    one, _ = features()
    assert abs(fid(one, one)) < 1e-9
    # Dimensions that hardly vary: there float32 would give not a number.
    dead = np.concatenate([one, np.full((600, 5), 1e-7)], axis=1).astype(np.float32)
    assert abs(fid(dead, dead)) < 1e-4


def test_kid_is_unbiased_on_equal_distributions() -> None:
    rng = np.random.default_rng(3)
    found = [kid(*rng.normal(size=(2, 60, 4)), block=20) for _ in range(400)]
    values, errors = np.array(found).T
    # Zero in the mean, and the standard errors tell the spread.
    assert abs(values.mean()) < 3.5 * values.std() / 20
    np.testing.assert_allclose(np.sqrt((errors**2).mean()), values.std(), rtol=0.15)
    assert values.min() < 0 < values.max()


def test_kid_of_points_is_the_kernels_difference() -> None:
    # (x·y / D + 1)³ between copies of 0 is 1, between copies of (1, 1) is 8, across 1: 1 + 8 − 2.
    ones, zeros = np.ones((8, 2)), np.zeros((10, 2))
    assert kid(ones, zeros).value == pytest.approx(7)
    assert kid(ones, zeros).error == pytest.approx(0)


def test_each_image_falls_into_one_block() -> None:
    one, other = features()
    # With blocks of half of all, the value is the mean over both halves of a permutation.
    rng = np.random.default_rng(5)
    order, against = rng.permutation(500), rng.permutation(500)
    halves = [
        kernel_mmd(one[order[s]], other[against[s]]) for s in (slice(0, 250), slice(250, 500))
    ]
    assert kid(one[:500], other, block=1000, seed=5).value == pytest.approx(np.mean(halves))


def test_too_few_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"12 images are too few for a covariance of 12 features; .* 13"
    ):
        moments(np.zeros((12, 12)))
    with pytest.raises(
        UsageError, match="3 images are too few for a kernel distance; the least is 4"
    ):
        kid(np.zeros((3, 2)), np.zeros((9, 2)))


def test_what_is_no_block_is_refused() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(UsageError, match="block = 1 is too small"):
        kid(x, x, block=1)
    for one, other in ((x, x[:10]), (x[:1], x[:1])):
        with pytest.raises(UsageError, match="as large"):
            kernel_mmd(one, other)


def test_a_single_feature_has_a_covariance() -> None:
    x = np.random.default_rng(0).normal(size=(50, 1))
    assert fid(x, 2 * x + 1) == pytest.approx((x.mean() + 1) ** 2 + x.var(ddof=1))
