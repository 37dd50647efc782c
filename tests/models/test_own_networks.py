"""Networks of the caller's own: their shapes, batch normalization, dropout and regularizers."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.families import IMAGES, SHAPE, compiled, flow, gan, vae
from tests.told import fails

pytestmark = pytest.mark.newest


def network(inputs: tuple[int, ...], outputs: tuple[int, ...], *inner: keras.Layer) -> keras.Model:
    """A functional model with layers between its ends."""
    ends = keras.Input(inputs)
    x = keras.layers.Flatten()(ends)
    for layer in inner:
        x = layer(x)
    units = int(np.prod(outputs))
    return keras.Model(ends, keras.layers.Reshape(outputs)(keras.layers.Dense(units)(x)))


@keras.saving.register_keras_serializable(package="tests")
class Spy(keras.layers.Layer):
    """Records how it is called."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.calls: list[bool | None] = []

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        self.calls = [*self.calls, training]
        return tf.identity(inputs)

    def training(self) -> set[bool | None]:
        """The flags of the calls since the last time."""
        calls, self.calls = set(self.calls), []
        return calls


# --- shapes -------------------------------------------------------------------------------

# Family, argument, shapes of a network of the caller's own, and what the error says.
WRONG: list[tuple[Callable[..., Any], str, tuple[int, ...], tuple[int, ...], tuple[str, ...]]] = [
    (vae, "decoder", (3,), (6, 6, 3), ("[B, 3] to [B, 6, 6, 1]", "gives [B, 6, 6, 3]")),
    (vae, "decoder", (3,), (1, 1, 1), ("[B, 3] to [B, 6, 6, 1]", "gives [B, 1, 1, 1]")),
    (vae, "decoder", (4,), SHAPE, ("[B, 3] to [B, 6, 6, 1]", "does not take these inputs")),
    (vae, "encoder", SHAPE, (2,), ("[B, 6, 6, 1] to [B, 6]", "gives [B, 2]")),
    (vae, "encoder", SHAPE, (1, 6), ("[B, 6, 6, 1] to [B, 6]", "gives [B, 1, 6]")),
    (vae, "encoder", (8, 8, 1), (6,), ("[B, 6, 6, 1] to [B, 6]", "does not take these inputs")),
    (gan, "generator", (3,), (6, 6, 3), ("[B, 3] to [B, 6, 6, 1]", "gives [B, 6, 6, 3]")),
    (gan, "discriminator", SHAPE, (2,), ("[B, 6, 6, 1] to [B, 1]", "gives [B, 2]")),
    (gan, "discriminator", SHAPE, (), ("[B, 6, 6, 1] to [B, 1]", "gives [B]")),
]


@pytest.mark.quick
@pytest.mark.parametrize(("family", "part", "inputs", "outputs", "message"), WRONG)
def test_networks_of_a_wrong_shape_are_refused(
    family: Callable[..., Any],
    part: str,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    message: tuple[str, ...],
) -> None:
    built = network(inputs, outputs)
    fails(lambda: family(**{part: built}), f"the {part} must map", *message)
    units = int(np.prod(outputs))
    layers = [keras.layers.Flatten(), keras.layers.Dense(units), keras.layers.Reshape(outputs)]
    if inputs == (SHAPE if part in ("encoder", "discriminator") else (3,)):
        fails(lambda: family(**{part: keras.Sequential(layers)}), *message)


# --- the training flag --------------------------------------------------------------------


def spied_vae(**fields: Any) -> tuple[Any, list[Spy]]:
    spies = [Spy(), Spy()]
    networks = {
        "encoder": network(SHAPE, (6,), spies[0]),
        "decoder": network((3,), SHAPE, spies[1]),
    }
    return vae(**networks, **fields), spies


def spied_gan() -> tuple[Any, list[Spy]]:
    spies = [Spy(), Spy()]
    networks = {
        "generator": network((3,), SHAPE, spies[0]),
        "discriminator": network(SHAPE, (1,), spies[1]),
    }
    return gan(**networks), spies


class Recorder(Spy):
    """Records how a network of the family's own is called."""

    def __init__(self, network: keras.Sequential):
        super().__init__()
        call = network.call

        def recorded(inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> Any:
            self.calls = [*self.calls, training]
            return call(inputs, training=training, mask=mask)

        network.call = recorded


def spied_flow() -> tuple[Any, list[Spy]]:
    model = flow(dequantization="variational")
    return model, [Recorder(network) for network in model.networks]


SPIED: dict[str, Callable[[], tuple[Any, list[Spy]]]] = {
    "vae": spied_vae,
    "iwae": functools.partial(spied_vae, objective="iwae", importance_samples=2),
    "gan": spied_gan,
    "flow": spied_flow,
}


@pytest.mark.parametrize("name", SPIED)
def test_networks_train_in_training_steps_alone(name: str) -> None:
    model, spies = SPIED[name]()
    compiled(model, run_eagerly=True)
    for spy in spies:
        spy.training()
    model.train_on_batch(IMAGES)
    for spy in spies:
        assert spy.training() == {True}
    model.test_on_batch(IMAGES)
    model.predict(IMAGES, verbose=0)
    model.sample(n=2)
    if name != "gan":
        model.encode(IMAGES)
    for spy in spies:
        assert spy.training() <= {False, None}


# --- batch normalization, dropout, regularizers -----------------------------------------


@pytest.mark.parametrize("part", ["encoder", "decoder", "generator", "discriminator"])
def test_a_regularizer_is_part_of_the_step_of_its_network(part: str) -> None:
    family, ends = {
        "encoder": (vae, (SHAPE, (6,))),
        "decoder": (vae, ((3,), SHAPE)),
        "generator": (gan, ((3,), SHAPE)),
        "discriminator": (gan, (SHAPE, (1,))),
    }[part]
    kernels = []
    for strength in (0.0, 0.25):
        keras.utils.set_random_seed(0)
        regularizer = keras.regularizers.L2(strength)
        layer = keras.layers.Dense(4, kernel_regularizer=regularizer)
        model = family(**{part: network(*ends, layer)})
        sgd = {name: keras.optimizers.SGD(1.0) for name in model.default_optimizers(1.0)}
        compiled(model, **sgd)
        before = layer.kernel.numpy()
        logs = model.train_on_batch(IMAGES, return_dict=True)
        kernels.append((before, layer.kernel.numpy(), logs))
    (start, plain, logs), (_, penalized, same_logs) = kernels
    # The gradient of ¼ w² is ½ w; the logged values are those of the images alone.
    np.testing.assert_allclose(plain - penalized, start / 2, rtol=1e-3, atol=1e-5)
    assert logs == same_logs


# --- a bound of the caller's own ----------------------------------------------------------
