"""Layers against Keras, numpy and what defines them."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.arrays import normal
from tfgen.nn.layers import Dropout, GatedResidual, SpectralNormalization

# --- dropout ----------------------------------------------------------------------------


def test_dropout_does_nothing_outside_training() -> None:
    layer, inputs = Dropout(0.5), normal(4, 3)
    np.testing.assert_array_equal(layer(inputs), inputs)
    np.testing.assert_array_equal(layer(inputs, training=False), inputs)
    assert int(layer.calls) == 0
    np.testing.assert_array_equal(Dropout(0.0)(inputs, training=True), inputs)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_keeps_the_expectation(rate: float) -> None:
    n = 100_000
    outputs = Dropout(rate)(tf.ones([n]), training=True).numpy()
    np.testing.assert_allclose(np.unique(outputs), [0, 1 / (1 - rate)], rtol=1e-6)
    # Five standard errors of a share, and of that share over 1 − rate.
    error = 5 * np.sqrt(rate * (1 - rate) / n)
    np.testing.assert_allclose(np.mean(outputs == 0), rate, atol=error)
    np.testing.assert_allclose(outputs.mean(dtype=np.float64), 1, atol=error / (1 - rate))


def test_dropout_is_a_function_of_seed_and_count() -> None:
    layer, inputs = Dropout(0.5, seed=3), tf.ones([200])
    first, second = (layer(inputs, training=True).numpy() for _ in range(2))
    assert int(layer.calls) == 2
    layer.calls.assign(0)
    np.testing.assert_array_equal(layer(inputs, training=True), first)
    np.testing.assert_array_equal(layer(inputs, training=True), second)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, Dropout(0.5, seed=4)(inputs, training=True))


# --- spectral normalization -------------------------------------------------------------


# A seed, since how fast the iteration converges is up to the kernel.
START = keras.initializers.GlorotUniform(seed=0)


def normalized_dense() -> tuple[SpectralNormalization, tf.Tensor]:
    """The layer, and inputs whose outputs are the kernel's rows."""
    return SpectralNormalization(
        keras.layers.Dense(5, use_bias=False, kernel_initializer=START)
    ), tf.eye(7)


def normalized_convolution() -> tuple[SpectralNormalization, tf.Tensor]:
    """The layer, and images of the kernel's size, whose outputs of a pixel are its rows."""
    layer = keras.layers.Conv2D(6, (3, 2), use_bias=False, kernel_initializer=START)
    return SpectralNormalization(layer), tf.reshape(tf.eye(3 * 2 * 4), [24, 3, 2, 4])


MAKERS = pytest.mark.parametrize("make", [normalized_dense, normalized_convolution])
Maker = Callable[[], tuple[SpectralNormalization, tf.Tensor]]


def matrix(layer: SpectralNormalization) -> np.ndarray:
    kernel = layer.layer.kernel.numpy()
    return kernel.reshape(-1, kernel.shape[-1])


@MAKERS
def test_the_normalized_kernel_has_largest_singular_value_one(make: Maker) -> None:
    layer, basis = make()
    layer(basis)
    layer.bias.assign(normal(layer.bias.shape[0]))
    # An iteration shrinks what is left by the squared ratio of the two largest singular values.
    for _ in range(150):
        outputs = layer(basis, training=True)
    effective = np.reshape(outputs, matrix(layer).shape) - layer.bias.numpy()
    np.testing.assert_allclose(np.linalg.svd(effective, compute_uv=False)[0], 1, atol=1e-3)
    wanted = matrix(layer) / np.linalg.svd(matrix(layer), compute_uv=False)[0]
    np.testing.assert_allclose(effective, wanted, atol=1e-3)


@MAKERS
def test_only_training_moves_the_vector(make: Maker) -> None:
    layer, basis = make()
    layer(basis)
    before = layer.vector.numpy()
    np.testing.assert_array_equal(layer(basis), layer(basis))
    np.testing.assert_array_equal(layer.vector, before)
    kernel = matrix(layer)
    layer(basis, training=True)
    left = kernel @ before
    right = kernel.T @ left
    np.testing.assert_allclose(layer.vector, right / np.linalg.norm(right), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(matrix(layer), kernel)


# --- gated residual blocks -----------------------------------------------------------------------


def test_a_gated_residual_adds_the_gated_value() -> None:
    layer, images = GatedResidual(seed=1), normal(2, 4, 4, 3)
    layer(images)
    layer.set_weights([weight + 0.1 * normal(*weight.shape) for weight in layer.weights])
    inner, outer = (
        lambda x, part=part: tf.nn.conv2d(x, part.kernel, 1, "SAME") + part.bias
        for part in (layer.inner, layer.outer)
    )
    value, gate = np.split(outer(tf.nn.relu(inner(tf.nn.relu(images)))).numpy(), 2, axis=-1)
    expected = images + value / (1 + np.exp(-gate))
    np.testing.assert_allclose(layer(images), expected, rtol=1e-5, atol=1e-6)
