"""Verbs that save, copy, show or freeze a model."""

import copy
import pickle

import keras
import numpy as np
import tensorflow as tf

from tests.models.verbs.case import Case, assert_same, differ


def save_and_load(case: Case) -> None:
    model = case.model()
    case.fit(model)
    model.save(case.folder / "model.keras")
    loaded = keras.saving.load_model(case.folder / "model.keras")
    assert_same(loaded, model)
    for restored in (loaded, model):
        restored.run_eagerly = True
        case.fit(restored)
    assert_same(loaded, model)


def save_weights(case: Case) -> None:
    model, twin = case.model(), case.model()
    case.fit(model)
    model.save_weights(case.folder / "model.weights.h5")
    twin.load_weights(case.folder / "model.weights.h5")
    assert_same(twin, model)


def set_weights(case: Case) -> None:
    model, twin = case.model(), case.model()
    case.fit(model)
    twin.set_weights(model.get_weights())
    assert_same(twin, model)


def export(case: Case) -> None:
    model = case.model()
    model.export(case.folder / "exported", verbose=False)
    signatures = tf.saved_model.load(str(case.folder / "exported")).signatures
    assert set(signatures) == {*model.signatures(), "serving_default"}


def clone_model(case: Case) -> None:
    model = case.model()
    copied = keras.models.clone_model(model)
    assert copied.get_config() == model.get_config()


def from_config(case: Case) -> None:
    model = case.model()
    assert_same(case.family.from_config(model.get_config()), case.family(**case.fields))


def to_json(case: Case) -> None:
    model = case.model()
    assert keras.models.model_from_json(model.to_json()).get_config() == model.get_config()


def pickled(case: Case) -> None:
    model = case.model()
    case.fit(model)
    assert_same(pickle.loads(pickle.dumps(model)), model)


def deep_copied(case: Case) -> None:
    model = case.model()
    case.fit(model)
    assert_same(copy.deepcopy(model), model)


def summary(case: Case) -> None:
    model, lines = case.model(), []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    text = "\n".join(lines)
    assert all(layer.name[:10] in text for network in model.networks for layer in network.layers)


def freeze(case: Case) -> None:
    model = case.model()
    network = model.networks[0]
    network.trainable = False
    model.compile(run_eagerly=True, **model.default_optimizers(1e-2))
    frozen = [np.array(v.numpy()) for v in network.weights if "float" in v.dtype]
    case.trains(model)
    kernels = [v for v in network.weights if "float" in v.dtype]
    assert not differ([np.array(v.numpy()) for v in kernels], frozen)
