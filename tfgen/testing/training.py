"""The contract of every family, as checks that take a constructor; the tests run them on each
family.

`make(seed=..., dtype=..., image_shape=...)` returns a small untrained model; a conditional one gets
labels beside the images wherever it needs them.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tfgen.random import image_seeds

Make = Callable[..., Any]

STEPS = 3


def compiled(make: Make, **kwargs: Any) -> Any:
    model = make(**kwargs)
    model.compile(**model.default_optimizers(1e-3))
    return model


def labels_for(model: Any, n: int) -> np.ndarray | None:
    return np.arange(n) % model.num_classes if model.num_classes else None


def with_labels(model: Any, images: np.ndarray) -> tuple:
    """What `validation_data` takes."""
    return images, labels_for(model, len(images))


def fit(model: Any, images: np.ndarray, epochs: int = 1) -> Any:
    return model.fit(
        *with_labels(model, images), batch_size=16, epochs=epochs, shuffle=False, verbose=0
    )


def evaluate(model: Any, images: np.ndarray) -> Any:
    return model.evaluate(*with_labels(model, images), batch_size=16, verbose=0, return_dict=True)


def outputs(model: Any, images: np.ndarray) -> Any:
    """What the model makes: samples of a generative one, else what it finds in images."""
    if isinstance(model, tfgen.GenerativeModel):
        return model.sample(n=3).numpy()
    return model(images[:3])[1].numpy()


def assert_same(a: Any, b: Any) -> None:
    for before, after in zip(a, b, strict=True):
        np.testing.assert_array_equal(before, after)


def check_samples_are_images(make: Make, images: np.ndarray) -> None:
    model = make()
    samples = model.sample(n=5, seed=3).numpy()
    assert samples.shape == (5, *images.shape[1:])
    assert samples.dtype == np.float32
    assert samples.min() >= 0
    assert samples.max() <= 1


def check_colour_and_size(make: Make, images: np.ndarray) -> None:
    model = compiled(make, image_shape=(8, 4, 3))
    fit(model, np.full((16, 8, 4, 3), 200, np.uint8))
    assert model.sample(n=2).shape == (2, 8, 4, 3)


def check_latents_are_functions_of_their_seed(make: Make, images: np.ndarray) -> None:
    model, seeds = make(), image_seeds(0, 50)
    together = model.latents(seeds).numpy()
    alone = np.concatenate([model.latents(seeds[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(together[:5], alone)
    np.testing.assert_array_equal(together[::-1], model.latents(seeds[::-1]))
    np.testing.assert_array_equal(together, tf.function(model.latents, jit_compile=True)(seeds))
    labels = labels_for(model, len(seeds))
    few = model.decode(together[:3], None if labels is None else labels[:3])
    np.testing.assert_allclose(few, model.decode(together, labels)[:3], atol=1e-5)
    np.testing.assert_array_equal(model.sample(n=9, seed=1)[:4], model.sample(n=9, seed=1)[:4])
    assert not np.array_equal(model.sample(n=4, seed=1), model.sample(n=4, seed=2))


def check_seed_decides_training(make: Make, images: np.ndarray) -> None:
    first, again, other = (compiled(make, seed=seed) for seed in (0, 0, 1))
    for model in (first, again, other):
        fit(model, images)
    assert_same(first.get_weights(), again.get_weights())
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(first.get_weights(), other.get_weights(), strict=True)
    )


def check_noise_changes_with_the_step(make: Make, images: np.ndarray) -> None:
    model = make()
    before = model.training_noise().normal(4, (3,), 1).numpy()
    np.testing.assert_array_equal(before, model.training_noise().normal(4, (3,), 1))
    model.step.assign_add(1)
    assert not np.any(before == model.training_noise().normal(4, (3,), 1).numpy())


def check_metrics_are_weighted_by_examples(make: Make, images: np.ndarray) -> None:
    model = make()
    # Without XLA, which draws other numbers from a seed than the plain kernels do.
    model.compile(**model.default_optimizers(1e-3), jit_compile=False)
    model.reset_metrics()
    # Of 24 and of 8, labels beside them whether they are used or not.
    data = tf.data.Dataset.from_tensor_slices((images[:32], np.arange(32) % 2)).batch(24)
    parts = []
    for batch in data:
        for metric in model.metrics:
            metric.reset_state()
        parts.append({k: float(v) for k, v in model.test_step(batch).items()})
    whole = model.evaluate(data, verbose=0, return_dict=True)
    for name, value in whole.items():
        np.testing.assert_allclose(value, 0.75 * parts[0][name] + 0.25 * parts[1][name], rtol=1e-5)


def check_an_epoch(make: Make, images: np.ndarray) -> None:
    """Every variable learns, all metrics are logged, and evaluation draws the same noise whenever
    it is done.

    One model for all three, since most of the time goes into tracing it.
    """
    model = compiled(make)
    data, weights = with_labels(model, images[:32]), model.get_weights()
    untrained = evaluate(model, images[:32])
    before = [v.numpy() for v in model.trainable_variables]
    history = model.fit(*data, validation_data=data, batch_size=16, verbose=0).history
    # Adam moves a variable only where its gradient was not zero.
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != old), f"{variable.path} got no gradient"
    assert int(model.step) == 2
    names = {metric.name for metric in model.metrics}
    assert set(history) == names | {f"val_{name}" for name in names}
    assert all(np.all(np.isfinite(values)) for values in history.values())
    assert {name for curve in model.curves for name in curve.names} <= names
    model.set_weights(weights)
    assert evaluate(model, images[:32]) == untrained


def check_refuses_floats(make: Make, images: np.ndarray) -> None:
    model = compiled(make)
    with pytest.raises(ValueError, match=r"pass uint8 images of 0…255"):
        fit(model, images.astype(np.float32) / 255)
    with pytest.raises(ValueError, match=r"pass \[B, H, W, C\]"):
        fit(model, images[..., 0])


def check_labels_are_used_or_left_aside(make: Make, images: np.ndarray) -> None:
    plain, labelled = compiled(make), compiled(make)
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros(len(images), np.int64))).batch(16)
    labelled.fit(data, verbose=0)
    if not plain.num_classes:
        # Alike but for the labels: where a batch's size is known, TensorFlow may round otherwise.
        plain.fit(data.map(lambda x, _: x), verbose=0)
        assert_same(plain.get_weights(), labelled.get_weights())
        return
    fit(plain, images)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(plain.get_weights(), labelled.get_weights(), strict=True)
    )
    zero, one = (labelled.sample(n=4, labels=label).numpy() for label in (0, 1))
    assert not np.array_equal(zero, one)
    in_turn = labelled.sample(n=4, labels=[label % labelled.num_classes for label in range(4)])
    np.testing.assert_array_equal(labelled.sample(n=4), in_turn)
    with pytest.raises(ValueError, match=r"in fit as \(images, labels\)"):
        labelled.fit(images, batch_size=16, verbose=0)


def check_precision(make: Make, images: np.ndarray, policy: str) -> None:
    model = compiled(make, dtype=policy)
    fit(model, images)
    wanted = np.float64 if policy == "float64" else np.float32
    assert np.dtype(model.likelihood_dtype) == wanted
    if isinstance(model, tfgen.GenerativeModel):
        assert model.sample(n=2).dtype == tf.float32
    for optimizer in model.optimizers.values():
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        assert scaled == (policy == "mixed_float16")
    assert all(np.all(np.isfinite(w)) for w in model.get_weights())


def check_an_untrained_model_is_saved(make: Make, images: np.ndarray, folder: Path) -> None:
    model = make(seed=5)
    model.save(folder / "untrained.keras")
    loaded = tfgen.load(folder / "untrained.keras")
    assert loaded.optimizers == {}
    np.testing.assert_array_equal(outputs(loaded, images), outputs(model, images))


def check_wrong_labels_are_told(make: Make, images: np.ndarray) -> None:
    model = compiled(make)
    if not model.num_classes:
        return
    for label in (model.num_classes, -1):
        with pytest.raises(ValueError, match=f"not 0…{model.num_classes - 1}"):
            model.sample(n=2, labels=label)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=f"labels must be 0…{model.num_classes - 1}"
        ):
            model.fit(images[:16], np.full(16, label), batch_size=16, verbose=0)
    wide = tf.constant([0, 1], tf.int64)
    np.testing.assert_array_equal(model.sample(n=2, labels=wide), model.sample(n=2, labels=[0, 1]))


def check_config_round_trip(make: Make, images: np.ndarray) -> None:
    model = make(seed=5, dtype="mixed_bfloat16")
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert_same(model.get_weights(), again.get_weights())


_NEXT_STEP = """
import sys, numpy as np, keras, tfgen
model = tfgen.load(sys.argv[1])
data = np.load(sys.argv[2])
made = model.sample(n=3).numpy() if hasattr(model, "sample") else model(data["images"][:3])[1].numpy()
labels = data["labels"] if "labels" in data else None
model.fit(data["images"], labels, batch_size=16, shuffle=False, verbose=0)
slots = [v.numpy() for o in model.optimizers.values() for v in o.variables]
np.savez(sys.argv[3], made, *model.get_weights(), *slots)
"""


def check_saved_model_goes_on_in_a_fresh_process(
    make: Make, images: np.ndarray, folder: Path
) -> None:
    model = compiled(make)
    fit(model, images)
    model.save(folder / "model.keras")
    labels = labels_for(model, len(images))
    np.savez(folder / "data.npz", images=images, **({} if labels is None else {"labels": labels}))
    program = [
        sys.executable,
        "-c",
        _NEXT_STEP,
        *(str(folder / n) for n in ("model.keras", "data.npz", "out.npz")),
    ]
    subprocess.run(program, check=True, capture_output=True, timeout=120)
    made = outputs(model, images)
    fit(model, images)
    slots = [v.numpy() for o in model.optimizers.values() for v in o.variables]
    with np.load(folder / "out.npz") as stored:
        assert_same([made, *model.get_weights(), *slots], [stored[name] for name in stored.files])


def check_keras_callbacks(make: Make, images: np.ndarray, folder: Path) -> None:
    monitor = make().monitor or "val_" + make().curves[0].names[0]
    # Keras knows by itself only of "loss" that it is to be small.
    watched = {"monitor": monitor} if monitor == "val_loss" else {"monitor": monitor, "mode": "min"}
    stop = keras.callbacks.EarlyStopping(patience=1, min_delta=1e9, **watched)
    plateau = keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, min_delta=1e9, **watched)
    best = keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True, **watched)
    board = keras.callbacks.TensorBoard(folder / "logs")
    model = compiled(make)
    callbacks = [stop, plateau, best, board]
    data = with_labels(model, images)
    history = model.fit(
        *data, validation_data=data, batch_size=16, epochs=5, callbacks=callbacks, verbose=0
    )
    assert len(history.history["val_" + monitor.removeprefix("val_")]) == 2, (
        "EarlyStopping did not stop"
    )
    assert list((folder / "logs").rglob("events*")), "TensorBoard wrote nothing"
    # Of a GAN the generator's, as its docstring says.
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 5e-4)
    assert np.all(np.isfinite(outputs(tfgen.load(folder / "best.keras"), images)))


def check_signatures_have_a_batch_first(make: Make, images: np.ndarray) -> None:
    model = make()
    assert next(iter(model.signatures())) == "sample"
    for name, (function, specs) in model.signatures().items():
        assert all(spec.shape[0] is None for spec in specs), name
        for batch in (0, 3):
            arguments = {s.name: tf.zeros([batch, *s.shape[1:]], s.dtype) for s in specs}
            for output in function(**arguments).values():
                assert output.shape[0] == batch, name


def check_exported_sampler_equals_the_model(make: Make, images: np.ndarray, folder: Path) -> None:
    from tfgen.publishing import export

    model = make(dtype="mixed_bfloat16")
    path = export.publish(model, folder, "small", run={}, weights="last")
    assert path == folder / "small" / "2"
    sampler, plain = tfgen.load(path), export.in_float32(model)
    assert sampler.num_classes == model.num_classes
    sizes = (1, 3, 64)
    seeds = image_seeds(0, sum(sizes))
    inputs = {"seed": seeds, "latents": plain.latents(seeds).numpy()}
    inputs["images"] = np.resize(images, (len(seeds), *images.shape[1:]))
    inputs["label"] = np.arange(len(seeds), dtype=np.int32) % 2
    for name, (function, specs) in plain.signatures().items():
        arguments = {spec.name: inputs[spec.name] for spec in specs}
        expected = function(**{k: tf.constant(v) for k, v in arguments.items()})
        together = sampler.call(name, **arguments)
        assert together.keys() == expected.keys()
        starts = np.cumsum((0, *sizes))
        # Requests of other sizes, and of none.
        parts = [
            sampler.call(name, **{k: v[start : start + size] for k, v in arguments.items()})
            for start, size in zip((0, *starts), (0, *sizes), strict=False)
        ]
        for key, value in together.items():
            separate = np.concatenate([part[key] for part in parts])
            assert parts[0][key].shape == (0, *value.shape[1:])
            if name == "latents":
                np.testing.assert_array_equal(value, expected[key])
                np.testing.assert_array_equal(value, separate)
            for other in (expected[key], separate):
                assert_close(value, other)


def assert_close(value: np.ndarray, other: Any) -> None:
    """Equal to float32's sums in another order; but a byte may become its neighbour, once in a
    thousand."""
    difference = np.abs(value - other)
    far = difference > 1e-5 * (1 + np.abs(value))
    if far.any() and value.ndim == 4:
        steps = 255 * value
        whole = np.abs(steps - np.round(steps)).max() < 1e-3
        assert whole and far.mean() < 1e-3 and difference.max() < 1.001 / 255
    else:
        assert not far.any(), difference.max()


# What holds of a model that makes no images as well.
NOT_GENERATIVE = [
    check_an_epoch,
    check_config_round_trip,
    check_metrics_are_weighted_by_examples,
    check_noise_changes_with_the_step,
    check_refuses_floats,
    check_seed_decides_training,
]
NOT_GENERATIVE_WITH_FOLDER = [
    check_an_untrained_model_is_saved,
    check_saved_model_goes_on_in_a_fresh_process,
]
PLAIN = [
    value
    for name, value in sorted(globals().items())
    if name.startswith("check_") and value.__code__.co_argcount == 2
]
WITH_FOLDER = [
    value
    for name, value in sorted(globals().items())
    if name.startswith("check_") and "folder" in value.__code__.co_varnames[:3]
]
