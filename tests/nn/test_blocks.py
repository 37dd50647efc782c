"""Networks: their layers, ranges and seeds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.arrays import normal
from tfgen.models.gan.networks import convolutional_discriminator, convolutional_generator
from tfgen.nn.blocks import append_labels, dense_network

pytestmark = pytest.mark.quick


COMMON = {"seed": 0, "dtype": "float32", "name": "network"}


def test_labels_are_appended_to_vectors() -> None:
    inputs, labels = normal(3, 5), tf.one_hot([2, 0, 1], 4)
    outputs = append_labels(inputs, labels)
    np.testing.assert_array_equal(outputs, np.concatenate([inputs, labels], axis=1))


def test_labels_are_appended_at_each_pixel() -> None:
    inputs, labels = normal(3, 4, 6, 2), tf.one_hot([2, 0, 1], 4)
    outputs = append_labels(inputs, labels).numpy()
    assert outputs.shape == (3, 4, 6, 6)
    np.testing.assert_array_equal(outputs[..., :2], inputs)
    for row in range(4):
        for column in range(6):
            np.testing.assert_array_equal(outputs[:, row, column, 2:], labels)


def test_labels_take_the_inputs_dtype_and_any_batch() -> None:
    assert (
        append_labels(tf.cast(normal(3, 5), tf.bfloat16), tf.one_hot([1, 0, 1], 2)).dtype
        == tf.bfloat16
    )

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 1]), tf.TensorSpec([None, 2])])
    def unknown_batch(inputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return append_labels(inputs, labels)

    assert unknown_batch(normal(3, 4, 4, 1), normal(3, 2)).shape == (3, 4, 4, 3)


def kinds(network: keras.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]


def test_batch_normalization_starts_at_the_second_hidden_layer_and_dropout_ends_at_the_first() -> (
    None
):
    network = dense_network(
        (4,), (8, 7, 6), (2, 1), activation="leaky_relu", batch_norm=True, dropout=0.3, **COMMON
    )
    first = ["Flatten", "Dense", "LeakyReLU", "Dropout"]
    hidden = ["Dense", "BatchNormalization", "LeakyReLU"]
    assert kinds(network) == [*first, *hidden, *hidden, "Dense", "Reshape"]
    assert network(normal(3, 4)).shape == (3, 2, 1)


def test_the_last_layer_is_linear_without_output_activation() -> None:
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
    convolutional = convolutional_discriminator(
        (8, 8, 1), (4, 8), 5, spectral_norm=True, dropout=0.5, **COMMON
    )
    assert kinds(convolutional).count("SpectralNormalization") == 4
    assert kinds(convolutional).count("Dropout") == 3
    assert not {"Dense", "Conv2D"} & {*kinds(dense), *kinds(convolutional)}


def test_batch_normalization_of_a_convolutional_discriminator_starts_at_the_second_layer() -> None:
    network = convolutional_discriminator((8, 8, 1), (4, 8), 5, batch_norm=True, **COMMON)
    convolutions = ["Conv2D", "Activation", "Conv2D", "BatchNormalization", "Activation"]
    assert kinds(network) == [
        *convolutions,
        "Flatten",
        "Dense",
        "BatchNormalization",
        "Activation",
        "Dense",
    ]
    plain = convolutional_discriminator((8, 8, 1), (4, 8), 5, **COMMON)
    assert "BatchNormalization" not in kinds(plain)


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 12, 3)])
def test_convolutional_networks_fit_the_images(shape: tuple[int, int, int]) -> None:
    generator = convolutional_generator(6, (4, 8), 5, shape, **COMMON)
    images = generator(30 * normal(5, 6)).numpy()
    assert images.shape == (5, *shape)
    assert images.min() >= -1
    assert images.max() <= 1
    # Large inputs come near both ends.
    assert images.min() < -0.5
    assert images.max() > 0.5
    assert convolutional_discriminator(shape, (4, 8), 5, **COMMON)(images).shape == (5, 1)


def test_a_seed_decides_the_weights_and_layers_differ() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        return dense_network(
            (6,), (6, 6), (6,), seed=seed, dtype="float32", name="n"
        ).get_weights()[::2]

    first, again, other = weights(0), weights(0), weights(1)
    for kernel, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(kernel, same)
    flat = [kernel.tobytes() for kernel in (*first, *other)]
    assert len(set(flat)) == len(flat)


def test_neither_the_count_nor_the_vector_is_trained() -> None:
    network = dense_network((4,), (3,), (1,), spectral_norm=True, dropout=0.5, **COMMON)
    assert [w.name for w in network.non_trainable_weights] == ["vector", "calls", "vector"]
    assert [w.name for w in network.trainable_weights] == ["bias", "kernel"] * 2
