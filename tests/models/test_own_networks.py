"""Networks of the caller's own: their shapes and the training flag."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests.errors import refuses
from tests.models.families import IMAGES, LABELS, SHAPE, compiled, flow, flow_matching, gan, vae
from tfgen.publishing import export


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
    (vae, "decoder", (4,), SHAPE, ("[B, 3] to [B, 6, 6, 1]", "does not take these inputs")),
    (vae, "encoder", SHAPE, (1, 6), ("[B, 6, 6, 1] to [B, 6]", "gives [B, 1, 6]")),
    (gan, "generator", (3,), (6, 6, 3), ("[B, 3] to [B, 6, 6, 1]", "gives [B, 6, 6, 3]")),
    (gan, "discriminator", SHAPE, (), ("[B, 6, 6, 1] to [B, 1]", "gives [B]")),
]


@pytest.mark.parametrize(("family", "part", "inputs", "outputs", "message"), WRONG)
def test_networks_of_a_wrong_shape_are_refused(
    family: Callable[..., Any],
    part: str,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    message: tuple[str, ...],
) -> None:
    built = network(inputs, outputs)
    refuses(lambda: family(**{part: built}), f"the {part} must map", *message)
    units = int(np.prod(outputs))
    layers = [keras.layers.Flatten(), keras.layers.Dense(units), keras.layers.Reshape(outputs)]
    if inputs == (SHAPE if part in ("encoder", "discriminator") else (3,)):
        refuses(lambda: family(**{part: keras.Sequential(layers)}), *message)


def test_a_velocity_of_a_wrong_shape_is_refused() -> None:
    refuses(lambda: flow_matching(network=network(SHAPE, SHAPE)), "[B, 6, 6, 1], [B, 32]")


# --- families of the caller's own networks --------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
def small_conditioner(
    inputs: tuple[int, ...], outputs: tuple[int, ...], *, seed: int, dtype: Any
) -> keras.Layer:
    start = keras.initializers.RandomNormal(0.05, seed)
    layer = keras.layers.Dense(int(np.prod(outputs)), "tanh", kernel_initializer=start)
    ends = [keras.layers.Flatten(), layer, keras.layers.Reshape(outputs)]
    return keras.Sequential([keras.Input(inputs), *ends])


@keras.saving.register_keras_serializable(package="tests")
class Velocity(keras.layers.Layer):
    """A dense network of a class of its own, which is no `keras.Model`."""

    def build(self, input_shape: Any) -> None:
        self.dense = keras.layers.Dense(int(np.prod(SHAPE)), kernel_initializer="zeros")
        self.dense.build((None, int(np.prod(SHAPE)) + input_shape[1][-1]))

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        events, context = inputs
        joined = tf.concat([tf.reshape(events, [-1, int(np.prod(SHAPE))]), context], axis=1)
        return tf.reshape(self.dense(joined), tf.shape(events))


MULTISCALE = {"architecture": "multiscale", "scale_steps": (1, 1), "scale_channels": (2, 2)}
OWN: dict[str, Callable[..., Any]] = {
    "flow": functools.partial(flow, conditioner=small_conditioner),
    "flow-multiscale": functools.partial(flow, conditioner=small_conditioner, **MULTISCALE),
    "flow-matching": lambda **fields: flow_matching(network=Velocity(), **fields),
}


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("name", OWN)
def test_own_networks_train_and_are_saved_and_published(
    name: str, num_classes: int, tmp_path: Path
) -> None:
    model = compiled(OWN[name](num_classes=num_classes, image_shape=SHAPE))
    labels = LABELS if num_classes else None
    model.fit(IMAGES, labels, batch_size=16, verbose=0)
    assert model.networks or name == "flow-matching"
    few = {"labels": LABELS[:3]} if num_classes else {}
    samples, latents = model.sample(3).numpy(), model.encode(IMAGES[:3], **few)
    if name.startswith("flow") and name != "flow-matching":
        back = model.decode(latents, few.get("labels"))
        # The noise may be close to the border of two bytes.
        assert np.abs(np.round(255 * back) - IMAGES[:3]).max() <= 1
    model.save(tmp_path / "own.keras")
    np.testing.assert_array_equal(tfgen.load(tmp_path / "own.keras").sample(3), samples)
    sampler = tfgen.load(export.publish(model, tmp_path, "own"))
    np.testing.assert_allclose(sampler.sample(3), samples, atol=1e-5)


# --- the training flag --------------------------------------------------------------------


def spied_vae(**fields: Any) -> tuple[Any, list[Spy]]:
    spies = [Spy(), Spy()]
    own = {"encoder": network(SHAPE, (6,), spies[0]), "decoder": network((3,), SHAPE, spies[1])}
    return vae(**own, **fields), spies


def spied_gan() -> tuple[Any, list[Spy]]:
    spies = [Spy(), Spy()]
    generator, discriminator = network((3,), SHAPE, spies[0]), network(SHAPE, (1,), spies[1])
    return gan(generator=generator, discriminator=discriminator), spies


SPIED: dict[str, Callable[[], tuple[Any, list[Spy]]]] = {
    "vae": spied_vae,
    "iwae": functools.partial(spied_vae, objective="iwae", importance_samples=2),
    "gan": spied_gan,
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
