"""Saving and loading: frozen networks under an EMA, early stopping, files in a fresh process."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import commands
from tests.models.families import IMAGES, SHAPE, gan, vae
from tfgen import ImageModel
from tfgen.nn.overrides import all_layers

LAYERS = keras.layers


def encoder(dropout: float = 0.2) -> keras.Model:
    """A functional network with everything that is no trainable weight."""
    inputs = keras.Input(SHAPE)
    hidden = LAYERS.Dense(5, activation="relu")(LAYERS.Flatten()(inputs))
    hidden = LAYERS.Dropout(dropout)(LAYERS.BatchNormalization(momentum=0.5)(hidden))
    return keras.Model(inputs, LAYERS.Dense(6)(hidden))


def trained(model: ImageModel) -> ImageModel:
    """Trains for an epoch of two steps, without graphs, whose tracing would take longer."""
    model.compile(**model.default_optimizers(1e-2), run_eagerly=True)
    model.fit(IMAGES, batch_size=16, shuffle=False, verbose=0)
    return model


def reloaded(model: ImageModel, folder: Path) -> Any:
    model.save(folder / "m.keras")
    return keras.saving.load_model(folder / "m.keras")


# --- EMA and `trainable` ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("frozen", ["before", "after"])
def test_freezing_a_network_loses_no_average(frozen: str, tmp_path: Path) -> None:
    own = encoder(dropout=0.0)  # Keras does not save the state of its generator
    own.trainable = frozen != "before"
    model = trained(vae(encoder=own, ema_decay=0.9))
    if frozen == "after":
        model.encoder.trainable = False
        model.compile(**model.default_optimizers(1e-2), run_eagerly=True)
    loaded = reloaded(model, tmp_path)
    np.testing.assert_array_equal(loaded.encode(IMAGES), model.encode(IMAGES))
    np.testing.assert_array_equal(loaded.sample(3), model.sample(3))
    for network in (model.encoder, loaded.encoder):
        network.trainable = True
    for copy in (model, loaded):  # both train on, with an average of each weight
        trained(copy)
    np.testing.assert_array_equal(loaded.encode(IMAGES), model.encode(IMAGES))


# --- early stopping -------------------------------------------------------------------------


class Worsening(keras.callbacks.Callback):
    """A loss that grows with the epoch, so that the first epoch is the best."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs["growing"] = float(epoch)


@pytest.mark.slow
@pytest.mark.parametrize("make", [vae, gan])
def test_early_stopping_rewinds_weights_and_no_count(make: Any) -> None:
    model = make(ema_decay=0.9)
    model.compile(**model.default_optimizers(1e-2), run_eagerly=True)
    stopping = keras.callbacks.EarlyStopping(
        "growing", patience=2, mode="min", restore_best_weights=True
    )
    model.fit(
        IMAGES, epochs=9, batch_size=16, shuffle=False, verbose=0, callbacks=[Worsening(), stopping]
    )
    assert int(model.step) == 3 * 2
    assert {int(optimizer.iterations) for optimizer in model.optimizers.values()} == {3 * 2}
    dropouts = [part for part in all_layers(model) if hasattr(part, "calls")]
    assert {int(part.calls) for part in dropouts} <= {3 * 2 * 3}  # three passes a step
    first = trained(make(ema_decay=0.9))
    np.testing.assert_array_equal(model.sample(2), first.sample(2))
    np.testing.assert_equal(model.get_weights(), first.get_weights())


# --- files ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_files_open_in_a_fresh_process(tmp_path: Path) -> None:
    """An export runs without tfgen and is in float32; Keras opens a file after `import tfgen`."""
    models: dict[str, Any] = {
        "vae": trained(vae(ema_decay=0.9, dtype="mixed_bfloat16")),
        "gan": gan(num_classes=2),
    }
    for name, model in models.items():
        model.export(tmp_path / name)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", **model.example_inputs(3))
    code = """
import sys, numpy as np, tensorflow as tf
for name in ("vae", "gan"):
    loaded, inputs = tf.saved_model.load(name), dict(np.load(name + ".npz"))
    for signature, function in loaded.signatures.items():
        assert "DT_BFLOAT16" not in str(function.graph.as_graph_def()), signature
        specs = function.structured_input_signature[1]
        outputs = function(**{key: tf.constant(inputs[key]) for key in specs})
        np.savez(f"{name}.{signature}.npz", **{k: v.numpy() for k, v in outputs.items()})
assert not [module for module in sys.modules if module.startswith("tfgen")]
import tfgen, keras
assert "tfgen.models.base" not in sys.modules
for name, family in (("vae", "VAE"), ("gan", "GAN")):
    model = keras.saving.load_model(name + ".keras")
    assert type(model) is getattr(tfgen, family) and len(model.sample(2)) == 2
tfgen.bijectors.Chain  # a submodule needs no import
"""
    result = commands.python(["-c", code], tmp_path)
    assert result.returncode == 0, result.stderr
    for name, model in models.items():
        inputs = dict(np.load(tmp_path / f"{name}.npz"))
        for signature, (function, specs) in model.signatures().items():
            if name == "vae" and signature != "sample":
                continue  # bfloat16 rounds its likelihoods coarsely
            expected = function(**{spec.name: tf.constant(inputs[spec.name]) for spec in specs})
            outputs = np.load(tmp_path / f"{name}.{signature}.npz")
            for key, value in expected.items():
                tolerance = 2e-2 if name == "vae" else 1e-5
                np.testing.assert_allclose(outputs[key], value, rtol=1e-4, atol=tolerance)
