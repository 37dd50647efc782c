"""The metrics of samples on real images, noise and copies."""

from pathlib import Path

import numpy as np
import pytest

import tfgen
from tfgen.evaluation.classifier import FeatureClassifier, open_classifier
from tfgen.evaluation.evaluate import copies, noise
from tfgen.evaluation.metrics import sample_metrics


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
    assert fresh["share"] == fresh["share_of_held_out"] == 0
    samples[:50] = train[100:150] // 16 * 16  # not even exact copies
    samples[50:100] = 0
    copied = copies(samples, held_out, train)
    assert copied["share"] == 0.25
    assert {(sample, index - sample) for sample, index in copied["nearest"]} <= {
        (i, 100) for i in range(50)
    }
    assert fresh["distance_of_held_out"] == copied["distance_of_held_out"]
