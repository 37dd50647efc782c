"""Adam against Keras's own and its paper; the learning rate over a training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.arrays import assert_close, normal
from tfgen.nn.blocks import dense_network
from tfgen.nn.cpu import Adam
from tfgen.nn.optimizers import Schedule, make_adam


def after_steps(
    optimizer: keras.optimizers.Optimizer, jit_compile: bool, steps: int = 20
) -> list[np.ndarray]:
    """The weights and the optimizer's state after steps on batches of their own, in float64.

    In float32, Adam turns the rounding of a small gradient into a step of any length.
    """
    network = dense_network((4,), (8,), (2,), seed=0, dtype="float64", name="network")
    inputs, targets = tf.cast(normal(16, 4), "float64"), tf.cast(normal(16, 2, seed=1), "float64")
    variables = network.trainable_variables
    optimizer.build(variables)

    @tf.function(jit_compile=jit_compile)
    def step(index: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((network(inputs + 0.1 * index) - targets) ** 2)
        optimizer.apply(tape.gradient(loss, variables), variables)

    for index in range(steps):
        step(tf.constant(index, tf.float64))
    assert int(optimizer.iterations) == steps // (optimizer.gradient_accumulation_steps or 1)
    return [v.numpy() for v in (*network.weights, *optimizer.variables)]


# Float32 holds these exactly. Keras rounds others to float32, which changes 1 − 0.999 by 1e-5.
EXACT = {"beta_1": 0.875, "beta_2": 1 - 2**-6}
ACCUMULATING = {**EXACT, "gradient_accumulation_steps": 3, "global_clipnorm": 1 / 8}


@pytest.mark.parametrize(
    ("arguments", "rtol", "jit_compile"),
    [
        (EXACT, 1e-9, False),
        ({**EXACT, "epsilon": 2**-10, "clipnorm": 1 / 8}, 1e-9, False),
        (ACCUMULATING, 1e-9, False),
        ({}, 3e-5, False),
        # XLA compiles the same operations.
        (ACCUMULATING, 1e-9, True),
    ],
)
def test_adam_is_keras_own(arguments: dict, rtol: float, jit_compile: bool) -> None:
    ours = after_steps(Adam(1e-2, **arguments), jit_compile)
    expected = after_steps(keras.optimizers.Adam(1e-2, **arguments), jit_compile)
    for array, reference in zip(ours, expected, strict=True):
        assert_close(array, reference, rtol)


# --- over a training --------------------------------------------------------------------


def rates(schedule: Schedule, steps: int) -> np.ndarray:
    rate = schedule.of(0.1)
    return np.array([float(rate(step)) if callable(rate) else rate for step in range(steps)])


def test_the_learning_rate_warms_up_and_falls_by_a_cosine() -> None:
    # Float32's rounding of a cosine and of its argument, which is felt most where the rate is 0.
    close = {"rtol": 1e-5, "atol": 1e-7}
    warming = np.linspace(0.1 / 5, 0.1, 6)[:5]
    falling = 0.05 * (1 + np.cos(np.pi * np.arange(16) / 15))
    np.testing.assert_allclose(rates(Schedule(5, 20), 21), [*warming, *falling], **close)
    np.testing.assert_allclose(rates(Schedule(5), 12), [*warming, *[0.1] * 7], **close)
    np.testing.assert_allclose(rates(Schedule(0, 15), 16), falling, **close)
    assert Schedule().of(0.1) == 0.1
    # The rate of an optimizer that moves in every third step peaks and ends at the same steps.
    np.testing.assert_allclose(
        rates(Schedule(6, 30).every(3), 11), rates(Schedule(2, 10), 11), **close
    )
    assert Schedule(6, clip_norm=1.0).every(3) == Schedule(2, clip_norm=1.0)


def test_a_long_gradient_is_clipped_as_a_whole() -> None:
    def moments(clip_norm: float) -> np.ndarray:
        variables = [
            keras.Variable(np.zeros(2, np.float32)),
            keras.Variable(np.zeros(1, np.float32)),
        ]
        optimizer = make_adam(0.1, Schedule(clip_norm=clip_norm), beta_1=0.5)
        optimizer.build(variables)
        optimizer.apply([tf.constant([3.0, 0.0]), tf.constant([4.0])], variables)
        return np.concatenate([m.numpy() for m in optimizer._momentums])

    # The first moment after a step is half of the gradient, whose norm is 5.
    np.testing.assert_allclose(moments(0.0), [1.5, 0, 2], rtol=1e-6)
    np.testing.assert_allclose(moments(10.0), [1.5, 0, 2], rtol=1e-6)
    np.testing.assert_allclose(moments(1.0), [0.3, 0, 0.4], rtol=1e-6)
