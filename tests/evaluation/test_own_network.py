"""Networks of the user's own: how their inputs are scaled, and what is not loaded."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests.errors import refuses
from tfgen.data.pictures import resize
from tfgen.errors import WorkError
from tfgen.evaluation.own_network import choose_extractor, fit_images, open_extractor

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 1), np.uint8)


class Means(tf.Module):
    """Mean of each channel, and twice of it."""

    def __init__(self, dtype: tf.DType, channels: int = 3):
        super().__init__()
        self.weight = tf.Variable(2.0)
        spec = tf.TensorSpec((None, None, None, channels), dtype, name="pixels")
        self.call = tf.function(self._call, input_signature=[spec])

    def _call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        means = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])
        return {"features": tf.concat([means, self.weight * means], 1)}


def saved(path: Path, dtype: tf.DType, channels: int = 3) -> Path:
    module = Means(dtype, channels)
    tf.saved_model.save(module, str(path), signatures=module.call)
    return path


@pytest.mark.parametrize(
    ("value_range", "black", "white"), [("0,1", 0, 1), ("-1,1", -1, 1), ("0,255", 0, 255)]
)
def test_pixels_get_the_range_that_was_asked_for(
    tmp_path: Path, value_range: Any, black: float, white: float
) -> None:
    extractor = open_extractor(saved(tmp_path / "net", tf.float32), value_range)
    images = np.array([0, 255], np.uint8)[:, None, None, None] * np.ones((1, 6, 6, 1), np.uint8)
    features = extractor.extract(images).features
    np.testing.assert_allclose(features[:, 0], [black, white], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(features[:, 5], [2 * black, 2 * white], rtol=1e-6, atol=1e-6)
    assert extractor.dimensions((6, 6, 1)) == 6
    description = extractor.identity()
    assert (description["range"], description["input"]) == (value_range, [None, None, 3])


def test_a_network_of_bytes_needs_no_range(tmp_path: Path) -> None:
    path = saved(tmp_path / "net", tf.uint8, channels=1)
    features = open_extractor(path, None).extract(IMAGES).features
    np.testing.assert_allclose(features[:, 0], IMAGES.mean((1, 2, 3)), rtol=1e-5)
    refuses(lambda: open_extractor(path, "0,1"), "features_range = 0,1 does not suit", "use None")
    floats = saved(tmp_path / "floats", tf.float32)
    refuses(lambda: open_extractor(floats, None), "takes float32; use 0,1 or -1,1 or 0,255")


def test_images_get_the_size_and_the_channels_of_the_input() -> None:
    fitted = fit_images(IMAGES, (12, 8, 3))
    assert fitted.shape == (5, 12, 8, 3)
    np.testing.assert_array_equal(fitted[0], resize(IMAGES[0].repeat(3, 2), (12, 8)))
    np.testing.assert_array_equal(fit_images(IMAGES, (None, None, 3)), IMAGES.repeat(3, 3))
    np.testing.assert_array_equal(fit_images(IMAGES.repeat(3, 3), (6, None, 1)), IMAGES)


def test_a_keras_file(tmp_path: Path) -> None:
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    model.save(tmp_path / "net.keras")
    extractor = open_extractor(tmp_path / "net.keras", "0,1")
    images = fit_images(IMAGES, (8, 8, 3)) / np.float32(255)
    # Two graphs compute the same sums in float32.
    np.testing.assert_allclose(extractor.extract(IMAGES).features, model(images), atol=1e-5)
    # What `export` of Keras writes opens as well, though it holds variables' initializers.
    model.export(tmp_path / "exported", verbose=False)
    exported = open_extractor(tmp_path / "exported", "0,1").extract(IMAGES).features
    np.testing.assert_allclose(exported, model(images), atol=1e-5)


def test_a_classifier_of_tfgen_knows_its_classes(tmp_path: Path) -> None:
    model = tfgen.Classifier(image_shape=(6, 6, 1), num_classes=3, channels=2, units=4)
    model.save(tmp_path / "classifier.keras")
    extractor = open_extractor(tmp_path / "classifier.keras", None)
    assert extractor.num_modes((6, 6, 1)) == 3
    assert extractor.extract(IMAGES).classes is not None
    path, part = tmp_path / "classifier.keras", "is a model of tfgen; leave out features_range"
    refuses(lambda: choose_extractor("tiny", 10, tmp_path, path, value_range="0,1"), part)


def test_what_could_run_code_or_touch_files_is_not_loaded(tmp_path: Path) -> None:
    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 6, 6, 1), tf.float32)])
        def __call__(self, images: tf.Tensor) -> tf.Tensor:
            tf.io.write_file(str(tmp_path / "written"), "x")
            return tf.reduce_mean(images, [1, 2])

    module = Writer()
    tf.saved_model.save(module, str(tmp_path / "writer"), signatures=module.__call__)
    part = "is not loaded: its graph holds operations that are not allowed: WriteFile"
    refuses(lambda: open_extractor(tmp_path / "writer", "0,1"), part, error=WorkError)
    code = keras.layers.Lambda(lambda x: x)
    keras.Sequential([keras.Input((2,)), code]).save(tmp_path / "lambda.keras")
    refuses(lambda: open_extractor(tmp_path / "lambda.keras", "0,1"), "Lambda", error=WorkError)
    layer = keras.layers.TFSMLayer(str(tmp_path / "writer"), call_endpoint="serving_default")
    keras.Sequential([keras.Input((6, 6, 1)), layer]).save(tmp_path / "layer.keras")
    refuses(lambda: open_extractor(tmp_path / "layer.keras", "0,1"), "TFSMLayer", error=WorkError)
    assert not (tmp_path / "written").exists()


def test_other_networks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    maps, flat = keras.layers.Conv2D(2, 3), keras.layers.Flatten()
    keras.Sequential([keras.Input((6, 6, 3)), maps]).save(tmp_path / "maps.keras")
    keras.Sequential([keras.Input((3, 6, 6)), flat]).save(tmp_path / "first.keras")
    for name, message in (
        ("folder", "and no network of this name"),
        ("maps.keras", "computes (None, 4, 4, 2) from (None, 6, 6, 3); it must declare one input"),
        ("first.keras", "computes (None, 108) from (None, 3, 6, 6); it must declare"),
    ):
        chosen = "mnist", 10, tmp_path, tmp_path / name, "0,1"
        refuses(lambda chosen=chosen: choose_extractor(*chosen), message)
