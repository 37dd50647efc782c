"""The multi-scale flow: its steps, normalization from data, learned dequantization, averages."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.errors import refuses
from tests.models.flow import test_flow
from tests.models.flow.test_flow import seeds
from tfgen import Flow, FlowConfig
from tfgen.bijectors import Squeeze
from tfgen.models.export import trace
from tfgen.models.flow.config import FAMILY
from tfgen.models.flow.dequantization import VariationalDequantization
from tfgen.random import SeedNoise

SHAPE = (8, 8, 1)
SMALL = {"architecture": "multiscale", "scale_steps": (2, 1), "scale_channels": (4, 6), "blocks": 1}


def small(image_shape: tuple[int, ...] = SHAPE, **arguments: Any) -> Flow:
    return Flow(image_shape=image_shape, **{**SMALL, **arguments})


def trained(**arguments: Any) -> Flow:
    """With weights that are not at their start any more."""
    return test_flow.trained(SHAPE, **{**SMALL, **arguments})


@pytest.fixture
def images(images: np.ndarray) -> np.ndarray:
    """8 × 8 of them."""
    return np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])


# --- the density ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_step_convolves_once_forward_and_twice_backward() -> None:
    flow = small(components=2, blocks=2, scale_steps=(1, 1))
    flow.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=True)
    step = tf.function(flow.train_step).get_concrete_function(tf.TensorSpec([16, *SHAPE], tf.uint8))
    operations = [op.type for op in step.graph.get_operations()]
    # Two conditioners of two convolutions and two blocks of two.
    for kind in ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"):
        assert operations.count(kind) == 2 * (2 + 2 * 2)


def test_an_export_has_the_coupling_of_each_scale_once() -> None:
    flow = small(components=2, scale_steps=(3, 2), num_classes=3)
    ((function, _),) = trace(flow, ["log_prob"]).values()
    library = function.graph.as_graph_def().library.function
    assert sum("_noinline" in shared.attr for shared in library) == 2


# --- normalization from data ------------------------------------------------------------


def test_adapting_gives_each_channel_mean_0_and_deviation_1(images: np.ndarray) -> None:
    flow = trained(components=2, ema_decay=0.9)
    flow.adapt(images)
    events, _ = flow._events_and_log_det(tf.constant(images), flow.training_noise(), None)
    step = flow.flow_steps[0]
    normalized = step.bijectors()[0].inverse(Squeeze(SHAPE).inverse(events))
    # Float32's rounding of 1024 numbers about 10 in size.
    np.testing.assert_allclose(np.mean(normalized, axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(np.std(normalized, axis=(0, 1, 2)), 1, atol=1e-4)
    # The average is of the adapted weights.
    with flow.averaged():
        averaged = step.shift.value.numpy()
    np.testing.assert_array_equal(averaged, step.shift)


@pytest.mark.parametrize("kind", ["array", "tensor", "dataset", "pairs"])
def test_fit_adapts_once(kind: str, images: np.ndarray) -> None:
    flow = small(scale_steps=(1,), scale_channels=(4,))
    flow.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    dataset = tf.data.Dataset.from_tensor_slices(images)
    x: Any = {
        "array": images,
        "tensor": tf.constant(images),
        "dataset": dataset.batch(16),
        "pairs": tf.data.Dataset.zip(dataset, tf.data.Dataset.range(64)).batch(16),
    }[kind]
    flow.fit(x, epochs=1, verbose=0)
    assert int(flow.adapted) == 1
    set_from_data = flow.flow_steps[0].shift.numpy()
    assert np.all(set_from_data != 0)
    flow.fit(x if isinstance(x, tf.data.Dataset) else x[32:], epochs=1, verbose=0)
    np.testing.assert_array_equal(flow.flow_steps[0].shift, set_from_data)


@pytest.mark.parametrize("batched", [False, True])
def test_it_adapts_with_the_labels_of_the_first_images(batched: bool, images: np.ndarray) -> None:
    labels = np.arange(64) % 3
    flow = small(scale_steps=(1,), scale_channels=(4,), num_classes=3)
    flow.compile(**flow.default_optimizers(1e-3), run_eagerly=True)
    if batched:
        flow.fit(tf.data.Dataset.from_tensor_slices((images, labels)).batch(32), verbose=0)
    else:
        flow.fit(images, labels[:, None], verbose=0)
    assert int(flow.adapted) == 1


# --- scales -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sides", "scales"),
    [((28, 28), 2), ((32, 32), 3), ((64, 64), 3), ((100, 60), 2), ((8, 4), 2), ((6, 32), 1)],
)
def test_the_sides_are_halved_as_often_as_they_can_be(sides: tuple[int, int], scales: int) -> None:
    fields = {"architecture": "multiscale", "scale_steps": (1, 1, 1), "scale_channels": (2, 2, 2)}
    config = FlowConfig(image_shape=(*sides, 3), **fields)
    config.check_events()
    assert config.scales == scales


def test_odd_sides_are_refused_with_what_to_do() -> None:
    advice = "must be even; import them with tfgen-data images --size 32, for example"
    for name, shape in (("mlp", (36, 37, 1)), ("multiscale", (36, 37, 1)), ("images", (37, 36, 1))):
        config = FAMILY.preset(name).model
        refuses(lambda: Flow(config, image_shape=shape), "37", advice)  # noqa: B023
    # The dense flow has no use for an even height.
    Flow(couplings=2, hidden=(4,), image_shape=(3, 4, 1))


# --- dequantization ---------------------------------------------------------------------


def dequantization(couplings: int, components: int) -> VariationalDequantization:
    config = FlowConfig(
        image_shape=(4, 4, 1),
        dequantization_channels=4,
        dequantization_couplings=couplings,
        dequantization_components=components,
    )
    layer = VariationalDequantization(config, dtype="float64")
    rng = np.random.default_rng(0)
    for variable in layer.trainable_variables:
        variable.assign(variable + rng.normal(scale=0.3, size=variable.shape))
    return layer


@pytest.mark.parametrize("components", [0, 3])
def test_the_learned_noise_knows_its_density(components: int) -> None:
    layer = dequantization(couplings=3, components=components)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1)), tf.uint8)

    class KnownNoise(SeedNoise):
        """Noise that the test knows."""

        def normal(
            self, batch: Any, event_shape: Any, stream: int, dtype: str = "float32"
        ) -> tf.Tensor:
            return epsilon

    epsilon = tf.constant(np.random.default_rng(1).normal(size=(3, 2, 2, 4)))
    with tf.GradientTape() as tape:
        tape.watch(epsilon)
        u, log_q = layer.draw(images, KnownNoise(seeds(3)), "float64")
    jacobian = tf.reshape(tape.batch_jacobian(u, epsilon), [3, 16, 16]).numpy()
    normal = tfp.distributions.Normal(np.float64(0), np.float64(1)).log_prob(epsilon)
    wanted = tf.reduce_sum(normal, [1, 2, 3]).numpy() - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(log_q, wanted, rtol=1e-9)
    assert np.all((u > 0) & (u < 1))
    other, _ = layer.draw(255 - images, KnownNoise(seeds(3)), "float64")
    assert np.max(np.abs(other - u)) > 1e-3
