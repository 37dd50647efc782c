"""The fixed random network: weights that never change, any images, degraded images in order."""

import numpy as np
import pytest

import tfgen
from tfgen.evaluation.coverage import coverage
from tfgen.evaluation.distances import fid
from tfgen.evaluation.features import WIDTHS, RandomNetwork

N = 600


@pytest.fixture(scope="module")
def network() -> RandomNetwork:
    return RandomNetwork(N)


def test_the_weights_are_the_same_for_ever(network: RandomNetwork) -> None:
    expected = "c454782e0b7bf2baa196627eadb2185e9e00533a442af388c18b6c27f3383192"
    assert network.identity() == {"name": "random network", "sha256": expected, "features": 64}
    assert RandomNetwork(40).identity()["sha256"] != expected


@pytest.mark.parametrize("shape", [(6, 6, 1), (5, 9, 3), (1, 1, 1), (70, 30, 3)])
def test_any_size(network: RandomNetwork, shape: tuple[int, ...]) -> None:
    network.check_images(shape)
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    images[2] = 7
    features = network.extract(images).features
    assert features.shape == (3, network.dimensions(shape)) == (3, 64)
    assert np.isfinite(features).all()
    # An image of one colour has no edges but of rounding, which each layer divides by √1e-3.
    assert np.abs(features[2]).max() < np.finfo(np.float32).eps * 1e-3 ** (-len(WIDTHS) / 2)
    if shape[2] == 1:
        same = network.extract(images.repeat(3, axis=3)).features
        np.testing.assert_allclose(features, same, atol=1e-5)


def noisy(images: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(images.shape, np.float32)
    return np.clip(np.round(images + deviation * noise), 0, 255).astype(np.uint8)


def test_degraded_images_are_ordered(network: RandomNetwork, mnist: tfgen.data.Dataset) -> None:
    images, train = mnist.validation.images[:N], mnist.train
    reference, real = (network.extract(part).features for part in (mnist.test.images[:N], images))
    noise = [network.extract(noisy(images, deviation)).features for deviation in (8, 32, 128)]
    first = [network.extract(train.images[train.labels < k][:N]).features for k in (6, 3, 1)]
    for worse in (noise, first):
        values = [fid(part, reference) for part in (real, *worse)]
        assert values == sorted(values)
        assert values[-1] > 4 * values[0] > 0
    # Fewer classes cover less of the real images.
    covered = [coverage(part, reference).coverage for part in (real, *first)]
    assert covered == sorted(covered, reverse=True)
