"""Sample weights and class weights: in the loss, in what is logged, in every family."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.families import FAMILIES, IMAGES, LABELS, compiled, equal, flow, gan, vae
from tfgen import Identity

WEIGHTS = np.linspace(0, 2, len(IMAGES)).astype(np.float32)


def fitted(model: Any, **arguments: Any) -> list[np.ndarray]:
    """The trainable weights after an epoch of two batches."""
    common = {"batch_size": 16, "shuffle": False, "verbose": 0}
    model.fit(IMAGES, LABELS, **common, **arguments)
    return [variable.numpy() for variable in model.trainable_variables]


@pytest.mark.slow
def test_weights_count_and_those_of_one_change_nothing() -> None:
    def trained(**arguments: Any) -> list[np.ndarray]:
        return fitted(compiled(vae(), run_eagerly=True), **arguments)

    plain = trained()
    assert equal(trained(sample_weight=np.ones(len(IMAGES))), plain)
    weighted = trained(sample_weight=WEIGHTS)
    assert not equal(weighted, plain)
    by_class = {0: 0.0, 1: 1.0, 2: 3.0}
    of_labels = np.float32([by_class[label] for label in LABELS])
    assert equal(trained(class_weight=by_class), trained(sample_weight=of_labels))


def test_images_without_labels_have_weights() -> None:
    logs = []
    for labels in (LABELS, None):
        model = compiled(gan(), run_eagerly=True)
        held_out = (IMAGES, labels, WEIGHTS)
        common = {"batch_size": 16, "shuffle": False, "verbose": 0, "validation_data": held_out}
        logs.append(model.fit(IMAGES, labels, sample_weight=WEIGHTS, **common).history)
        by_name = {"verbose": 0, "return_dict": True, "sample_weight": WEIGHTS}
        for name, value in model.evaluate(IMAGES, labels, 16, **by_name).items():
            assert logs[-1][f"val_{name}"] == [value]
    assert logs[0] == logs[1]


def test_a_step_descends_the_weighted_sum_over_the_batch_size() -> None:
    points = np.random.default_rng(0).normal(size=(8, 2))
    weights = tf.constant(WEIGHTS[:8], tf.float64)
    model = flow(image_shape=(2,), preprocessing=Identity(), dtype="float64")
    model.compile(keras.optimizers.SGD(1.0))
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(-weights * model.event_log_prob(points)) / 8
    expected = [v - g for v, g in zip(variables, tape.gradient(loss, variables), strict=True)]
    model.train_on_batch(points, sample_weight=WEIGHTS[:8])
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_logged_values_are_weighted_means(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled(FAMILIES[name](), run_eagerly=True)
    values: dict[str, np.ndarray] = {}
    accumulate = type(model).accumulate

    def record(self: Any, weights: Any = None, /, **batch: tf.Tensor) -> None:
        values.update({key: value.numpy() for key, value in batch.items()})
        accumulate(self, weights, **batch)

    monkeypatch.setattr(type(model), "accumulate", record)
    for step in (model.test_on_batch, model.train_on_batch):
        model.reset_metrics()  # some versions of Keras do so themselves
        logs = step(IMAGES, LABELS, sample_weight=WEIGHTS, return_dict=True)
        assert set(logs) == set(values) == set(model.logged)
        for key, value in values.items():
            weights = WEIGHTS if name != "gan" or key == "real_score" else None
            np.testing.assert_allclose(logs[key], np.average(value, weights=weights), rtol=1e-5)


def test_weights_of_a_gan_multiply_the_term_of_real_images() -> None:
    for loss in ("hinge", "non_saturating", "wasserstein"):
        model = gan(loss=loss, gradient_penalty=0.0)
        game = model._round(IMAGES, model.training_noise(), training=False)
        fake = model._draw(game)

        def losses(weights: Any, game: Any = game, model: Any = model, fake: Any = fake) -> Any:
            values = model.game_values(game._replace(weights=weights), fake)
            return values["discriminator_loss"].numpy()

        none, ones, halves = (losses(w) for w in (tf.zeros(32), None, tf.fill([32], 0.5)))
        np.testing.assert_allclose(halves, (none + ones) / 2, rtol=1e-5, atol=1e-6)
        # Without the term of real images, it is a function of the generated ones.
        turned = losses(tf.zeros(32), game._replace(real=game.real[::-1]))
        np.testing.assert_allclose(turned, none, rtol=1e-5, atol=1e-6)
