"""Networks: their layers, ranges and seeds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.arrays import normal
from tfgen.nn.blocks import append_labels, dense_network

COMMON = {"seed": 0, "dtype": "float32", "name": "network"}


@pytest.mark.parametrize("sides", [(), (4, 6)])
def test_labels_are_appended_at_each_position(sides: tuple[int, ...]) -> None:
    inputs, labels = normal(3, *sides, 5), tf.one_hot([2, 0, 1], 4)
    outputs = append_labels(inputs, labels).numpy()
    np.testing.assert_array_equal(outputs[..., :5], inputs)
    for position in np.ndindex(sides):
        np.testing.assert_array_equal(outputs[:, *position, 5:], labels)


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


def test_a_seed_decides_the_weights_and_layers_differ() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        return dense_network(
            (6,), (6, 6), (6,), seed=seed, dtype="float32", name="n"
        ).get_weights()[::2]

    first, again, other = weights(0), weights(0), weights(1)
    np.testing.assert_equal(first, again)
    flat = [kernel.tobytes() for kernel in (*first, *other)]
    assert len(set(flat)) == len(flat)


def test_neither_the_count_nor_the_vector_is_trained() -> None:
    network = dense_network((4,), (3,), (1,), spectral_norm=True, dropout=0.5, **COMMON)
    assert [w.name for w in network.non_trainable_weights] == ["vector", "calls", "vector"]
    assert [w.name for w in network.trainable_weights] == ["bias", "kernel"] * 2
