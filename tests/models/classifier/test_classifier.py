"""What the classifier alone promises; the contract is in tests/models/test_contracts.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgen
from tests.conftest import SIDE
from tests.errors import refuses
from tfgen import Classifier
from tfgen.publishing import export

LABELS = np.arange(64) % 3


def classifier(**fields: Any) -> Classifier:
    small = {"image_shape": (SIDE, SIDE, 1), "channels": 2, "units": 6, "dropout": 0.25}
    return Classifier(**{**small, "num_classes": 3, **fields})


def test_loss_and_accuracy_are_those_of_the_logits(images: np.ndarray) -> None:
    model = classifier()
    model.compile()
    logits = model(images)[1].numpy().astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    logs = model.evaluate(images, LABELS, batch_size=16, verbose=0, return_dict=True)
    loss = -log_probs[np.arange(len(images)), LABELS].mean()
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(logs["accuracy"], (logits.argmax(-1) == LABELS).mean(), rtol=1e-6)
    np.testing.assert_array_equal(model.classify(images), logits.argmax(-1))


def test_it_needs_labels_and_two_classes(images: np.ndarray) -> None:
    model = classifier()
    model.compile()
    with pytest.raises(ValueError, match=r"needs labels: pass \(images, labels\)"):
        model.fit(images, batch_size=16, verbose=0)
    refuses(lambda: classifier(num_classes=1), "num_classes = 1 is too small")


def test_its_export_gives_features_and_logits(images: np.ndarray, tmp_path: Path) -> None:
    model = classifier(dtype="mixed_bfloat16")
    opened = tfgen.load(export.publish(model, tmp_path, "judge"))
    outputs = opened.call("features", images=images)
    features, logits = export.in_float32(model)(images)
    np.testing.assert_allclose(outputs["features"], features, atol=1e-5)
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)
    assert opened.call("serving_default", images=images[:0])["logits"].shape == (0, 3)
