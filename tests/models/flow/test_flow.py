"""The flow against closed forms, and as it is used."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import Dequantized, Flow, Identity, image_seeds
from tfgen.models.preprocessing import DEQUANTIZATION, DequantizedPixels
from tfgen.nn import cores
from tfgen.random import SeedNoise

tfd = tfp.distributions
SHAPE = (6, 6, 1)
DENSE = {"couplings": 4, "hidden": (8,)}
SCALES = {
    "architecture": "multiscale",
    "scale_steps": (2, 1),
    "scale_channels": (4, 6),
    "blocks": 1,
}


def trained(image_shape: tuple[int, ...] = SHAPE, **fields: Any) -> Flow:
    """A small flow whose weights are not at their start any more."""
    flow = Flow(image_shape=image_shape, **fields)
    rng = np.random.default_rng(0)
    for variable in flow.trainable_variables:
        variable.assign(variable + rng.normal(scale=0.2, size=variable.shape))
    return flow


def seeds(n: int) -> tf.Tensor:
    return tf.constant(image_seeds(0, n))


# --- the density ------------------------------------------------------------------------


def test_an_untrained_flow_is_a_normal_density_of_logits(images: np.ndarray) -> None:
    """f is the identity at first, so log p(x) is known."""
    flow = Flow(image_shape=SHAPE, hidden=(8,), alpha=0.01, dtype="float64")
    u = SeedNoise(seeds(64)).uniform(64, SHAPE, DEQUANTIZATION, "float64").numpy()
    p = 0.005 + 0.99 * (images + u) / 256
    logits = np.log(p) - np.log1p(-p)
    slopes = np.log(0.99 / 256) - np.log(p) - np.log1p(-p)
    wanted = (tfd.Normal(np.float64(0), np.float64(1)).log_prob(logits).numpy() + slopes).sum(
        (1, 2, 3)
    )
    np.testing.assert_allclose(flow.log_prob(images, seeds=seeds(64)), wanted, rtol=1e-6)
    logs_of = Flow(image_shape=SHAPE, hidden=(8,), alpha=0.01)
    logs_of.compile()
    logs = logs_of.evaluate(images, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["bits_per_dim"], logs["loss"] / (36 * np.log(2)), rtol=1e-5)
    # Another draw of u for 64 images of 36 pixels.
    np.testing.assert_allclose(-logs["loss"], wanted.mean(), rtol=0.05)


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ((2, 4, 1), DENSE),
        ((4, 4, 1), {**SCALES, "components": 2}),
        ((3,), {**DENSE, "preprocessing": Identity()}),
    ],
    ids=["dense", "multiscale", "vectors"],
)
def test_the_bijector_of_a_label_is_exact(shape: tuple[int, ...], fields: dict[str, Any]) -> None:
    flow = trained(shape, **fields, num_classes=3, dtype="float64")
    event = np.random.default_rng(1).normal(size=shape)
    x, labels = tf.constant(np.stack([event] * 3)), flow.one_hot([0, 1, 2])
    bijector = flow.bijector(labels=labels)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        latents, log_det = bijector.inverse_and_log_det(x, len(shape))
    jacobians = tape.batch_jacobian(latents, x, experimental_use_pfor=False)
    jacobians = np.reshape(jacobians, (3, latents.shape[1], -1))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobians)[1], rtol=1e-9)
    again, inverse_log_det = bijector.forward_and_log_det(latents, 1)
    np.testing.assert_allclose(again, x, atol=1e-8)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-6)
    # The same event has other latents and another density under each label.
    assert len(np.unique(np.round(latents[:, 0], 6))) == 3
    density = flow.event_log_prob(x, labels=labels)
    np.testing.assert_allclose(density, flow.distribution(labels).log_prob(x), rtol=1e-9)
    assert len(np.unique(np.round(density, 6))) == 3


# --- there and back ---------------------------------------------------------------------


class ConstantNoise(SeedNoise):
    """Uniform draws that are all the same number."""

    def __init__(self, n: int, value: float):
        super().__init__(seeds(n))
        self.value = value

    def uniform(
        self, batch: Any, event_shape: tuple, stream: int, dtype: str = "float32"
    ) -> tf.Tensor:
        return tf.fill([batch, *event_shape], tf.constant(self.value, dtype))


@pytest.mark.parametrize("fields", [DENSE, SCALES, {**SCALES, "components": 3}])
def test_the_middle_of_each_byte_comes_back_to_it(fields: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).permutation(np.resize(np.arange(256), 16 * 64))
    images = pixels.reshape(16, 8, 8, 1).astype(np.uint8)
    flow = trained((8, 8, 1), **fields)
    # Where no component of a mixture is near, float32 could not tell neighbours apart.
    flow.adapt(images)
    # Rounding moves a value by a hundredth of a byte, which matters only near the border of two.
    latents = flow.encode_images(tf.constant(images), ConstantNoise(16, 0.5))
    np.testing.assert_array_equal(np.round(flow.decode(latents) * 255), images)


# The largest number below 1 that TensorFlow draws in float32.
LARGEST_NOISE = ConstantNoise(1, 1 - 2.0**-23)
GREY = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def test_no_draw_leaves_its_byte() -> None:
    events, _ = DequantizedPixels().events_and_log_det(tf.constant(GREY), LARGEST_NOISE)
    # These events are exact: powers of two scale the bytes.
    np.testing.assert_array_equal(np.floor(128 * (np.float64(events) + 1)), GREY)


@pytest.mark.parametrize("alpha", [1e-7, 1e-5])
def test_no_draw_has_an_infinite_logit(alpha: float) -> None:
    preprocessing = Dequantized(alpha)
    events, log_det = preprocessing.events_and_log_det(tf.constant(GREY), LARGEST_NOISE)
    assert np.all(np.isfinite(events)) and np.all(np.isfinite(log_det))
    # The logit may round the largest draw into the next byte.
    returned = np.round(255 * preprocessing.images(events).numpy())
    assert np.abs(returned - GREY).max() <= 1


# --- one evaluation a step --------------------------------------------------------------


# Without XLA there are two halves of the batch.
@pytest.mark.slow
@pytest.mark.parametrize(("jit_compile", "parts"), [(True, 1), (False, 2)])
def test_a_step_multiplies_each_kernel_once_forward_and_twice_backward(
    jit_compile: bool, parts: int
) -> None:
    flow = Flow(image_shape=(6, 6, 1), couplings=2, hidden=(8, 8))
    flow.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    with cores.speedups(True):
        step = tf.function(flow.train_step).get_concrete_function(
            tf.TensorSpec([16, 6, 6, 1], tf.uint8)
        )
    products = [op for op in step.graph.get_operations() if op.type in ("MatMul", "BatchMatMulV2")]
    # Two conditioners of three kernels: forward, and the gradients by the inputs and by the kernel.
    # The first conditioner's inputs are data, without a gradient.
    assert len(products) == (2 * 3 * 3 - 1) * parts
    # It runs, too.
    assert np.all(np.isfinite(flow.train_on_batch(np.zeros((16, 6, 6, 1), np.uint8))))
