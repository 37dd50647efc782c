"""Batches of `fit` and `predict`: shapes of images, and labels of a prediction."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.errors import refuses
from tests.models.families import FAMILIES, IMAGES, LABELS, compiled, gan, vae


def without_shape() -> tf.data.Dataset:
    """A data set whose images have no static shape."""
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(16)

    def forget(images: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda x: x, [images], tf.uint8)

    return data.map(lambda images, labels: (forget(images), labels))


@pytest.mark.parametrize("name", FAMILIES)
def test_images_of_another_size_are_refused(name: str) -> None:
    model = compiled(FAMILIES[name]())
    for shape in ((32, 7, 7, 1), (32, 6, 6, 3)):
        wrong = np.zeros(shape, np.uint8)
        message = f"images have shape [32, {', '.join(map(str, shape[1:]))}]"
        for verb in (model.train_on_batch, model.test_on_batch):
            refuses(lambda v=verb, x=wrong: v(x, LABELS), message, "[B, 6, 6, 1]")
        refuses(lambda x=wrong: model.predict_on_batch(x), message, "[B, 6, 6, 1]")
    refuses(lambda: model.train_on_batch(IMAGES[..., 0], LABELS), "[B, H, W, C]", "[..., None]")
    refuses(lambda: model.fit((IMAGES, LABELS), verbose=0), "x is a tuple; pass an array")


@pytest.mark.slow
def test_the_end_of_a_data_set_of_unknown_length_is_no_step() -> None:
    model = compiled(gan(spectral_norm=True, dropout=0.5))
    known, unknown = (tf.data.Dataset.from_tensor_slices(IMAGES).batch(16) for _ in range(2))
    model.fit(known, verbose=0)
    expected = [variable.numpy() for variable in model.saved_weights()]
    model = compiled(gan(spectral_norm=True, dropout=0.5))
    model.fit(unknown.filter(lambda images: True), verbose=0)
    for variable, value in zip(model.saved_weights(), expected, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("name", ["gan", "flow"])
def test_a_data_set_without_static_shapes_trains(name: str) -> None:
    data, model = without_shape(), FAMILIES[name]()
    history = compiled(model).fit(data, validation_data=data, verbose=0).history
    assert all(np.all(np.isfinite(values)) for values in history.values())
    assert int(model.step) == 2


@pytest.mark.slow
@pytest.mark.parametrize("family", [vae, gan])
def test_a_conditional_model_predicts_with_labels(family: Any) -> None:
    model = compiled(family(num_classes=3))
    expected = model(IMAGES, LABELS).numpy()
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(16)
    for data in ((IMAGES, LABELS), batches, without_shape()):
        np.testing.assert_allclose(model.predict(data, verbose=0), expected, atol=1e-5)
    with pytest.raises(ValueError, match="pass labels 0…2"):
        model.predict(IMAGES, verbose=0)
