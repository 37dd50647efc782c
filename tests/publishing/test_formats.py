"""LiteRT and ONNX: the images of a converted decoder are those of the SavedModel."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from PIL import Image

from tests import commands
from tests.errors import refuses
from tfgen import GAN, VAE, Flow, FlowMatching
from tfgen.errors import WorkError
from tfgen.models.export import trace, write_saved_model
from tfgen.publishing import export, formats
from tfgen.publishing.sampler import Sampler

pytestmark = pytest.mark.slow

# Runtimes sum float32 in another order. This is what the documents promise for images of a seed.
ROUNDING = 1e-5
CONVOLUTIONAL = {"image_shape": (8, 8, 1), "architecture": "convolutional", "channels": 2}
# A conditional model, averaged weights, the flow that is shipped with a function that is called
# twice, and a loop.
MODELS: dict[str, Callable[[], GAN | Flow | FlowMatching]] = {
    "gan": lambda: GAN(**CONVOLUTIONAL, latent_dim=3, units=4, num_classes=3, ema_decay=0.9),
    "flow-multiscale": lambda: Flow(
        **{"image_shape": (8, 8, 1), "architecture": "multiscale", "scale_steps": (2,)},
        **{"scale_channels": (2,), "blocks": 1, "components": 2},
    ),
    "matching-conditional": lambda: FlowMatching(
        **{"image_shape": (7, 5, 3), "channels": (2,), "blocks": (1,), "halvings": 1},
        **{"steps": 3, "guidance": 2.0, "num_classes": 3},
    ),
}


def run(content: bytes, file_format: str, **inputs: np.ndarray) -> np.ndarray:
    """The images that the format's own runtime computes."""
    if file_format == "onnx":
        session = onnxruntime.InferenceSession(content)
        assert {t.shape[0] for t in (*session.get_inputs(), *session.get_outputs())} == {"batch"}
        (images,) = session.run(None, inputs)
    else:
        runner = tf.lite.Interpreter(model_content=content).get_signature_runner("decode")
        (images,) = runner(**inputs).values()
    return images


def scatter(model: keras.Model) -> None:
    """Gives weights values that differ from the initial ones, which in a flow are zeros."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(weight + 0.1 * rng.normal(size=weight.shape))


@pytest.mark.parametrize("name", MODELS)
def test_the_images_are_those_of_the_saved_model(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    scatter(model)
    write_saved_model(model, trace(model, ["decode"]), tmp_path)
    saved = tf.saved_model.load(str(tmp_path))
    rng = np.random.default_rng(0)
    for file_format in ("litert", "onnx"):
        content, signature = formats.convert(model, file_format)
        for size in (3, 1):
            inputs = {"latents": rng.normal(size=(size, model.latent_dim)).astype(np.float32)}
            if model.num_classes:
                inputs["label"] = np.array([2, 0, 1], np.int32)[:size]
            assert signature["inputs"].keys() == inputs.keys()
            images = run(content, file_format, **inputs)
            tensors = {key: tf.constant(value) for key, value in inputs.items()}
            expected = saved.signatures["decode"](**tensors)["images"].numpy()
            assert images.dtype == np.float32 and images.shape == expected.shape
            assert len(np.unique(expected)) > 20  # blank images would always agree
            if name.startswith("flow"):
                # Its pixels are whole bytes; rounding may go to the next one.
                differences = np.rint(255 * images) - np.rint(255 * expected)
                assert abs(differences).max() <= 1 and np.mean(differences != 0) < 0.02
            else:
                np.testing.assert_allclose(images, expected, rtol=0, atol=ROUNDING)


def test_a_version_converts_as_its_model_does_whatever_the_precision(tmp_path: Path) -> None:
    fields = {"image_shape": (6, 6, 1), "latent_dim": 3, "hidden": (4,)}
    model = VAE(**fields, dtype="mixed_bfloat16")
    version = Sampler(export.publish(model, tmp_path, "mine"))
    latents = np.eye(3, dtype=np.float32)
    expected = version.call("decode", latents=latents)["images"]
    for sampler, file_format in ((model, "litert"), (version, "onnx")):
        content, signature = formats.convert(sampler, file_format)
        assert signature == version.manifest["signatures"]["decode"]
        images = run(content, file_format, latents=latents)
        np.testing.assert_allclose(images, expected, rtol=0, atol=ROUNDING)


class IncompleteGamma(keras.layers.Layer):
    """A layer whose operation neither format has."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + tf.math.igamma(tf.square(inputs), tf.square(inputs))


class Rows(keras.layers.Layer):
    """Sums rows by a loop, whose slices of a transpose one of tf2onnx's optimizations fails at."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        def body(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return index + 1, total + tf.transpose(inputs)[index][:, None]

        start = (tf.constant(0), tf.zeros_like(inputs))
        return tf.while_loop(lambda index, _: index < inputs.shape[1], body, start)[1]


def test_an_optimization_that_fails_is_left_out() -> None:
    layers = [keras.layers.Dense(36), Rows(), keras.layers.Reshape((6, 6, 1))]
    model = VAE(image_shape=(6, 6, 1), latent_dim=2, decoder=keras.Sequential(layers))
    latents = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    images = run(formats.convert(model, "onnx")[0], "onnx", latents=latents)
    np.testing.assert_allclose(images, model.decode(latents), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("file_format", ["litert", "onnx"])
def test_a_failure_is_one_line_and_leaves_no_files(
    file_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    layers = [IncompleteGamma(), keras.layers.Dense(36), keras.layers.Reshape((6, 6, 1))]
    model = VAE(image_shape=(6, 6, 1), latent_dim=2, decoder=keras.Sequential(layers))
    parts = [f"decode cannot be converted to {file_format}: "]
    if file_format == "onnx":
        parts += ["Igamma (", "/Igamma): not in ONNX; compute it from other operations"]
    refuses(lambda: formats.convert(model, file_format), *parts, error=WorkError)
    assert not list(tmp_path.glob("tfgen-*"))


def test_the_script_in_the_documents_draws_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert commands.main("export", ["gan", "--format", "onnx"]) == 0
    document = (commands.ROOT / "docs" / "serve.md").read_text()
    marker = "<!-- run as a test: tests/publishing/test_formats.py -->\n```python\n"
    exec(document.partition(marker)[2].partition("```")[0], {})
    with Image.open("gan.png") as picture:
        assert picture.size == (140, 140)
        dark, bright = np.mean(np.asarray(picture) < 64), np.mean(np.asarray(picture) > 192)
    assert dark > 0.6 and 0.05 < bright < 0.3  # digits, as in MNIST
