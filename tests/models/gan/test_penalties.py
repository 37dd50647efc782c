"""The penalties R1 and R2, the relativistic loss and the projection, against closed forms."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import make_images
from tests.models.families import SHAPE, gan, noise
from tfgen import GAN
from tfgen.models.gan.losses import squared_slope
from tfgen.models.gan.model import Round

RNG = np.random.default_rng(0)
REAL, FAKE = (RNG.normal(size=(8, *SHAPE)) for _ in range(2))
IMAGES = make_images(8)


def test_the_slope_of_linear_and_quadratic_critics_is_their_closed_form() -> None:
    axes, events = [1, 2, 3], tf.constant(REAL)
    weights = tf.Variable(FAKE[0])
    linear = squared_slope(lambda x: tf.reduce_sum(x * weights, axes), events)
    np.testing.assert_allclose(linear, np.full(8, (FAKE[0] ** 2).sum()))
    with tf.GradientTape() as tape:
        quadratic = squared_slope(lambda x: tf.reduce_sum(weights * x**2, axes) / 2, events)
        total = tf.reduce_sum(quadratic)
    np.testing.assert_allclose(quadratic, ((FAKE[0] * REAL) ** 2).sum((1, 2, 3)))
    # d Σ (w x)² / dw
    np.testing.assert_allclose(tape.gradient(total, weights), 2 * (FAKE[0] * REAL**2).sum(0))


def linear_gan(**fields: Any) -> tuple[GAN, np.ndarray]:
    """A GAN whose discriminator is ⟨w, x⟩, and ‖w‖²."""
    start = keras.initializers.GlorotUniform(seed=0)
    dense = keras.layers.Dense(1, kernel_initializer=start, dtype="float32")
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), dense]
    model = gan(discriminator=keras.Sequential(layers), **fields)
    return model, (model.discriminator.get_weights()[0] ** 2).sum()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_weights_and_intervals_multiply_the_penalty(policy: str) -> None:
    real, fake = tf.constant(REAL, tf.float32), tf.constant(FAKE, tf.float32)

    def loss(step: int, training: bool = True, **fields: Any) -> np.ndarray:
        model, _ = linear_gan(dtype=policy, **fields)
        model.step.assign(step)
        game = Round(real, noise(), training=training)
        if training:
            # The discriminator's turn of a step, which moves nothing at this rate.
            model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
            values, _ = model._discriminator_turn(game, fake)
        else:
            values = model.game_values(game, fake)
        return values["discriminator_loss"].numpy()

    slope = linear_gan(dtype=policy)[1]
    plain = loss(0)
    assert loss(0, r1=0.0, r2=0.0).tolist() == plain.tolist()
    for fields, steps, weight in (
        ({"r1": 3.0}, 1, 3.0),
        ({"r2": 0.5}, 1, 0.5),
        ({"r1": 3.0, "r2": 0.5}, 4, 3.5),
    ):
        lazy = {**fields, "penalty_every": steps}
        np.testing.assert_allclose(loss(4, **lazy), plain + steps * weight * slope / 2, rtol=2e-5)
        due = loss(0, training=False, **lazy)
        np.testing.assert_allclose(due, plain + weight * slope / 2, rtol=2e-5)
        if steps > 1:
            np.testing.assert_array_equal(loss(3, **lazy), plain)


def test_a_lazy_penalty_is_part_of_the_gradient_of_a_compiled_step() -> None:
    """A step of gradient descent on the discriminator, beside one without the penalty."""
    weights = {}
    for every, r1 in ((1, 0.0), (2, 0.3)):
        model, _ = linear_gan(dropout=0.0, r1=r1, penalty_every=every)
        model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0), jit_compile=False)
        start = model.discriminator.get_weights()[0]
        model.train_on_batch(IMAGES)
        weights[r1] = model.discriminator.get_weights()[0]
    # The gradient of 2 · ½ r₁ ‖w‖² is 2 r₁ w.
    np.testing.assert_allclose(weights[0.3], weights[0.0] - 2 * 0.3 * start, atol=1e-5)


@pytest.mark.parametrize("architecture", ["dense", "convolutional", "residual"])
def test_a_projection_adds_the_output_of_the_class(architecture: str) -> None:
    model = gan(
        architecture=architecture, channels=2, num_classes=3, conditioning="projection", dropout=0.0
    )
    events, labels = tf.constant(REAL, tf.float32), np.arange(8) % 3
    outputs = model.discriminator(events).numpy()
    assert outputs.shape == (8, 4)
    logits = model.discriminate(events, tf.one_hot(labels, 3))
    expected = outputs[:, 0] + outputs[np.arange(8), 1 + labels]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
