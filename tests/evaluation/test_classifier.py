"""The classifier that features come from: the shipped one, and how it is found."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import tfgen
from tests.errors import refuses
from tfgen.evaluation.classifier import FeatureClassifier, open_classifier
from tfgen.evaluation.own_network import choose_extractor
from tfgen.publishing import versions

NONE = Path("none")


def test_it_classifies_digits(classifier: FeatureClassifier, mnist: tfgen.data.Dataset) -> None:
    outputs = classifier.extract(mnist.test.images[:1000])
    assert outputs.features.shape == (1000, 128)
    # 99.48 % of all 10 000.
    assert (outputs.classes == mnist.test.labels[:1000]).mean() > 0.98


def test_stacked_digits_are_classified_channel_by_channel(
    classifier: FeatureClassifier, mnist: tfgen.data.Dataset
) -> None:
    digits = mnist.test.images[:300].reshape(100, 3, 28, 28).transpose(0, 2, 3, 1)
    labels = mnist.test.labels[:300].reshape(100, 3) @ [100, 10, 1]
    classifier.check_images(digits.shape[1:])
    outputs = classifier.extract(digits)
    assert outputs.features.shape == (100, classifier.dimensions(digits.shape[1:])) == (100, 384)
    assert classifier.num_modes(digits.shape[1:]) == 1000
    assert (outputs.classes == labels).mean() > 0.95
    alone = classifier.extract(digits[..., 1:2]).features
    np.testing.assert_array_equal(outputs.features[:, 128:256], alone)


def test_the_shipped_version_is_preferred_to_versions_trained_here(
    classifier: FeatureClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = versions.shipped_folder() / "classifier" / "1"
    assert classifier.identity()["version"] == 1
    # In a checkout, trained versions are in the folder of the shipped one.
    for number in ("1", "2"):
        shutil.copytree(shipped, tmp_path / "models" / "classifier" / number)
    with monkeypatch.context() as patch:
        patch.setattr(versions, "shipped_folder", lambda: tmp_path / "models")
        assert open_classifier("mnist", None, tmp_path / "models").identity()["version"] == 1
    assert open_classifier("mnist", None, tmp_path / "models").identity()["version"] == 1
    assert open_classifier("stacked_mnist", None, NONE).identity() == classifier.identity()
    # A path chooses any version.
    for source in (str(shipped), tfgen.load(shipped), "classifier"):
        assert choose_extractor("mnist", 9, NONE, source).identity() == classifier.identity()
    command = "train it with: tfgen-train classifier --dataset emnist"
    refuses(lambda: open_classifier("emnist", None, tmp_path), command)


def test_images_that_do_not_suit_are_refused(classifier: FeatureClassifier) -> None:
    sizes = "takes images of 28 × 28 × 1, not of 32 × 32 × 1"
    refuses(lambda: classifier.check_images((32, 32, 1)), sizes)
    refuses(lambda: classifier.check_count(128, (28, 28, 1)), "at least 129")
    classifier.check_count(129, (28, 28, 1))
