"""Metrics that the caller passes to `compile`, and what `compile` refuses."""

from typing import Any

import keras
import numpy as np
import pytest

from tests.models.families import IMAGES, LABELS, classifier, compiled, vae

WEIGHTS = np.linspace(0, 2, len(IMAGES)).astype(np.float32)


def metrics() -> dict[str, Any]:
    """The mean squared error twice, without and with sample weights."""
    plain = keras.metrics.MeanSquaredError("plain")
    return {"metrics": [plain], "weighted_metrics": [keras.metrics.MeanSquaredError("weighted")]}


@pytest.mark.slow
def test_metrics_of_a_vae_compare_images_with_predictions() -> None:
    model = compiled(vae(num_classes=3, ema_decay=0.9), **metrics())
    history = model.fit(
        IMAGES, LABELS, validation_data=(IMAGES, LABELS, WEIGHTS), batch_size=16, verbose=0
    ).history
    predicted = model.predict((IMAGES, LABELS), verbose=0)
    errors = np.mean((predicted - IMAGES / 255) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(history["val_plain"][-1], errors.mean(), rtol=1e-5)
    weighted = np.average(errors, weights=WEIGHTS)
    np.testing.assert_allclose(history["val_weighted"][-1], weighted, rtol=1e-5)
    assert set(model.logged) | {"plain", "weighted"} == {
        name for name in history if not name.startswith("val_")
    }
    logs = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["plain"], errors.mean(), rtol=1e-5)


def test_metrics_of_a_classifier_compare_labels_with_logits() -> None:
    cross_entropy = keras.metrics.SparseCategoricalCrossentropy("nats", from_logits=True)
    model = compiled(
        classifier(),
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, "top_2")],
        weighted_metrics=[cross_entropy],
        jit_compile=True,
    )
    # XLA takes long for the gradients of convolutions, which do not concern the metrics.
    logs = model.test_on_batch(IMAGES, LABELS, sample_weight=WEIGHTS, return_dict=True)
    assert set(logs) == {"loss", "accuracy", "top_2", "nats"}
    np.testing.assert_allclose(logs["nats"], logs["loss"], rtol=1e-4)
    logits = model.predict(IMAGES, verbose=0)[1]
    top = np.argsort(logits, axis=1)[:, -2:]
    np.testing.assert_allclose(logs["top_2"], np.mean(np.any(top == LABELS[:, None], axis=1)))
