"""The speed-ups: each against plain TensorFlow and Keras, and the switch that turns them off.

The switch is a test of whole models.
"""

import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.arrays import assert_close, normal
from tests.commands import PATIENCE
from tfgen import GAN, Classifier
from tfgen.nn import cores, cpu
from tfgen.nn.cpu import Dense, JoinedTape
from tfgen.nn.layers import Upsampling
from tfgen.nn.optimizers import Schedule

# --- the dense layer ----------------------------------------------------------------------


def two_layers(kind: type[keras.layers.Dense], use_bias: bool) -> keras.Sequential:
    layers = [kind(16, activation="tanh", use_bias=use_bias), kind(1, use_bias=use_bias)]
    network = keras.Sequential([keras.Input((8,)), *layers])
    network.set_weights([normal(*w.shape, seed=i) for i, w in enumerate(network.weights)])
    return network


def derivatives(network: keras.Sequential, inputs: tf.Tensor) -> list[tf.Tensor]:
    """Outputs, first derivatives, and those of a penalty on the gradient's norm."""
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            outputs = network(inputs)
        slopes = inner.gradient(outputs, inputs)
        penalty = tf.reduce_mean((tf.norm(slopes, axis=1) - 1) ** 2)
    sources = [inputs, *network.trainable_variables]
    first, second = (outer.gradient(target, sources) for target in (outputs, penalty))
    # The last layer is linear, so its bias has no second derivative.
    return [outputs, slopes, *first, *(g for g in second if g is not None)]


@pytest.mark.quick
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_dense_layer_is_keras_own(use_bias: bool) -> None:
    expected, ours = (
        derivatives(two_layers(kind, use_bias), normal(32, 8, seed=9))
        for kind in (keras.layers.Dense, Dense)
    )
    assert len(expected) > 2 + 3 + 2 * use_bias
    for array, reference in zip(ours, expected, strict=True):
        # Float32's rounding of 32 terms, through two layers and two derivatives.
        assert_close(array, reference, rtol=1e-5)


@pytest.mark.quick
def test_a_joined_tape_has_the_gradients_of_a_plain_one() -> None:
    first, second, x = Dense(4, activation="tanh"), Dense(2), normal(6, 3)

    def loss() -> tf.Tensor:
        return tf.add_n([tf.reduce_sum(tf.square(second(first(part)))) for part in (x[:2], x[2:])])

    loss()  # builds both
    variables = [*first.trainable_variables, *second.trainable_variables]

    def gradients(tape: tf.GradientTape) -> list[tf.Tensor]:
        with tape:
            value = loss()
        return tape.gradient(value, variables)

    expected = gradients(tf.GradientTape())
    joined = tf.function(lambda: gradients(JoinedTape()))
    for gradient, reference in zip(joined(), expected, strict=True):
        assert_close(gradient, reference, 1e-6)
    # One product for each kernel, not one for each part.
    graph = joined.get_concrete_function().graph.as_graph_def()
    transposed = [node for node in graph.node if node.op == "MatMul" and node.attr["transpose_a"].b]
    assert len(transposed) == 2


# --- convolutions -------------------------------------------------------------------------


@pytest.mark.quick
@pytest.mark.parametrize("filters", [1, 2, 3, 16])
@pytest.mark.parametrize("sides", [(5, 3), (4, 6), (1, 2)])
def test_an_upsampling_for_inference_is_keras_transposed_convolution(
    filters: int, sides: tuple[int, int]
) -> None:
    layer = Upsampling(filters, activation="tanh", bias_initializer="normal")
    transposed = keras.layers.Conv2DTranspose(
        filters, 4, strides=2, padding="same", activation="tanh"
    )
    x = normal(2, *sides, 7)
    expected = layer(x)
    transposed.build(x.shape)
    transposed.set_weights(layer.get_weights())
    np.testing.assert_array_equal(expected, transposed(x))
    call = tf.function(layer)
    with cpu.inference():
        outputs = call(x)
    graph = call.get_concrete_function(x).graph.as_graph_def()
    assert ("DepthToSpace" in {node.op for node in graph.node}) == (filters < 8)
    assert outputs.shape == (2, 2 * sides[0], 2 * sides[1], filters)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (loaded.filters, loaded.kernel_size, loaded.strides) == (filters, (4, 4), (2, 2))


# --- the switch -----------------------------------------------------------------------------

DENSE_GAN = {"latent_dim": 3, "generator_hidden": (8, 16), "discriminator_hidden": (16, 8)}
# The halves of a VAE's or a flow's batch draw noise of their own; see test_vae.py.
MODELS: dict[str, tuple[type, dict[str, Any]]] = {
    "gan": (GAN, DENSE_GAN),
    "gan-wasserstein": (GAN, {**DENSE_GAN, "loss": "wasserstein", "critic_steps": 2}),
    "classifier": (Classifier, {"channels": 2, "units": 6}),
}


def train(name: str, enabled: bool) -> tuple[list[dict[str, float]], list[np.ndarray]]:
    """The logs of a few steps with or without speed-ups, and the weights after them."""
    family, fields = MODELS[name]
    rng = np.random.default_rng(0)
    with cores.speedups(enabled):
        model = family(image_shape=(8, 8, 1), **fields, dtype="float64")
        optimizers = model.default_optimizers(1e-3, Schedule(clip_norm=1.0))
        for optimizer in optimizers.values():
            # Float32 holds these decays exactly. Keras rounds others to float32.
            optimizer.beta_1, optimizer.beta_2 = 0.875, 1 - 2**-6
        model.compile(**optimizers, jit_compile=False)
        logs = [
            model.train_on_batch(
                rng.integers(0, 256, (7, 8, 8, 1)).astype(np.uint8),
                rng.integers(0, 10, 7),
                return_dict=True,
            )
            for _ in range(3)
        ]
    return logs, model.get_weights()


@pytest.mark.newest
@pytest.mark.parametrize("name", MODELS)
def test_the_switch_changes_training_by_rounding_alone(name: str) -> None:
    (logs, weights), (plain_logs, plain_weights) = (train(name, on) for on in (True, False))
    # Float64 rounds sums of some hundred terms at 1e-14 of their size. Adam divides a gradient by
    # its own size plus 1e-7: where a gradient is zero but for rounding, as that of a bias before
    # batch normalization, 1e-16 becomes a thousand-millionth of a step.
    for values, plain in zip(logs, plain_logs, strict=True):
        assert values == pytest.approx(plain, rel=1e-9, abs=1e-9)
    for array, reference in zip(weights, plain_weights, strict=True):
        scale = max(1e-3, np.abs(reference).max())
        np.testing.assert_allclose(array, reference, rtol=0, atol=1e-9 * scale)


@pytest.mark.newest
def test_an_environment_variable_turns_the_speedups_off() -> None:
    assert os.environ.get(cores.SWITCH) == "0" or cores.enabled()
    program = subprocess.run(
        [sys.executable, "-c", "from tfgen.nn import cores; print(cores.enabled())"],
        env={**os.environ, cores.SWITCH: "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert program.stdout.strip() == "False"
