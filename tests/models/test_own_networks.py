"""Networks of the caller's own: their shapes and the training flag."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.errors import refuses
from tests.models.families import IMAGES, SHAPE, compiled, gan, vae


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
