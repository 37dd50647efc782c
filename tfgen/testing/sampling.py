"""Checks of images, labels and samples."""

import numpy as np
import pytest
import tensorflow as tf

from tfgen.models.generative import GenerativeModel
from tfgen.random import image_seeds
from tfgen.testing.contract import (
    BATCH_SIZE,
    Make,
    assert_equal,
    check,
    compiled,
    differ,
    fit,
    images_of,
    labels_of,
    outputs_of,
)


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
    """A conditional model trains on labels; any other model ignores them."""
    plain, labelled = compiled(make, eagerly=True), compiled(make, eagerly=True)
    images = images[: 2 * BATCH_SIZE]
    zeros = np.zeros(len(images), np.int64)
    batches = tf.data.Dataset.from_tensor_slices((images, zeros)).batch(BATCH_SIZE)
    labelled.fit(batches, verbose=0)
    if not plain.num_classes:
        # From the same data set, because TensorFlow rounds differently for known batch sizes.
        plain.fit(batches.map(lambda x, _: x), verbose=0)
        assert_equal(plain.get_weights(), labelled.get_weights())
        with pytest.raises(ValueError, match="it takes no labels"):
            plain.sample(n=2, labels=0)
        return
    fit(plain, images)
    assert differ(plain.get_weights(), labelled.get_weights()), "labels change no weight"
    with pytest.raises(ValueError, match=r"in fit as \(images, labels\)"):
        labelled.fit(images, batch_size=BATCH_SIZE, verbose=0)


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
    np.testing.assert_array_equal(decoded, model.decode(latents, classes))
    np.testing.assert_array_equal(decoded, model.decode(latents, tf.constant(classes, tf.int64)))
    np.testing.assert_array_equal(samples, model.sample(seeds=seeds, labels=classes))
    np.testing.assert_allclose(samples, decoded, atol=1e-6)
    np.testing.assert_allclose(model.sample(3, seed=1), samples[:3], atol=1e-6)
    zeros, ones = (model.decode(latents, label).numpy() for label in (0, 1))
    if np.array_equal(zeros, ones):
        # Layers whose weights start at zero, such as those of a flow, ignore the label at first.
        model.compile(**model.default_optimizers(0.1), run_eagerly=True)
        fit(model, images[: 2 * BATCH_SIZE])
        zeros, ones = (model.decode(latents, label).numpy() for label in (0, 1))
    assert np.all(np.any(zeros != ones, axis=(1, 2, 3))), "an image ignores its label"


@check()
def wrong_labels_are_refused(make: Make, images: np.ndarray) -> None:
    """A label out of range is an error, in sampling and in training."""
    model = compiled(make, eagerly=True)
    if not model.num_classes:
        return
    classes = f"0…{model.num_classes - 1}"
    for label in (model.num_classes, -1):
        if isinstance(model, GenerativeModel):
            with pytest.raises(ValueError, match=classes):
                model.sample(n=2, labels=label)
        wrong = np.full(BATCH_SIZE, label)
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=classes):
            model.fit(images[:BATCH_SIZE], wrong, batch_size=BATCH_SIZE, verbose=0)


@check(generative=True)
def samples_are_images(make: Make, images: np.ndarray) -> None:
    """Samples are `float32[n, H, W, C]` in 0…1."""
    samples = make().sample(n=5, seed=3).numpy()
    assert samples.shape == (5, *images.shape[1:])
    assert samples.dtype == np.float32
    assert samples.min() >= 0
    assert samples.max() <= 1


@check(generative=True)
def a_sample_is_a_function_of_its_seed(make: Make, images: np.ndarray) -> None:
    """A seed has bit-equal latents in any batch, and images that agree to 1e-5."""
    model, seeds = make(), image_seeds(0, 50)
    together = model.latents(seeds).numpy()
    alone = np.concatenate([model.latents(seeds[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(together[:5], alone)
    np.testing.assert_array_equal(together[::-1], model.latents(seeds[::-1]))
    np.testing.assert_array_equal(together, tf.function(model.latents, jit_compile=True)(seeds))
    labels = labels_of(model, len(seeds))
    few = model.decode(together[:3], None if labels is None else labels[:3])
    np.testing.assert_allclose(few, model.decode(together, labels)[:3], atol=1e-5)
    np.testing.assert_array_equal(model.sample(n=9, seed=1)[:4], model.sample(n=9, seed=1)[:4])
    assert not np.array_equal(model.sample(n=4, seed=1), model.sample(n=4, seed=2))


@check(generative=True)
def a_density_is_a_function_of_its_seed(make: Make, images: np.ndarray) -> None:
    """With `density = "exact"`, `log_prob(images, seeds)` is finite and one value for each image.

    It is a function of each image and its own seed, and agrees in any batch to 1e-5.
    """
    model = make()
    if model.density != "exact":
        return
    images, seeds, labels = images[:5], image_seeds(0, 5), labels_of(model, 5)

    def log_prob(seeds: np.ndarray, part: slice = slice(None)) -> np.ndarray:
        context = {} if labels is None else {"labels": labels[part]}
        return np.asarray(model.log_prob(images[part], seeds[part], **context))

    together = log_prob(seeds)
    assert together.shape == (5,)
    assert np.all(np.isfinite(together))
    alone = np.concatenate([log_prob(seeds, slice(i, i + 1)) for i in range(5)])
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    assert np.all(together != log_prob(image_seeds(1, 5))), "a density ignores its seed"
