"""Keras's `use_ema`: at the end of `fit`, both networks get the averages of their weights."""

from typing import Any

import keras
import numpy as np
import pytest

from tests.models.families import IMAGES, gan


def trained(callbacks: Any = None, epochs: int = 2, **optimizer: Any) -> Any:
    model = gan()
    model.compile(
        generator_optimizer=keras.optimizers.Adam(1e-2, **optimizer),
        discriminator_optimizer=keras.optimizers.Adam(1e-2, **optimizer),
    )
    model.fit(IMAGES, batch_size=16, epochs=epochs, callbacks=callbacks, verbose=0)
    return model


def averages(optimizer: Any) -> list[np.ndarray]:
    return [variable.numpy() for variable in optimizer._model_variables_moving_average]


def test_both_networks_end_with_their_averages() -> None:
    seen: list[np.ndarray] = []

    class Last(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen[:] = [v.numpy() for v in self.model.discriminator.trainable_variables]

        def on_train_end(self, logs: Any = None) -> None:
            # Keras overwrites the generator's weights before the callbacks of the caller.
            for v, average in zip(
                self.model.discriminator.trainable_variables,
                averages(self.model.discriminator_optimizer),
                strict=True,
            ):
                np.testing.assert_array_equal(v, average)

    for callbacks in (Last(), [Last()]):
        model = trained(callbacks, use_ema=True, ema_momentum=0.5)
        for network, optimizer in (
            (model.generator, model.generator_optimizer),
            (model.discriminator, model.discriminator_optimizer),
        ):
            for v, average in zip(network.trainable_variables, averages(optimizer), strict=True):
                np.testing.assert_array_equal(v, average)
        assert any(
            np.any(v.numpy() != before)
            for v, before in zip(model.discriminator.trainable_variables, seen, strict=True)
        )


def test_without_a_step_nothing_is_overwritten() -> None:
    model, untrained = trained(epochs=0, use_ema=True), gan()
    for weight, before in zip(model.get_weights(), untrained.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, before)


@pytest.mark.newest
def test_an_overwrite_frequency_applies_to_both_networks() -> None:
    model = trained(use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    for network, optimizer in (
        (model.generator, model.generator_optimizer),
        (model.discriminator, model.discriminator_optimizer),
    ):
        for v, average in zip(network.trainable_variables, averages(optimizer), strict=True):
            np.testing.assert_array_equal(v, average)
