"""Verbs that take data: `fit`, `evaluate`, `predict`, and batches of them."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.models.verbs.case import BATCH, Case, differ, weights
from tfgen import GAN


def fit_arrays(case: Case) -> None:
    case.trains(case.model())


def fit_tensors(case: Case) -> None:
    labels = None if case.labels is None else tf.constant(case.labels)
    case.trains(case.model(), x=tf.constant(case.images), y=labels, batch_size=BATCH)


def fit_dataset(case: Case) -> None:
    data = case.images if case.labels is None else (case.images, case.labels)
    case.trains(case.model(), x=tf.data.Dataset.from_tensor_slices(data).batch(BATCH))


def fit_dataset_without_shapes(case: Case) -> None:
    specs: Any = tf.TensorSpec(None, tf.uint8)
    if case.labels is not None:
        specs = (specs, tf.TensorSpec([None], tf.int64))

    def batches() -> Iterator[Any]:
        yield from (batch if case.labels is not None else batch[0] for batch in case.batches)

    data = tf.data.Dataset.from_generator(batches, output_signature=specs)
    # Traced in test_data.py.
    case.trains(case.model(), x=data)


class Sequence(keras.utils.PyDataset):
    """Batches by index."""

    def __init__(self, batches: list[Any]):
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


def fit_pydataset(case: Case) -> None:
    case.trains(case.model(), x=Sequence(case.batches))


def fit_generator(case: Case) -> None:
    case.trains(case.model(), x=(batch for batch in case.batches))


def fit_validation_split(case: Case) -> None:
    history = case.fit(case.model(), validation_split=0.5).history
    assert any(name.startswith("val_") for name in history)


def fit_validation_data(case: Case) -> None:
    history = case.fit(case.model(), validation_data=(case.images, case.labels)).history
    assert any(name.startswith("val_") for name in history)


def fit_steps_per_epoch(case: Case) -> None:
    model = case.model()
    case.fit(model, steps_per_epoch=1)
    assert int(model.step) == 1


def fit_sample_weight(case: Case) -> None:
    # What weights do is in test_weights.py.
    half, zero = case.model(), case.model()
    before = weights(zero)
    case.fit(half, sample_weight=np.r_[np.ones(BATCH), np.zeros(BATCH)])
    case.fit(zero, sample_weight=np.zeros(len(case.images)))
    assert differ(weights(half), weights(zero))
    # A GAN's weights are those of its real images: generated images still train both networks.
    assert differ(weights(zero), before) == (case.family is GAN)


def fit_class_weight(case: Case) -> None:
    labels = np.arange(len(case.images)) % 3
    even, uneven = case.model(), case.model()
    case.fit(even, x=case.images, y=labels, batch_size=BATCH)
    class_weight = {0: 5.0, 1: 0.5, 2: 1.0}
    case.fit(uneven, x=case.images, y=labels, batch_size=BATCH, class_weight=class_weight)
    assert differ(weights(even), weights(uneven))


def evaluate(case: Case) -> None:
    model = case.model()
    logs = model.evaluate(case.images, case.labels, batch_size=3, verbose=0, return_dict=True)
    assert set(model.logged) <= set(logs)
    again = model.evaluate(case.images, case.labels, batch_size=3, verbose=0, return_dict=True)
    assert logs == again


def predict(case: Case) -> None:
    model = case.model()
    outputs = tf.nest.flatten(model.predict(case.images, batch_size=3, verbose=0))
    expected = tf.nest.flatten(model(case.images))
    for output, reference in zip(outputs, expected, strict=True):
        assert len(output) == len(case.images)
        # The flow draws its dequantization noise by an image's position in the batch.
        np.testing.assert_allclose(output[:3], reference[:3], rtol=1e-4, atol=1e-5)


def on_batch(case: Case) -> None:
    model = case.model()
    batch = case.batches[0]
    logs = model.train_on_batch(*batch, return_dict=True)
    assert set(model.logged) <= set(logs)
    assert int(model.step) == 1
    assert set(model.logged) <= set(model.test_on_batch(*batch, return_dict=True))
    assert len(tf.nest.flatten(model.predict_on_batch(batch[0]))[0]) == BATCH
