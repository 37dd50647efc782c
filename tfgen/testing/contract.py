"""The checks of the contract, and what they share."""

import functools
import importlib
import inspect
import itertools
import multiprocessing
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tfgen.errors import UsageError
from tfgen.models.export import in_float32
from tfgen.models.generative import SAMPLE_DISTANCE, GenerativeModel
from tfgen.publishing import export
from tfgen.random import image_seeds
from tfgen.settings.fields import hint

# A function of `seed`, `dtype` and `image_shape` that returns an untrained model.
Make: TypeAlias = Callable[..., Any]

# Number of images that a check trains on, and images per step.
IMAGES, BATCH_SIZE = 64, 16


class Check(NamedTuple):
    """A check of the contract.

    Attributes:
        function: its function, whose parameters are among `make`, `images` (`uint8[N, H, W, C]`),
            `folder` (an empty one) and `policy`.
        generative: whether it applies only to models that generate images.
        policy: the dtype policy that the function takes, or None.
    """

    function: Callable[..., None]
    generative: bool = False
    policy: str | None = None

    def run(self, make: Make, folder: Path) -> None:
        """Runs the check on the models that `make` returns, in `folder`.

        An `AssertionError` says what does not hold.
        """
        images = images_of(make().config.image_shape)
        known = {"make": make, "images": images, "folder": folder, "policy": self.policy}
        self.function(**{name: known[name] for name in inspect.signature(self.function).parameters})


# All checks by name.
CHECKS: dict[str, Check] = {}


def check(
    *, generative: bool = False, policies: Collection[str | None] = (None,)
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that adds a function to `CHECKS`, by its name; see `Check`.

    Args:
        generative: whether it applies only to models that generate images.
        policies: dtype policies; each makes a check of its own, whose function takes it.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        for policy in policies:
            name = "-".join(filter(None, [function.__name__, policy]))
            CHECKS[name] = Check(function, generative, policy)
        return function

    return register


def checks(
    make: Make,
    *,
    generative: bool = True,
    only: Collection[str] | None = None,
    skip: Collection[str] = (),
) -> list[Any]:
    """The checks of a family, as arguments of `pytest.mark.parametrize`.

    Args:
        make: the model class, or a function of `seed`, `dtype` and `image_shape` that returns a
            small untrained model.
        generative: whether the models generate images.
        only: names of the checks to run; None: all.
        skip: names of checks to leave out.

    Returns:
        A `pytest.param` for each check, whose value is a function of an empty folder.

    Raises:
        UsageError: a name is unknown.
    """
    for name in (*(only or ()), *skip):
        if name not in CHECKS:
            raise UsageError(f"unknown check {name!r}{hint(name, CHECKS)}")
    return [
        pytest.param(functools.partial(entry.run, make), id=name)
        for name, entry in CHECKS.items()
        if (only is None or name in only)
        and name not in skip
        and (generative or not entry.generative)
    ]


# --- what the checks share ------------------------------------------------------------


@functools.cache
def images_of(shape: tuple[int, ...], n: int = IMAGES) -> np.ndarray:
    """Images of bars, at random positions and with random brightness.

    Args:
        shape: height, width, channels.
        n: number of images.

    Returns:
        `uint8[n, H, W, C]`.
    """
    generator = np.random.default_rng(0)
    images = np.zeros((n, *shape), np.uint8)
    for image in images:
        position, brightness = generator.integers(min(shape[:2])), generator.integers(128, 256)
        rows_first = image if generator.random() < 0.5 else image.swapaxes(0, 1)
        rows_first[position] = brightness
    images.flags.writeable = False  # shared by all checks
    return images


def compiled(make: Make, eagerly: bool = False, **arguments: Any) -> Any:
    """A compiled model of `make(**arguments)`.

    Args:
        make: see `Make`.
        eagerly: whether its steps run without a graph. Tracing a graph takes longer than the few
            steps of a check. Only checks of what a graph may change therefore trace one.
        **arguments: arguments of `make`.
    """
    model = make(**arguments)
    model.compile(**model.default_optimizers(1e-3), run_eagerly=eagerly)
    return model


def labels_of(model: Any, n: int) -> np.ndarray | None:
    """Labels of n images, `int[n]`; None for a model that uses none."""
    return np.arange(n) % model.num_classes if model.num_classes else None


def fit(model: Any, images: np.ndarray, **arguments: Any) -> dict[str, Any]:
    """Trains a compiled model on images in their order; returns the logged values.

    `arguments` are further arguments of `keras.Model.fit`.
    """
    common = {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0, **arguments}
    history: dict[str, Any] = model.fit(images, labels_of(model, len(images)), **common).history
    return history


def outputs_of(model: Any, images: np.ndarray) -> np.ndarray:
    """Samples of a generative model; the last output of any other model."""
    if isinstance(model, GenerativeModel):
        return np.asarray(model.sample(n=3))
    return np.asarray(tf.nest.flatten(model(images[:3]))[-1])


def state_of(model: Any) -> list[np.ndarray]:
    """All weights of a model and all variables of its optimizers."""
    variables = [v for optimizer in model.optimizers.values() for v in optimizer.variables]
    return [*model.get_weights(), *(variable.numpy() for variable in variables)]


def differ(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    """Whether any two arrays differ."""
    return any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# --- images, labels and samples -----------------------------------------------------


@check()
def floats_are_refused(make: Make, images: np.ndarray) -> None:
    """Images that are not `uint8[B, H, W, C]` are an error that says what to pass."""
    model = compiled(make, eagerly=True)
    with pytest.raises(ValueError, match=r"pass uint8 images of 0…255"):
        fit(model, images.astype(np.float32) / 255)
    with pytest.raises(ValueError, match=r"pass \[B, H, W, C\]"):
        fit(model, images[..., 0])


@check()
def images_may_have_colour_and_other_sides(make: Make, images: np.ndarray) -> None:
    """A model of images of another shape trains and samples."""
    shape = (8, 4, 3)
    model = compiled(make, eagerly=True, image_shape=shape)
    fit(model, images_of(shape)[:BATCH_SIZE])
    outputs = outputs_of(model, images_of(shape))
    assert outputs.shape[0] == 3
    assert not isinstance(model, GenerativeModel) or outputs.shape[1:] == shape


@check(generative=True)
def labels_are_used_or_ignored(make: Make, images: np.ndarray) -> None:
    """A conditional model trains on labels and refuses wrong ones; any other ignores them."""
    plain, labelled = compiled(make, eagerly=True), compiled(make, eagerly=True)
    images = images[: 2 * BATCH_SIZE]
    zeros = np.zeros(len(images), np.int64)
    batches = tf.data.Dataset.from_tensor_slices((images, zeros)).batch(BATCH_SIZE)
    labelled.fit(batches, verbose=0)
    if not plain.num_classes:
        # From the same data set, because TensorFlow rounds differently for known batch sizes.
        plain.fit(batches.map(lambda x, _: x), verbose=0)
        np.testing.assert_equal(plain.get_weights(), labelled.get_weights())
        with pytest.raises(ValueError, match="it takes no labels"):
            plain.sample(n=2, labels=0)
        return
    fit(plain, images)
    assert differ(plain.get_weights(), labelled.get_weights()), "labels change no weight"
    with pytest.raises(ValueError, match=r"in fit as \(images, labels\)"):
        labelled.fit(images, batch_size=BATCH_SIZE, verbose=0)
    classes = f"0…{plain.num_classes - 1}"
    for label in (plain.num_classes, -1):
        with pytest.raises(ValueError, match=classes):
            plain.sample(n=2, labels=label)
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=classes):
            plain.fit(images, np.full(len(images), label), batch_size=BATCH_SIZE, verbose=0)


@check(generative=True)
def missing_labels_cycle_through_the_classes(make: Make, images: np.ndarray) -> None:
    """Without labels, image i of a conditional model has the class i mod K."""
    model = make()
    if not model.num_classes:
        return
    n = model.num_classes + 2
    classes, seeds = np.arange(n) % model.num_classes, image_seeds(1, n)
    latents = model.latents(seeds)
    samples, decoded = model.sample(n, seed=1).numpy(), model.decode(latents).numpy()
    assert_close(model.decode(latents, classes), decoded)
    assert_close(model.decode(latents, tf.constant(classes, tf.int64)), decoded)
    assert_close(model.sample(seeds=seeds, labels=classes), samples)
    assert_close(samples, decoded)
    assert_close(model.sample(3, seed=1), samples[:3])
    zeros, ones = (model.decode(latents, label).numpy() for label in (0, 1))
    if np.array_equal(zeros, ones):
        # Layers whose weights start at zero, such as those of a flow, ignore the label at first.
        model.compile(**model.default_optimizers(0.1), run_eagerly=True)
        fit(model, images[: 2 * BATCH_SIZE])
        zeros, ones = (model.decode(latents, label).numpy() for label in (0, 1))
    # A discrete image may be the same for both labels.
    assert np.any(zeros != ones), "images ignore their labels"


@check(generative=True)
def a_sample_is_a_function_of_its_seed(make: Make, images: np.ndarray) -> None:
    """A seed has bit-equal latents in any batch, and images that agree to 1e-5.

    Samples are `float32[n, H, W, C]` in 0…1.
    """
    model, seeds = make(), image_seeds(0, 50)
    together = model.latents(seeds).numpy()
    alone = np.concatenate([model.latents(seeds[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(together[:5], alone)
    np.testing.assert_array_equal(together[::-1], model.latents(seeds[::-1]))
    np.testing.assert_array_equal(together, tf.function(model.latents, jit_compile=True)(seeds))
    labels = labels_of(model, len(seeds))
    few = model.decode(together[:3], None if labels is None else labels[:3])
    assert_close(few, model.decode(together, labels)[:3])
    samples = model.sample(n=4, seed=1).numpy()
    assert samples.dtype == np.float32 and samples.shape == (4, *images.shape[1:])
    assert 0 <= samples.min() <= samples.max() <= 1
    np.testing.assert_array_equal(samples, model.sample(n=4, seed=1))
    assert not np.array_equal(samples, model.sample(n=4, seed=2))


@check(generative=True)
def a_density_is_a_function_of_its_seed(make: Make, images: np.ndarray) -> None:
    """The `log_prob` of a model with a density is finite, and one value for each image.

    It is a function of each image and its own seed, which an exact density need not use, and agrees
    in any batch to 1e-5.
    """
    model = make()
    if model.density is None:
        return
    images, seeds, labels = images[:5], image_seeds(0, 5), labels_of(model, 5)

    def log_prob(seeds: np.ndarray, part: slice = slice(None)) -> np.ndarray:
        context = {} if labels is None else {"labels": labels[part]}
        return np.asarray(model.log_prob(images[part], seeds=seeds[part], **context))

    together = log_prob(seeds)
    assert together.shape == (5,) and np.all(np.isfinite(together))
    alone = np.concatenate([log_prob(seeds, slice(i, i + 1)) for i in range(5)])
    assert_close(alone, together)
    if model.density != "exact":
        assert np.all(together != log_prob(image_seeds(1, 5))), "a density ignores its seed"


# --- saving and publishing ----------------------------------------------------------


@check()
def a_configuration_rebuilds_its_model(make: Make, images: np.ndarray, folder: Path) -> None:
    """`from_config` of `get_config` gives a model with equal weights, and a file an equal model."""
    model = make(seed=5, dtype="mixed_bfloat16")
    rebuilt = type(model).from_config(model.get_config())
    assert rebuilt.get_config() == model.get_config()
    np.testing.assert_equal(rebuilt.get_weights(), model.get_weights())
    model.save(folder / "untrained.keras")
    loaded = tfgen.load(folder / "untrained.keras")
    assert loaded.optimizers == {}
    np.testing.assert_array_equal(outputs_of(loaded, images), outputs_of(model, images))


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
    np.testing.assert_equal([weight.numpy() for weight in model.trainable_variables], expected)
    # Nothing but the optimizer, which stands still here, moves the weights before the first step.
    model.compile(**model.default_optimizers(0.0), run_eagerly=True)
    fit(model, images[:BATCH_SIZE])
    assert int(model.step.numpy()) == 1
    np.testing.assert_equal([weight.numpy() for weight in model.trainable_variables], expected)


@check()
def a_saved_model_trains_on_in_a_fresh_process(
    make: Make, images: np.ndarray, folder: Path
) -> None:
    """A loaded model has the same outputs, and the same weights an epoch later."""
    model = compiled(make)
    fit(model, images)
    model.save(folder / "model.keras")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        trained = fresh.submit(train_on, folder / "model.keras", type(model).__module__, images)
        outputs = outputs_of(model, images)
        fit(model, images)
        np.testing.assert_equal(trained.result(), [outputs, *state_of(model)])


def train_on(path: Path, module: str, images: np.ndarray) -> list[np.ndarray]:
    """Loads a model, whose class is in `module`, trains it on; its first outputs, its state."""
    importlib.import_module(module)
    model = tfgen.load(path)
    outputs = outputs_of(model, images)
    fit(model, images)
    return [outputs, *state_of(model)]


@check(generative=True)
def a_published_version_equals_its_model(make: Make, images: np.ndarray, folder: Path) -> None:
    """Signatures of an export equal the model in float32, in batches of any size, 0 included."""
    model = make(dtype="mixed_bfloat16")
    path = export.publish(model, folder, "small", run={"family": "small"}, weights="last")
    assert path == folder / "small" / "2"
    version, plain = tfgen.load(path), in_float32(model)
    assert version.num_classes == model.num_classes
    assert_close(version.sample(n=4, seed=1), plain.sample(n=4, seed=1))
    assert next(iter(plain.signatures())) == "sample"
    ends, seeds = (0, 0, 1, 4, 68), image_seeds(0, 68)
    rows: dict[str, np.ndarray] = {
        "seed": seeds,
        "latents": plain.latents(seeds).numpy(),
        "images": np.resize(images, (len(seeds), *images.shape[1:])),
        "label": np.arange(len(seeds), dtype=np.int32) % 2,
    }
    for name, (function, specs) in plain.signatures().items():
        assert all(spec.shape[0] is None for spec in specs), f"{name} has no batch first"
        expected = function(**{spec.name: tf.constant(rows[spec.name]) for spec in specs})
        parts = [
            version.call(name, **{spec.name: rows[spec.name][start:end] for spec in specs})
            for start, end in itertools.pairwise(ends)
        ]
        assert parts[0].keys() == expected.keys()
        for key, value in expected.items():
            joined = np.concatenate([part[key] for part in parts])
            if name == "latents":
                np.testing.assert_array_equal(joined, value)
            assert_close(joined, value)


def assert_close(actual: Any, expected: Any) -> None:
    """Asserts equality up to the order of float32's sums.

    Where a model rounds to bytes, it may round a value close to the border of two bytes to either
    of them: of the images, 2 bytes and one in a thousand may differ by 1.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shapes are {actual.shape} and {expected.shape}"
    difference = np.abs(actual - expected)
    is_far = difference > 1e-5 * (1 + np.abs(expected))
    of_bytes = actual.ndim == 4 and np.all(np.abs(255 * actual - np.round(255 * actual)) < 1e-3)
    allowed = 2 + is_far.size // 1000 if of_bytes else 0
    assert np.sum(is_far) <= allowed, f"{np.sum(is_far)} values differ, by {difference.max()}"
    assert np.all(difference[is_far] < 1.001 / 255), "a byte differs by more than 1"


# --- training: weights, noise, metrics, precision, callbacks ------------------------


@check()
def an_epoch_trains_every_weight(make: Make, images: np.ndarray) -> None:
    """Every variable moves, every metric is logged, and evaluation repeats itself.

    The three share a model, because tracing it takes most of the time.
    """
    model, images = compiled(make), images[: 2 * BATCH_SIZE]
    labels = labels_of(model, len(images))
    evaluate = functools.partial(model.evaluate, images, labels, BATCH_SIZE, verbose=0)
    weights, untrained = model.get_weights(), evaluate()
    before = [variable.numpy() for variable in model.trainable_variables]
    history = fit(model, images, validation_data=(images, labels))
    # Adam moves a variable only if its gradient is not zero.
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != value), f"{variable.path} has no gradient"
    assert int(model.step) == 2, f"2 batches made {int(model.step)} steps"
    names = {metric.name for metric in model.metrics}
    assert names == set(model.logged)
    assert set(history) == names | {f"val_{name}" for name in names}
    assert model.monitor in {None, SAMPLE_DISTANCE, *history}, f"{model.monitor} is not logged"
    for name, values in history.items():
        assert np.all(np.isfinite(values)), f"{name} is not finite"
    assert {name for curve in model.curves for name in curve.names} <= names
    model.set_weights(weights)
    assert evaluate() == untrained


@check()
def the_seed_determines_training(make: Make, images: np.ndarray) -> None:
    """Equal seeds give equal weights after training; noise is a function of seed and step."""
    weights = []
    for seed in (0, 0, 1):
        model = compiled(make, eagerly=True, seed=seed)
        fit(model, images[: 2 * BATCH_SIZE])
        weights.append(model.get_weights())
    np.testing.assert_equal(weights[0], weights[1])
    assert differ(weights[0], weights[2]), "seeds 0 and 1 give equal weights"
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
        mean = 0.75 * logs[0][name] + 0.25 * logs[1][name]
        np.testing.assert_allclose(value, mean, rtol=1e-5, atol=1e-5)


@check()
def sample_weights_count(make: Make, images: np.ndarray) -> None:
    """Sample weights change training; a model that logs `loss` does not train on a weight of 0."""

    images = images[: 2 * BATCH_SIZE]

    def trained(weights: np.ndarray | None) -> list[np.ndarray]:
        model = compiled(make, eagerly=True)
        fit(model, images, sample_weight=weights)
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


@check()
def keras_callbacks_work(make: Make, images: np.ndarray, folder: Path) -> None:
    """Keras's callbacks stop, reduce the learning rate, save and log."""
    model = compiled(make)
    # Of the loss, and only of the loss, Keras knows that less is better.
    monitor = "val_" + model.logged[0]
    watched = {"monitor": monitor} if monitor == "val_loss" else {"monitor": monitor, "mode": "min"}
    callbacks = [
        keras.callbacks.EarlyStopping(patience=1, min_delta=1e9, **watched),
        keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, min_delta=1e9, **watched),
        keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True, **watched),
        keras.callbacks.TensorBoard(folder / "logs"),
    ]
    labels = labels_of(model, len(images))
    history = fit(model, images, validation_data=(images, labels), epochs=5, callbacks=callbacks)
    assert len(history[monitor]) == 2, "EarlyStopping did not stop after 2 epochs"
    assert list((folder / "logs").rglob("events*")), "TensorBoard wrote nothing"
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 5e-4)
    assert np.all(np.isfinite(outputs_of(tfgen.load(folder / "best.keras"), images)))
