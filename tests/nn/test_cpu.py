"""The speed-ups: each against plain TensorFlow and Keras, and the switch that turns them off.

The switch is a test of whole models.
"""

import os
import runpy
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.arrays import normal
from tests.commands import python
from tests.conftest import HAS_16_BITS
from tfgen import GAN, Classifier
from tfgen.nn import cores, cpu
from tfgen.nn.layers import Upsampling
from tfgen.nn.optimizers import Schedule

# --- convolutions -------------------------------------------------------------------------


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
    with tf.GradientTape() as tape:
        tape.watch(x)
        expected = layer(x)
    slope = tape.gradient(expected, x)
    transposed.build(x.shape)
    transposed.set_weights(layer.get_weights())
    np.testing.assert_array_equal(expected, transposed(x))
    call = tf.function(layer)
    with cores.speedups(True), cpu.inference(), tf.GradientTape() as tape:
        tape.watch(x)
        outputs = call(x)
    np.testing.assert_allclose(tape.gradient(outputs, x), slope, rtol=1e-5, atol=1e-5)
    graph = call.get_concrete_function(x).graph.as_graph_def()
    assert ("DepthToSpace" in {node.op for node in graph.node}) == (filters < 8)
    assert outputs.shape == (2, 2 * sides[0], 2 * sides[1], filters)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (loaded.filters, loaded.kernel_size, loaded.strides) == (filters, (4, 4), (2, 2))


# --- the switch -----------------------------------------------------------------------------

DENSE_GAN = {"latent_dim": 3, "generator_hidden": (8, 16), "discriminator_hidden": (16, 8)}
# The halves of a VAE's or a flow's batch draw noise of their own; see test_vae.py.
MODELS: dict[str, tuple[type, dict[str, Any]]] = {
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


@pytest.mark.parametrize("name", MODELS)
def test_the_switch_changes_training_by_rounding_alone(name: str) -> None:
    (logs, weights), (plain_logs, plain_weights) = (train(name, on) for on in (True, False))
    # Float64 rounds sums of some hundred terms at 1e-14 of their size. Adam divides a gradient by
    # its own size plus 1e-7: where a gradient is zero but for rounding, as that of a bias before
    # batch normalization, 1e-16 becomes a thousand-millionth of a step of 1e-3.
    for values, plain in zip(logs, plain_logs, strict=True):
        assert values == pytest.approx(plain, rel=1e-9, abs=1e-9)
    for array, reference in zip(weights, plain_weights, strict=True):
        scale = np.abs(reference).max()
        np.testing.assert_allclose(array, reference, rtol=0, atol=1e-9 * scale + 1e-10)


@pytest.mark.parametrize(("ratio", "lines"), [(0.6, 0), (8.0, 1)])
def test_a_slow_precision_is_said_once(
    ratio: float, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cpu, "slowdown", lambda dtype: ratio)
    cpu.warn_if_slow.cache_clear()
    for _ in range(2):
        Classifier(image_shape=(8, 8, 1), dtype="mixed_bfloat16").compile()
    error = capsys.readouterr().err
    assert error.count("\n") == error.count("no instructions for bfloat16") == lines


@pytest.mark.slow
@pytest.mark.skipif(not HAS_16_BITS, reason="oneDNN may have no instructions for 16 bits here")
def test_the_speed_of_16_bits_is_measured_with_deterministic_operations() -> None:
    program = "import tensorflow as tf; tf.config.experimental.enable_op_determinism()"
    program += "; from tfgen.nn import cpu; assert cpu.slowdown('bfloat16') > 0"
    done = python(["-c", program], Path.cwd())
    assert done.returncode == 0, done.stderr


def test_an_environment_variable_turns_the_speedups_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.environ.get(cores.SWITCH) == "0" or cores.enabled()
    monkeypatch.setenv(cores.SWITCH, "0")
    assert runpy.run_path(cores.__file__)["enabled"]() is False
