"""The metrics of samples on real images, noise and copies."""

from pathlib import Path

import numpy as np
import pytest

import tfgen
from tfgen.evaluation.classifier import FeatureClassifier, open_classifier
from tfgen.evaluation.sample_metrics import copies, noise, sample_metrics


@pytest.fixture(scope="module")
def classifier() -> FeatureClassifier:
    return open_classifier("mnist", None, Path("none"))


@pytest.fixture(scope="module")
def mnist() -> tfgen.data.Dataset:
    return tfgen.load_data("mnist")


def test_real_images_are_between_themselves_and_noise(
    classifier: FeatureClassifier, mnist: tfgen.data.Dataset
) -> None:
    n = 600
    reference = classifier.extract(mnist.test.images[:n])
    real = classifier.extract(mnist.validation.images[:n])
    uniform = classifier.extract(noise(n, mnist.image_shape))
    floor = sample_metrics(real, reference, 10)
    ceiling = sample_metrics(uniform, reference, 10)
    itself = sample_metrics(reference, reference, 10)
    assert abs(itself["fid"]) < 1e-6 < floor["fid"] < ceiling["fid"] / 20
    assert abs(floor["kid"]) < 5 * floor["kid_error"] < ceiling["kid"]
    assert min(floor["precision"], floor["recall"], floor["coverage"]) > 0.7
    assert max(ceiling["recall"], ceiling["coverage"]) < 0.1
    assert sum(floor["classes"]) == n
    assert floor["modes"] == 10
    assert 2.25 < floor["class_entropy"] <= np.log(10)


def test_copies_are_found(mnist: tfgen.data.Dataset) -> None:
    train, held_out = mnist.train.images[:2000], mnist.validation.images[:200]
    samples = mnist.test.images[:200].copy()
    fresh = copies(samples, held_out, train)
    assert fresh["share_nearer"] < 0.05
    samples[:50] = train[100:150]
    copied = copies(samples, held_out, train)
    assert copied["share_nearer"] >= 0.25
    assert {(sample, index - sample) for sample, index in copied["nearest"]} <= {
        (i, 100) for i in range(50)
    }
    assert fresh["distance_of_held_out"] == copied["distance_of_held_out"]


@pytest.mark.quick
def test_copies_are_found_among_images_that_are_there_twice() -> None:
    train = np.random.default_rng(0).integers(0, 256, (40, 3, 3, 1), np.uint8)
    # Half of the held-out images are training images too.
    held_out = np.concatenate([train[:10], 255 - train[10:20]])
    assert copies(train[20:30], held_out, train)["share_nearer"] == 1
    assert copies(255 - train[20:30], held_out, train)["share_nearer"] == 0
