"""Packs of images before the discriminator: their order, remainder, weights, labels and losses."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import make_images
from tests.models.gan.small import SHAPE, small
from tests.told import fails
from tfgen import GAN
from tfgen.models.gan.augmentation import augment
from tfgen.models.gan.losses import LOSSES
from tfgen.models.gan.model import pack, pack_weights
from tfgen.random import LATENTS, BatchNoise

pytestmark = pytest.mark.newest

RNG = np.random.default_rng(0)
IMAGES = make_images(8)
PACKED_SHAPE = (*SHAPE[:2], 2)


def noise() -> BatchNoise:
    return BatchNoise(tf.constant([0, 1]))


def events(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def members(size: int, count: int) -> list[list[int]]:
    """The images of each pack: they are counted on, and the first ones complete the last pack."""
    packs = -(-size // count)
    return [[(count * index + place) % size for place in range(count)] for index in range(packs)]


def side_by_side(batch: np.ndarray, count: int) -> np.ndarray:
    packs = [[batch[image] for image in images] for images in members(len(batch), count)]
    return np.stack([np.concatenate(images, axis=-1) for images in packs])


def first_of_pack(batch: np.ndarray, count: int) -> np.ndarray:
    """One row of each pack."""
    return batch[::count]


# --- packs ------------------------------------------------------------------------------


@pytest.mark.quick
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [6, 5, 2, 1])
@pytest.mark.parametrize("shape", [(4, 2, 3), (5,)])
def test_a_pack_has_consecutive_images_side_by_side(
    shape: tuple[int, ...], size: int, count: int
) -> None:
    batch = events(size, *shape)
    wanted = side_by_side(batch, count)
    packs = pack(tf.constant(batch), count)
    assert packs.shape == (-(-size // count), *shape[:-1], count * shape[-1])
    np.testing.assert_array_equal(packs, wanted)
    # Where the graph does not know the size of the batch.
    unknown = tf.function(
        lambda batch: pack(batch, count), input_signature=[tf.TensorSpec([None, *shape])]
    )
    np.testing.assert_array_equal(unknown(batch), wanted)


@pytest.mark.quick
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_gradient_of_an_image_is_that_of_all_its_places(jit_compile: bool) -> None:
    upstream, wanted = events(2, 4, 2, 9), np.zeros((5, 4, 2, 3), np.float32)
    for index, images in enumerate(members(5, 3)):  # the first image has two places
        for place, image in enumerate(images):
            wanted[image] += upstream[index, ..., 3 * place : 3 * place + 3]

    @tf.function(jit_compile=jit_compile, input_signature=[tf.TensorSpec([None, 4, 2, 3])])
    def gradient(batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(batch)
            total = tf.reduce_sum(pack(batch, 3) * upstream)
        return tf.convert_to_tensor(tape.gradient(total, batch))

    np.testing.assert_allclose(gradient(events(5, 4, 2, 3)), wanted, rtol=1e-6)


@pytest.mark.quick
def test_the_weight_of_a_pack_counts_its_copies() -> None:
    """Image i occurs wᵢ times: a pack occurs as often as its images in all combinations."""
    weights = np.array([2.0, 3.0, 0.0, 5.0, 4.0], np.float32)
    copies = [np.prod([weights[image] for image in images]) for images in members(5, 2)]
    np.testing.assert_array_equal(pack_weights(tf.constant(weights), 2), copies)
    np.testing.assert_array_equal(pack_weights(tf.constant(weights), 1), weights)


# --- what the discriminator sees --------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class Seen(keras.layers.Layer):
    """Records the inputs of its calls in training."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.inputs: list[np.ndarray] = []

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            self.inputs = [*self.inputs, inputs.numpy()]
        return tf.identity(inputs)


@pytest.mark.quick
def test_a_step_packs_images_of_one_source_after_each_was_augmented() -> None:
    spy = Seen()
    names = ("color", "translation")
    layers = [keras.Input(PACKED_SHAPE), spy, keras.layers.Flatten(), keras.layers.Dense(1)]
    model = small(pack=2, diff_augment=names, discriminator=keras.Sequential(layers))
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0), run_eagerly=True)
    drawn = model.training_noise()
    model.train_on_batch(IMAGES[:5])
    real = model.preprocessing.events(tf.constant(IMAGES[:5]), drawn, "float32")
    latents = drawn.normal(5, (model.latent_dim,), LATENTS, "float32")
    fake = model.generate(latents, training=True)
    assert len(spy.inputs) == 3
    # Of the generator's turn, then of the discriminator's, real ones first.
    for inputs, source, place in zip(spy.inputs, (fake, real, fake), (3, 0, 1), strict=True):
        augmented = augment(source, names, drawn.part(place)).numpy()
        np.testing.assert_allclose(inputs, side_by_side(augmented, 2), atol=1e-6)


@pytest.mark.quick
@pytest.mark.parametrize("loss", LOSSES)
def test_values_of_a_pack_depend_on_its_images_alone(loss: str) -> None:
    """Packs in another order have the same values in that order."""
    order = [2, 0, 3, 1]
    images = np.reshape(np.arange(8), (4, 2))[order].reshape(-1)
    model = small(pack=2, loss=loss, gradient_penalty=0.0)
    real, fake = events(8, *SHAPE), events(8, *SHAPE)
    values, permuted = (
        model.game_values(tf.constant(x), tf.constant(g), None, noise(), training=False)
        for x, g in ((real, fake), (real[images], fake[images]))
    )
    for name, value in values.items():
        assert value.shape == (4,)
        np.testing.assert_allclose(permuted[name], tf.gather(value, order), rtol=1e-5, atol=1e-6)
    # Not so for images that change their places in a pack, or their packs.
    swapped = model.game_values(real[::-1], fake[::-1], None, noise(), training=False)
    assert np.all(np.abs(swapped["real_score"][::-1] - values["real_score"]) > 1e-6)


# --- closed forms -----------------------------------------------------------------------


def linear_gan(**fields: Any) -> tuple[GAN, float]:
    """A GAN of packs of two whose discriminator is ⟨w, (x₁, x₂)⟩, and ‖w‖²."""
    start = keras.initializers.GlorotUniform(seed=0)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer=start)
    layers = [keras.Input(PACKED_SHAPE), keras.layers.Flatten(), dense]
    model = small(pack=2, discriminator=keras.Sequential(layers), **fields)
    return model, float((model.discriminator.get_weights()[0] ** 2).sum())


@pytest.mark.quick
@pytest.mark.parametrize("size", [8, 5])
def test_penalties_are_of_the_gradient_by_all_images_of_a_pack(size: int) -> None:
    real, fake = tf.constant(events(size, *SHAPE)), tf.constant(events(size, *SHAPE))

    def loss(**fields: Any) -> np.ndarray:
        model, _ = linear_gan(**fields)
        values = model.game_values(real, fake, None, noise(), training=False)
        return values["discriminator_loss"].numpy()

    slope, plain = linear_gan()[1], loss()
    assert plain.shape == (-(-size // 2),)
    np.testing.assert_allclose(loss(r1=3.0), plain + 3.0 * slope / 2, rtol=1e-5)
    np.testing.assert_allclose(loss(r1=3.0, r2=0.5), plain + 3.5 * slope / 2, rtol=1e-5)
    unpenalized = loss(loss="wasserstein", gradient_penalty=0.0)
    penalized = loss(loss="wasserstein", gradient_penalty=2.0)
    penalty = 2.0 * (np.sqrt(slope) - 1) ** 2
    np.testing.assert_allclose(penalized, unpenalized + penalty, rtol=1e-5, atol=1e-5)


@pytest.mark.quick
def test_sample_weights_multiply_the_real_term_of_each_pack() -> None:
    model, weights = small(pack=2, dropout=0.0), np.array([2.0, 3.0, 0.0, 5.0, 4.0], np.float32)
    real, fake = tf.constant(events(5, *SHAPE)), tf.constant(events(5, *SHAPE))
    values, weighted = (
        model.game_values(real, fake, None, noise(), training=False, weights=w)
        for w in (None, tf.constant(weights))
    )
    real_term = -np.log(values["real_score"])
    fake_term = values["discriminator_loss"] - real_term
    of_packs = np.array([6.0, 0.0, 8.0])
    wanted = of_packs * real_term + fake_term
    np.testing.assert_allclose(weighted["discriminator_loss"], wanted, rtol=1e-5)
    logs = model._log_game(values, tf.constant(weights), None)
    wanted = np.average(values["real_score"], weights=of_packs)
    np.testing.assert_allclose(logs["real_score"], wanted, rtol=1e-5)
    np.testing.assert_allclose(logs["fake_score"], np.mean(values["fake_score"]), rtol=1e-5)


# --- remainders -------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [2, 3])
def test_logged_values_are_means_over_packs(pack: int) -> None:
    """Batches of 4, 4 and 1 images: the last has fewer images than a pack."""
    model = small(pack=pack, dropout=0.0, loss="relativistic", r1=0.1)
    model.compile(**model.default_optimizers(1e-3))
    images = make_images(9)
    model.fit(images, batch_size=4, shuffle=False, verbose=0)
    assert all(np.all(np.isfinite(weight)) for weight in model.get_weights())
    logs = model.evaluate(images, batch_size=4, verbose=0, return_dict=True)
    sizes = [(4, -(-4 // pack)), (4, -(-4 // pack)), (1, 1)]
    assert {float(m.count.numpy()) for m in model._means.values()} == {sum(n for _, n in sizes)}
    starts = np.cumsum([0, *(size for size, _ in sizes)])
    scores = np.concatenate(
        [
            first_of_pack(model.score(images[start : start + size]).numpy(), pack)
            for start, (size, _) in zip(starts, sizes, strict=False)
        ]
    )
    np.testing.assert_allclose(logs["real_score"], np.mean(scores), rtol=1e-5)


@pytest.mark.quick
def test_an_image_has_the_score_of_its_pack() -> None:
    model = small(pack=2, dropout=0.0)
    scores = model.score(IMAGES[:5]).numpy()
    real = model.preprocessing.likely_events(tf.constant(IMAGES[:5]), "float32")
    logits = model.discriminate(model.pack(real)).numpy()
    np.testing.assert_allclose(scores, np.repeat(1 / (1 + np.exp(-logits)), 2)[:5], rtol=1e-5)
    predicted = model.predict(IMAGES[:5], batch_size=4, verbose=0)
    np.testing.assert_allclose(predicted[:4], scores[:4], rtol=1e-5)


# --- networks and labels ----------------------------------------------------------------


@pytest.mark.quick
@pytest.mark.parametrize("architecture", ["dense", "convolutional", "residual"])
def test_labels_are_packed_like_their_images(architecture: str) -> None:
    fields = {"architecture": architecture, "channels": 2, "units": 4, "dropout": 0.0, "pack": 2}
    real, labels = events(5, *SHAPE), np.array([0, 2, 1, 1, 2])
    packed, one_hot = side_by_side(real, 2), np.eye(3, dtype=np.float32)[labels]
    assert small(**fields).discriminator.input_shape == (None, *PACKED_SHAPE)
    model = small(num_classes=3, **fields)
    channels = np.broadcast_to(side_by_side(one_hot, 2)[:, None, None], (3, *SHAPE[:2], 6))
    inputs = np.concatenate([packed, channels], axis=-1)
    if architecture == "dense":  # whose labels are appended once
        inputs = np.concatenate([packed.reshape(3, -1), side_by_side(one_hot, 2)], axis=-1)
    logits = model.discriminate(*(model.pack(tf.constant(rows)) for rows in (real, one_hot)))
    np.testing.assert_allclose(logits, model.discriminator(inputs)[:, 0], rtol=1e-5)
    model = small(num_classes=3, conditioning="projection", **fields)
    outputs = model.discriminator(packed).numpy()
    assert outputs.shape == (3, 1 + 2 * 3)
    first, second = labels[np.array(members(5, 2)).T]
    rows = np.arange(3)
    wanted = outputs[:, 0] + outputs[rows, 1 + first] + outputs[rows, 1 + 3 + second]
    logits = model.discriminate(*(model.pack(tf.constant(rows)) for rows in (real, one_hot)))
    np.testing.assert_allclose(logits, wanted, rtol=1e-5)


@pytest.mark.quick
def test_a_discriminator_of_ones_own_takes_packs() -> None:
    def build(channels: int) -> GAN:
        layers = [keras.Input((*SHAPE[:2], channels)), keras.layers.Flatten()]
        network = keras.Sequential([*layers, keras.layers.Dense(1)])
        return small(pack=2, num_classes=3, discriminator=network)

    build(2 * (1 + 3))
    fails(lambda: build(1 + 3), "the discriminator must map [B, 6, 6, 8] to [B, 1]")
    fails(lambda: small(pack=0), "pack = 0 is too small")
