"""What Keras offers for a model works for every family, or is refused in one line."""

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.errors import refuses
from tests.models.families import FAMILIES, IMAGES, LABELS, compiled, equal

BATCH = 16
OPTIMIZERS: list[Callable[[], keras.optimizers.Optimizer]] = [
    *(keras.optimizers.AdamW, keras.optimizers.Ftrl, keras.optimizers.Lion),
    *(keras.optimizers.Lamb, keras.optimizers.Muon),
    functools.partial(keras.optimizers.Adam, clipnorm=1.0),
    functools.partial(keras.optimizers.Adam, gradient_accumulation_steps=2),
    functools.partial(keras.optimizers.SGD, use_ema=True, ema_momentum=0.5),
]


class Sequence(keras.utils.PyDataset):
    """Batches by index."""

    def __len__(self) -> int:
        return len(IMAGES) // BATCH

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * BATCH, (index + 1) * BATCH)
        return IMAGES[part], LABELS[part]


def eager(name: str) -> Any:
    """A compiled model, whose steps run without a graph, which takes longer to trace."""
    return compiled(FAMILIES[name](), run_eagerly=True)


def weights(model: Any) -> list[np.ndarray]:
    return [np.array(variable.numpy()) for variable in model.trainable_variables]


def trains(model: Any, x: Any = IMAGES, y: Any = LABELS, **arguments: Any) -> dict[str, list]:
    """Asserts that `fit` makes two steps, moves weights and logs finite values."""
    before, step = weights(model), int(model.step)
    size = {"batch_size": BATCH} if y is not None else {}
    history = model.fit(x, y, shuffle=False, verbose=0, **size, **arguments).history
    assert int(model.step) == step + 2
    assert not equal(weights(model), before)
    assert all(np.isfinite(values).all() for values in history.values())
    return history


@pytest.mark.parametrize("name", ["gan", "flow", "classifier"])
def test_data_of_every_kind_trains(name: str) -> None:
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(BATCH)
    trains(eager(name), tf.constant(IMAGES), tf.constant(LABELS))
    trains(eager(name), batches, None)
    trains(eager(name), Sequence(), None)
    model = eager(name)
    if hasattr(model, "adapted"):  # a generator can be read once only
        model.adapt(IMAGES)
    trains(model, (batch for batch in batches), None)
    logs = trains(eager(name), batches.repeat(), None, steps_per_epoch=2, validation_data=batches)
    assert any(key.startswith("val_") for key in logs)
    outputs = tf.nest.flatten(model.predict(IMAGES, verbose=0))
    assert {len(output) for output in outputs} == {len(IMAGES)}
    assert np.isfinite([float(v) for v in model.test_on_batch(IMAGES[:4], LABELS[:4])]).all()


@pytest.mark.slow
def test_optimizers_of_keras_train() -> None:
    model = FAMILIES["gan"]()
    for make in OPTIMIZERS:
        keys = model.default_optimizers(1e-3)
        model.compile(run_eagerly=True, **{key: make() for key in keys})
        trains(model)


@pytest.mark.parametrize("name", FAMILIES)
def test_copies_equal_their_model(name: str) -> None:
    model = eager(name)
    trains(model)
    twin = eager(name)
    twin.set_weights(model.get_weights())
    for copied in (twin, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert equal(weights(copied), weights(model))
    rebuilt = keras.models.model_from_json(model.to_json())
    for other in (keras.models.clone_model(model), rebuilt):
        assert other.get_config() == model.get_config()


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - {"flow-matching"}))  # it has only one
def test_a_frozen_network_stays(name: str) -> None:
    model = FAMILIES[name]()
    network = model.networks[0]
    network.trainable = False
    model.compile(run_eagerly=True, **model.default_optimizers(1e-2))
    frozen = [weight for weight in network.weights if "float" in weight.dtype]
    before = [weight.numpy() for weight in frozen]
    trains(model)
    assert equal([weight.numpy() for weight in frozen], before)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_what_compile_cannot_use_is_refused(name: str) -> None:
    model = FAMILIES[name]()
    refuses(lambda: model.compile(loss="mse"), "trains on its own loss", "without loss=")
    if name in ("gan", "flow", "flow-matching"):
        refuses(lambda: model.compile(metrics=["mse"]), "no targets that metrics= could compare")
