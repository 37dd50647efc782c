"""Checks of training: weights, noise, metrics, precision, callbacks."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfgen
from tfgen.models.generative import SAMPLE_DISTANCE, GenerativeModel
from tfgen.testing.contract import (
    BATCH_SIZE,
    Make,
    assert_equal,
    check,
    compiled,
    differ,
    evaluate,
    fit,
    labels_of,
    outputs_of,
)


@check()
def an_epoch_trains_every_weight(make: Make, images: np.ndarray) -> None:
    """Every variable moves, every metric is logged, and evaluation repeats itself.

    The three share a model, because tracing it takes most of the time.
    """
    model, images = compiled(make), images[: 2 * BATCH_SIZE]
    weights, untrained = model.get_weights(), evaluate(model, images)
    before = [variable.numpy() for variable in model.trainable_variables]
    labels = labels_of(model, len(images))
    history = model.fit(
        images, labels, validation_data=(images, labels), batch_size=BATCH_SIZE, verbose=0
    ).history
    # Adam moves a variable only if its gradient is not zero.
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != value), f"{variable.path} has no gradient"
    assert int(model.step) == 2, f"2 batches made {int(model.step)} steps"
    names = {metric.name for metric in model.metrics}
    assert names == set(model.logged)
    assert set(history) == names | {f"val_{name}" for name in names}
    monitors = {None, SAMPLE_DISTANCE, *history}
    assert model.monitor in monitors, f"{model.monitor} is not logged"
    for name, values in history.items():
        assert np.all(np.isfinite(values)), f"{name} is not finite"
    assert {name for curve in model.curves for name in curve.names} <= names
    model.set_weights(weights)
    assert evaluate(model, images) == untrained


@check()
def the_seed_determines_training(make: Make, images: np.ndarray) -> None:
    """Equal seeds give equal weights after training, different seeds do not."""
    weights = []
    for seed in (0, 0, 1):
        model = compiled(make, eagerly=True, seed=seed)
        fit(model, images[: 2 * BATCH_SIZE])
        weights.append(model.get_weights())
    assert_equal(weights[0], weights[1])
    assert differ(weights[0], weights[2]), "seeds 0 and 1 give equal weights"


@check()
def noise_changes_with_the_step(make: Make, images: np.ndarray) -> None:
    """Training noise is a function of the step."""
    model = make()
    noise = model.training_noise().normal(4, (3,), 1).numpy()
    np.testing.assert_array_equal(noise, model.training_noise().normal(4, (3,), 1))
    model.count_step(tf.constant(0.0))
    assert not np.any(noise == model.training_noise().normal(4, (3,), 1).numpy())


@check()
def metrics_are_means_over_images(make: Make, images: np.ndarray) -> None:
    """Metrics weigh each image alike, in batches of 24 and of 8 images."""
    model = compiled(make, eagerly=True)
    model.reset_metrics()
    # With labels, which a model without classes ignores.
    batches = tf.data.Dataset.from_tensor_slices((images[:32], np.arange(32) % 2)).batch(24)
    logs = []
    for batch in batches:
        for metric in model.metrics:
            metric.reset_state()
        logs.append({name: float(value) for name, value in model.test_step(batch).items()})
    for name, value in model.evaluate(batches, verbose=0, return_dict=True).items():
        np.testing.assert_allclose(value, 0.75 * logs[0][name] + 0.25 * logs[1][name], rtol=1e-5)


@check()
def sample_weights_count(make: Make, images: np.ndarray) -> None:
    """Sample weights change training; a model that logs `loss` does not train on a weight of 0."""

    images = images[: 2 * BATCH_SIZE]

    def trained(weights: np.ndarray | None) -> list[np.ndarray]:
        model = compiled(make, eagerly=True)
        model.fit(
            images,
            labels_of(model, len(images)),
            sample_weight=weights,
            batch_size=BATCH_SIZE,
            shuffle=False,
            verbose=0,
        )
        return [variable.numpy() for variable in model.trainable_variables]

    assert differ(trained(np.linspace(0, 2, len(images))), trained(None)), "weights change nothing"
    model = make()
    if "loss" in model.logged and not model.losses:
        before = [variable.numpy() for variable in model.trainable_variables]
        assert not differ(trained(np.zeros(len(images))), before), "a weight of 0 trains"


@check(policies=("float64", "mixed_bfloat16", "mixed_float16"))
def it_trains_in_any_precision(make: Make, images: np.ndarray, policy: str) -> None:
    """It trains under a policy, with likelihoods and samples in float32 or more.

    Only `mixed_float16` scales the losses. The code for this differs between a graph and eager
    steps, so this policy is checked in a graph.
    """
    model = compiled(make, eagerly=policy != "mixed_float16", dtype=policy)
    fit(model, images[: 2 * BATCH_SIZE])
    assert model.likelihood_dtype == ("float64" if policy == "float64" else "float32")
    context = []
    if isinstance(model, GenerativeModel):
        assert model.sample(n=2).dtype == tf.float32
        context = [labels_of(model, 3)] if model.num_classes else []
    for output in tf.nest.flatten(model(images[:3], *context)):
        assert np.all(np.isfinite(output))
    for optimizer in model.optimizers.values():
        is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        assert is_scaled == (policy == "mixed_float16")
    assert all(np.all(np.isfinite(weight)) for weight in model.get_weights())


@check(needs_folder=True)
def keras_callbacks_work(make: Make, images: np.ndarray, folder: Path) -> None:
    """Keras's callbacks stop, reduce the learning rate, save and log."""
    model = compiled(make)
    monitor = model.monitor or SAMPLE_DISTANCE
    if monitor == SAMPLE_DISTANCE:  # no step logs it
        monitor = "val_" + model.curves[0].names[0]
    # Of the loss, and only of the loss, Keras knows that less is better.
    watched = {"monitor": monitor} if monitor == "val_loss" else {"monitor": monitor, "mode": "min"}
    callbacks = [
        keras.callbacks.EarlyStopping(patience=1, min_delta=1e9, **watched),
        keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, min_delta=1e9, **watched),
        keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True, **watched),
        keras.callbacks.TensorBoard(folder / "logs"),
    ]
    labels = labels_of(model, len(images))
    history = model.fit(
        images,
        labels,
        validation_data=(images, labels),
        batch_size=BATCH_SIZE,
        epochs=5,
        callbacks=callbacks,
        verbose=0,
    ).history
    assert len(history[monitor]) == 2, "EarlyStopping did not stop after 2 epochs"
    assert list((folder / "logs").rglob("events*")), "TensorBoard wrote nothing"
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 5e-4)
    assert np.all(np.isfinite(outputs_of(tfgen.load(folder / "best.keras"), images)))
