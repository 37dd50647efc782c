"""The classifier: the contract as far as it makes no images, and what it alone promises."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests import commands, contracts
from tests.conftest import SIDE
from tfgen import Classifier
from tfgen.errors import UsageError
from tfgen.publishing import export

pytestmark = pytest.mark.newest


def classifier(image_shape: tuple[int, ...] = (SIDE, SIDE, 1), **kwargs: Any) -> Classifier:
    return Classifier(
        image_shape, channels=2, units=6, dropout=0.25, **{"num_classes": 3, **kwargs}
    )


@pytest.mark.parametrize("check", contracts.NOT_GENERATIVE, ids=lambda f: f.__name__)
def test_contract(check: Any, images: np.ndarray) -> None:
    check(classifier, images)


@pytest.mark.parametrize("check", contracts.NOT_GENERATIVE_WITH_FOLDER, ids=lambda f: f.__name__)
def test_contract_with_files(check: Any, images: np.ndarray, tmp_path: Path) -> None:
    check(classifier, images, tmp_path)


@pytest.mark.parametrize("policy", ["float64", "mixed_float16"])
def test_precision(images: np.ndarray, policy: str) -> None:
    contracts.check_precision(classifier, images, policy)


def test_loss_and_accuracy_are_those_of_the_logits(images: np.ndarray) -> None:
    model = contracts.compiled(classifier)
    labels = contracts.labels_for(model, len(images))
    logits = model(images)[1].numpy().astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = contracts.evaluate(model, images)
    np.testing.assert_allclose(
        found["loss"], -log_probs[np.arange(len(images)), labels].mean(), rtol=1e-5
    )
    np.testing.assert_allclose(found["accuracy"], (logits.argmax(-1) == labels).mean(), rtol=1e-6)
    np.testing.assert_array_equal(model.classify(images), logits.argmax(-1))


def test_logits_are_a_linear_function_of_the_features(images: np.ndarray) -> None:
    model = classifier()
    features, logits = model(images)
    assert features.shape == (len(images), 6)
    assert np.all(features >= 0)
    kernel, bias = model.head.get_weights()
    np.testing.assert_allclose(logits, features @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_it_learns_what_is_easily_told() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 512)
    grey = 40 + 80 * labels[:, None, None, None] + rng.integers(-30, 30, (512, SIDE, SIDE, 1))
    images = grey.astype(np.uint8)
    model = classifier()
    model.compile(optimizer=keras.optimizers.Adam(5e-3))
    model.fit(images, labels, batch_size=32, epochs=8, verbose=0)
    assert model.evaluate(images, labels, verbose=0, return_dict=True)["accuracy"] > 0.95


def test_it_needs_labels_and_large_enough_images(images: np.ndarray) -> None:
    model = contracts.compiled(classifier)
    with pytest.raises(ValueError, match=r"needs labels: pass \(images, labels\)"):
        model.fit(images, batch_size=16, verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be 0…2"):
        model.fit(images[:16], np.full(16, 3), batch_size=16, verbose=0)
    with pytest.raises(UsageError, match="the least is 4 × 4"):
        classifier((3, 28, 1))
    with pytest.raises(UsageError, match="num_classes = 1 is too small"):
        classifier(num_classes=1)


def test_its_export_gives_features_and_logits(
    images: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = classifier(dtype="mixed_bfloat16")
    path = export.publish(model, tmp_path, "judge", run={"family": "classifier"}, weights="last")
    opened = tfgen.load(path)
    found = opened.call("features", images=images)
    features, logits = export.in_float32(model)(images)
    np.testing.assert_allclose(found["features"], features, atol=1e-5)
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
    assert opened.call("serving_default", images=images[:0])["logits"].shape == (0, 3)
    assert commands.main("sample", ["judge", "--saved-models", str(tmp_path)]) == 2
    assert "judge version 2 makes no images; it offers features" in capsys.readouterr().err
