"""Layers, networks and the optimizer against Keras, numpy and what defines them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.layers import (
    Dense,
    Dropout,
    SpectralNormalization,
    append_labels,
    convolutional_discriminator,
    convolutional_generator,
    dense_network,
)

COMMON = {"seed": 0, "dtype": "float32", "name": "network"}


def normal(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def assert_close(made: Any, wanted: Any, rtol: float) -> None:
    """Within `rtol` of the largest entry: the smaller ones are sums of terms as large as that."""
    np.testing.assert_allclose(made, wanted, rtol=0, atol=rtol * np.abs(wanted).max())


# --- dropout -----------------------------------------------------------------------------------------------


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


def test_dropout_passes_gradient_where_it_passes_values() -> None:
    layer, inputs = Dropout(0.25), normal(200)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
    gradient = tape.gradient(outputs, inputs).numpy()
    np.testing.assert_allclose(gradient, np.where(outputs == 0, 0, 1 / 0.75), rtol=1e-6)


def test_dropout_is_saved_with_its_count(tmp_path: Path) -> None:
    layer, inputs = Dropout(0.4, seed=7, name="thin"), tf.ones([2, 50])
    again = Dropout.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    model = keras.Sequential([keras.Input((50,)), layer])
    model(inputs, training=True)
    model.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    assert int(loaded.layers[0].calls) == 1
    np.testing.assert_array_equal(loaded(inputs, training=True), model(inputs, training=True))


# --- spectral normalization --------------------------------------------------------------------------------


# A seed, since how fast the iteration converges is up to the kernel.
START = keras.initializers.GlorotUniform(seed=0)


def normalized_dense() -> tuple[SpectralNormalization, tf.Tensor]:
    """The layer, and inputs whose outputs are the kernel's rows."""
    return SpectralNormalization(keras.layers.Dense(5, use_bias=False, kernel_initializer=START)), tf.eye(7)


def normalized_convolution() -> tuple[SpectralNormalization, tf.Tensor]:
    """The layer, and images as large as the kernel whose outputs, of one pixel, are the kernel's rows."""
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


@MAKERS
def test_the_scale_of_the_kernel_has_no_effect_and_so_no_gradient(make: Maker) -> None:
    layer, basis = make()
    before = layer(basis).numpy()
    upstream = normal(*before.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(upstream * layer(basis, training=True))
    kernel = layer.layer.kernel
    gradient = tape.gradient(loss, kernel.value).numpy()
    # Without the part that goes through the singular value, the gradient is along the kernel like any other.
    along = np.sum(gradient * kernel.numpy()) / np.linalg.norm(gradient) / np.linalg.norm(kernel.numpy())
    # Float32's rounding of some hundred terms.
    assert abs(along) < 1e-5
    assert np.linalg.norm(gradient) > 0.1
    before = layer(basis).numpy()
    kernel.assign(3 * kernel.value)
    np.testing.assert_allclose(layer(basis), before, rtol=1e-5, atol=1e-6)


@MAKERS
def test_spectral_normalization_is_saved_with_its_vector(make: Maker, tmp_path: Path) -> None:
    layer, basis = make()
    model = keras.Sequential([keras.Input(basis.shape[1:]), layer])
    for _ in range(3):
        model(basis, training=True)
    model.save(tmp_path / "s.keras")
    loaded = keras.saving.load_model(tmp_path / "s.keras")
    # In JSON, where tuples are lists.
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    np.testing.assert_array_equal(loaded.layers[0].vector, layer.vector)
    np.testing.assert_array_equal(loaded(basis), model(basis))
    np.testing.assert_array_equal(loaded(basis, training=True), model(basis, training=True))
    assert loaded.compute_output_shape(basis.shape) == model(basis).shape


def test_spectral_normalization_without_bias_maps_zero_to_zero() -> None:
    layer = SpectralNormalization(keras.layers.Dense(5, use_bias=False), use_bias=False)
    np.testing.assert_array_equal(layer(tf.zeros([2, 7])), np.zeros((2, 5)))
    assert [w.name for w in layer.trainable_weights] == ["kernel"]
    again = SpectralNormalization.from_config(layer.get_config())
    assert not again.use_bias
    assert again.layer.units == 5


def test_neither_count_nor_vector_is_trained() -> None:
    network = dense_network((4,), (3,), (1,), spectral_norm=True, dropout=0.5, **COMMON)
    assert [w.name for w in network.non_trainable_weights] == ["vector", "calls", "vector"]
    assert [w.name for w in network.trainable_weights] == ["bias", "kernel"] * 2


# --- the dense layer ---------------------------------------------------------------------------------------


def two_layers(kind: type[keras.layers.Dense], use_bias: bool) -> keras.Sequential:
    layers = [kind(16, activation="tanh", use_bias=use_bias), kind(1, use_bias=use_bias)]
    network = keras.Sequential([keras.Input((8,)), *layers])
    network.set_weights([normal(*w.shape, seed=i) for i, w in enumerate(network.weights)])
    return network


@pytest.mark.parametrize("use_bias", [True, False])
def test_the_dense_layer_is_keras_own(use_bias: bool) -> None:
    made = []
    for kind in (keras.layers.Dense, Dense):
        network, inputs = two_layers(kind, use_bias), normal(32, 8, seed=9)
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(inputs)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                outputs = network(inputs)
            slopes = inner.gradient(outputs, inputs)
            penalty = tf.reduce_mean((tf.norm(slopes, axis=1) - 1) ** 2)
        first = outer.gradient(outputs, [inputs, *network.trainable_variables])
        second = outer.gradient(penalty, [inputs, *network.trainable_variables])
        # What is linear has no second derivative.
        made.append([outputs, slopes, *first, *(g for g in second if g is not None)])
    assert len(made[0]) > 2 + len(first)
    for ours, wanted in zip(made[1], made[0], strict=True):
        # Float32's rounding of 32 terms, through two layers and two derivatives.
        assert_close(ours, wanted, rtol=1e-5)


def test_the_dense_layer_computes_in_half_precision_where_told() -> None:
    layer = Dense(4, dtype="mixed_bfloat16")
    assert layer(normal(2, 3)).dtype == tf.bfloat16
    assert layer.kernel.dtype == "float32"


# --- labels and networks -----------------------------------------------------------------------------------


def test_labels_are_appended_to_vectors() -> None:
    inputs, labels = normal(3, 5), tf.one_hot([2, 0, 1], 4)
    made = append_labels(inputs, labels)
    np.testing.assert_array_equal(made, np.concatenate([inputs, labels], axis=1))


def test_labels_are_appended_alike_at_each_pixel() -> None:
    inputs, labels = normal(3, 4, 6, 2), tf.one_hot([2, 0, 1], 4)
    made = append_labels(inputs, labels).numpy()
    assert made.shape == (3, 4, 6, 6)
    np.testing.assert_array_equal(made[..., :2], inputs)
    for row in range(4):
        for column in range(6):
            np.testing.assert_array_equal(made[:, row, column, 2:], labels)


def test_labels_take_the_inputs_dtype_and_any_batch() -> None:
    assert append_labels(tf.cast(normal(3, 5), tf.bfloat16), tf.one_hot([1, 0, 1], 2)).dtype == tf.bfloat16

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 1]), tf.TensorSpec([None, 2])])
    def unknown_batch(inputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return append_labels(inputs, labels)

    assert unknown_batch(normal(3, 4, 4, 1), normal(3, 2)).shape == (3, 4, 4, 3)


def kinds(network: keras.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]


def test_batch_normalization_starts_at_the_second_hidden_layer_and_dropout_ends_at_the_first() -> None:
    network = dense_network(
        (4,), (8, 7, 6), (2, 1), activation="leaky_relu", batch_norm=True, dropout=0.3, **COMMON
    )
    first = ["Flatten", "Dense", "LeakyReLU", "Dropout"]
    hidden = ["Dense", "BatchNormalization", "LeakyReLU"]
    assert kinds(network) == [*first, *hidden, *hidden, "Dense", "Reshape"]
    assert network(normal(3, 4)).shape == (3, 2, 1)


def test_the_last_layer_is_linear_unless_told() -> None:
    for activation in ("relu", "leaky_relu"):
        network = dense_network((4,), (8, 8), (2,), activation=activation, **COMMON)
        last = network.layers[-2]
        assert last.activation is keras.activations.linear
        assert kinds(network).count("Dense") == 3
    bounded = dense_network((4,), (8,), (2,), output_activation="tanh", **COMMON)
    assert np.abs(bounded(100 * normal(3, 4))).max() <= 1


def test_a_leaky_relu_lets_a_fifth_through() -> None:
    network = dense_network((1,), (1,), (1,), activation="leaky_relu", **COMMON)
    network.set_weights([np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
    np.testing.assert_allclose(network(tf.constant([[-5.0], [5.0]])), [[-1], [5]], rtol=1e-6)


def test_all_kernels_of_a_spectrally_normalized_network_are_normalized() -> None:
    dense = dense_network((4,), (8, 8), (1,), spectral_norm=True, **COMMON)
    assert kinds(dense).count("SpectralNormalization") == 3
    convolutional = convolutional_discriminator((8, 8, 1), 4, spectral_norm=True, dropout=0.5, **COMMON)
    assert kinds(convolutional).count("SpectralNormalization") == 3
    assert kinds(convolutional).count("Dropout") == 2
    assert not {"Dense", "Conv2D"} & {*kinds(dense), *kinds(convolutional)}


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 12, 3)])
def test_convolutional_networks_fit_the_images(shape: tuple[int, int, int]) -> None:
    generator = convolutional_generator(6, 4, shape, **COMMON)
    images = generator(30 * normal(5, 6)).numpy()
    assert images.shape == (5, *shape)
    assert images.min() >= -1
    assert images.max() <= 1
    # Large inputs come near both ends.
    assert images.min() < -0.5
    assert images.max() > 0.5
    assert convolutional_discriminator(shape, 4, **COMMON)(images).shape == (5, 1)


def test_a_seed_decides_the_weights_and_layers_differ() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        return dense_network((6,), (6, 6), (6,), seed=seed, dtype="float32", name="n").get_weights()[::2]

    first, again, other = weights(0), weights(0), weights(1)
    for kernel, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(kernel, same)
    flat = [kernel.tobytes() for kernel in (*first, *other)]
    assert len(set(flat)) == len(flat)
