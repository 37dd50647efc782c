"""Images of any size: how often they are halved, and models of sizes that fit no multiple of 4."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tfgen import VAE, Classifier, Flow
from tfgen.models.generative import GenerativeModel
from tfgen.publishing import export
from tfgen.settings.model import halved, halvings
from tfgen.testing.contract import compiled, images_of, labels_of, outputs_of

# Halved until they are small, its sides are even and odd.
SHAPE = (100, 60, 3)
# Architectures that test_contracts.py trains on images of even sides; for those of a GAN see
# test_residual.py. A flow takes no odd sides, and halves them as often as it can.
MODELS: dict[str, Callable[..., Any]] = {
    "vae-hierarchical": functools.partial(
        VAE,
        architecture="hierarchical",
        **{"channels": 2, "blocks": 0, "levels": 3, "level_channels": 1, "latent_dim": 2},
    ),
    "flow-multiscale": functools.partial(
        Flow, architecture="multiscale", scale_steps=(1, 1), scale_channels=(1, 1), blocks=1
    ),
    "classifier": functools.partial(Classifier, num_classes=3, channels=2, units=4, dropout=0.0),
}


# --- how often ----------------------------------------------------------------------------


def test_sides_are_halved_until_the_longer_one_has_at_most_7_pixels() -> None:
    times = {(28, 28): 2, (32, 32): 3, (37, 37): 3, (64, 64): 4, (100, 60): 4, (4, 7): 1, (1, 1): 1}
    assert {shape: halvings(shape) for shape in times} == times
    for height in range(1, 130):
        shape = (height, 2 * height // 3 + 1, 3)
        sides, number = list(shape[:2]), 0
        while number == 0 or max(sides) > 7:
            sides, number = [(side + 1) // 2 for side in sides], number + 1
        assert (halvings(shape), halved(shape, number)) == (number, tuple(sides))
    assert halved((5, 9), 0) == (5, 9)


# --- the models ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_that_size_keeps_the_contract(name: str, tmp_path: Path) -> None:
    """One model goes through it all: to build one for each check would take far longer."""
    model = compiled(MODELS[name], eagerly=True, image_shape=SHAPE)
    images = tf.constant(images_of(SHAPE, 2))
    assert_every_weight_trains(model, images)
    assert_outputs_have_their_shape(model, images)
    assert_a_version_equals_the_model(model, images, tmp_path)


def assert_every_weight_trains(model: Any, images: tf.Tensor) -> None:
    before = [variable.numpy() for variable in model.trainable_variables]
    labels = labels_of(model, len(images))
    # Layers that are zeros at first, the last ones of a flow's conditioners and those of a
    # hierarchical posterior, give those before them a gradient from the second step on.
    for _ in range(2):
        logs = model.train_step(images if labels is None else (images, tf.constant(labels)))
    assert all(np.isfinite(value) for value in logs.values())
    # Adam moves a variable only if its gradient is not zero.
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != value), f"{variable.path} has no gradient"


def assert_outputs_have_their_shape(model: Any, images: tf.Tensor) -> None:
    outputs = outputs_of(model, images)
    if not isinstance(model, GenerativeModel):
        assert outputs.shape == (len(images), model.num_classes)
        return
    assert (outputs.shape, outputs.dtype) == ((3, *images.shape[1:]), np.float32)
    assert 0 <= outputs.min() <= outputs.max() <= 1
    scores = model.log_prob(images)
    assert (scores.shape, scores.dtype) == ((len(images),), tf.float32)
    assert np.isfinite(scores).all()


def assert_a_version_equals_the_model(model: Any, images: tf.Tensor, folder: Path) -> None:
    path = export.publish(model, folder, "small", run={"family": "small"}, weights="last")
    version = tfgen.load(path)
    if isinstance(model, GenerativeModel):
        outputs = version.sample(n=3)
    else:
        outputs = version.call("features", images=images.numpy())["logits"]
    # Up to the order of float32's sums, after which a flow rounds to whole bytes.
    tolerance = 1.001 / 255 if isinstance(model, Flow) else 1e-5
    np.testing.assert_allclose(outputs, outputs_of(model, images), atol=tolerance)
