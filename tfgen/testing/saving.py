"""Checks of saving and publishing."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import tfgen
from tfgen.publishing import export
from tfgen.random import image_seeds
from tfgen.testing.contract import (
    BATCH_SIZE,
    Make,
    assert_equal,
    check,
    compiled,
    fit,
    outputs_of,
    state_of,
)


@check()
def a_configuration_rebuilds_its_model(make: Make, images: np.ndarray) -> None:
    """`from_config` of `get_config` gives a model with equal weights."""
    model = make(seed=5, dtype="mixed_bfloat16")
    rebuilt = type(model).from_config(model.get_config())
    assert rebuilt.get_config() == model.get_config()
    assert_equal(rebuilt.get_weights(), model.get_weights())


@check()
def a_model_starts_from_the_weights_of_another(make: Make, images: np.ndarray) -> None:
    """`start_from` takes over the weights with which the other model is evaluated."""
    source, model = make(seed=5), make(seed=6)
    # Where there is an EMA, it stays where it was.
    for weight in source.trainable_variables:
        weight.assign_add(np.full(weight.shape, 0.01))
    model.start_from(source)
    np.testing.assert_array_equal(outputs_of(model, images), outputs_of(source, images))
    with source.averaged():
        expected = [np.asarray(weight.value) for weight in source.trainable_variables]
    assert_equal([weight.numpy() for weight in model.trainable_variables], expected)
    # Nothing but the optimizer, which stands still here, moves the weights before the first step.
    model.compile(**model.default_optimizers(0.0), run_eagerly=True)
    fit(model, images[:BATCH_SIZE])
    assert int(model.step.numpy()) == 1
    assert_equal([weight.numpy() for weight in model.trainable_variables], expected)


@check(needs_folder=True)
def an_untrained_model_is_saved(make: Make, images: np.ndarray, folder: Path) -> None:
    """A model that was never compiled is saved and loaded."""
    model = make(seed=5)
    model.save(folder / "untrained.keras")
    loaded = tfgen.load(folder / "untrained.keras")
    assert loaded.optimizers == {}
    np.testing.assert_array_equal(outputs_of(loaded, images), outputs_of(model, images))


@check(needs_folder=True)
def a_saved_model_trains_on_in_a_fresh_process(
    make: Make, images: np.ndarray, folder: Path
) -> None:
    """A loaded model has the same outputs, and the same weights an epoch later."""
    model = compiled(make)
    fit(model, images)
    model.save(folder / "model.keras")
    np.save(folder / "images.npy", images)
    program = "import sys; from tfgen.testing import saving; saving.train_on(*sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", program, str(folder), type(model).__module__],
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    expected = [outputs_of(model, images)]
    fit(model, images)
    with np.load(folder / "outputs.npz") as stored:
        assert_equal([stored[name] for name in stored.files], [*expected, *state_of(model)])


def train_on(folder: str, module: str) -> None:
    """Loads the model of a folder, trains it on, and writes its outputs and its state.

    Args:
        folder: a folder with `model.keras` and `images.npy`; `outputs.npz` is written to it.
        module: the module of the model's class.
    """
    importlib.import_module(module)
    images = np.load(Path(folder, "images.npy"))
    model = tfgen.load(Path(folder, "model.keras"))
    outputs = outputs_of(model, images)
    fit(model, images)
    np.savez(Path(folder, "outputs.npz"), outputs, *state_of(model))


@check(generative=True)
def signatures_have_the_batch_first(make: Make, images: np.ndarray) -> None:
    """Inputs and outputs of an export have the batch first, which may be empty."""
    signatures = make().signatures()
    assert next(iter(signatures)) == "sample"
    for name, (function, specs) in signatures.items():
        assert all(spec.shape[0] is None for spec in specs), name
        for size in (0, 3):
            inputs = {spec.name: tf.zeros([size, *spec.shape[1:]], spec.dtype) for spec in specs}
            for output in function(**inputs).values():
                assert output.shape[0] == size, name


@check(needs_folder=True, generative=True)
def a_published_version_equals_its_model(make: Make, images: np.ndarray, folder: Path) -> None:
    """Signatures of an export equal the model in float32, in batches of any size."""
    model = make(dtype="mixed_bfloat16")
    path = export.publish(model, folder, "small", run={"family": "small"}, weights="last")
    assert path == folder / "small" / "2"
    version, plain = tfgen.load(path), export.in_float32(model)
    assert version.num_classes == model.num_classes
    _assert_close(version.sample(n=4, seed=1), plain.sample(n=4, seed=1))
    sizes = (0, 1, 3, 64)
    starts, seeds = np.cumsum((0, *sizes[:-1])), image_seeds(0, sum(sizes))
    rows: dict[str, np.ndarray] = {
        "seed": seeds,
        "latents": plain.latents(seeds).numpy(),
        "images": np.resize(images, (len(seeds), *images.shape[1:])),
        "label": np.arange(len(seeds), dtype=np.int32) % 2,
    }
    for name, (function, specs) in plain.signatures().items():
        inputs = {spec.name: rows[spec.name] for spec in specs}
        expected = function(**{key: tf.constant(value) for key, value in inputs.items()})
        outputs = version.call(name, **inputs)
        assert outputs.keys() == expected.keys()
        parts = [
            version.call(name, **{key: rows[start : start + size] for key, rows in inputs.items()})
            for start, size in zip(starts, sizes, strict=True)
        ]
        for key, output in outputs.items():
            joined = np.concatenate([part[key] for part in parts])
            if name == "latents":
                np.testing.assert_array_equal(output, expected[key])
                np.testing.assert_array_equal(output, joined)
            _assert_close(output, expected[key])
            _assert_close(output, joined)


def _assert_close(actual: np.ndarray, expected: Any) -> None:
    """Asserts equality up to the order of float32's sums.

    Images of bytes may differ in one byte of a thousand, by 1.
    """
    difference = np.abs(actual - expected)
    is_far = difference > 1e-5 * (1 + np.abs(actual))
    if is_far.any() and actual.ndim == 4:
        distance_to_byte = np.abs(255 * actual - np.round(255 * actual)).max()
        assert distance_to_byte < 1e-3, f"images differ by {difference.max()}"
        assert is_far.mean() < 1e-3, f"{is_far.mean():.1%} of the bytes differ"
        assert difference.max() < 1.001 / 255, f"a byte differs by {255 * difference.max()}"
    else:
        assert not is_far.any(), f"values differ by {difference.max()}"
