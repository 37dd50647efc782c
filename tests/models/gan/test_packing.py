"""Packs of images before the discriminator: their order, remainder, weights, labels and losses."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import make_images
from tests.models.families import SHAPE, gan, noise
from tfgen.models.gan.augmentation import augment
from tfgen.models.gan.model import Round, pack, pack_weights
from tfgen.random import LATENTS

RNG = np.random.default_rng(0)
IMAGES = make_images(8)
PACKED_SHAPE = (*SHAPE[:2], 2)


def events(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def members(size: int, count: int) -> list[list[int]]:
    """The images of each pack: they are counted on, and the first ones complete the last pack."""
    packs = -(-size // count)
    return [[(count * index + place) % size for place in range(count)] for index in range(packs)]


def side_by_side(batch: np.ndarray, count: int) -> np.ndarray:
    packs = [[batch[image] for image in images] for images in members(len(batch), count)]
    return np.stack([np.concatenate(images, axis=-1) for images in packs])


# --- packs ------------------------------------------------------------------------------


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


def test_a_step_packs_images_of_one_source_after_each_was_augmented() -> None:
    spy = Seen()
    names = ("color", "translation")
    layers = [keras.Input(PACKED_SHAPE), spy, keras.layers.Flatten(), keras.layers.Dense(1)]
    model = gan(pack=2, diff_augment=names, discriminator=keras.Sequential(layers))
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


# --- closed forms -----------------------------------------------------------------------


def test_sample_weights_multiply_the_real_term_of_each_pack() -> None:
    model = gan(pack=2, dropout=0.0)
    weights = pack_weights(tf.constant([2.0, 3.0, 0.0, 5.0, 4.0]), 2)
    real, fake = tf.constant(events(5, *SHAPE)), tf.constant(events(5, *SHAPE))
    values, weighted = (
        model.game_values(Round(real, noise(), weights=w), fake) for w in (None, weights)
    )
    real_term = -np.log(values["real_score"])
    fake_term = values["discriminator_loss"] - real_term
    of_packs = np.array([6.0, 0.0, 8.0])
    wanted = of_packs * real_term + fake_term
    np.testing.assert_allclose(weighted["discriminator_loss"], wanted, rtol=1e-5)
    logs = model._log_values(Round(real, noise(), weights=weights), **values)
    wanted = np.average(values["real_score"], weights=of_packs)
    np.testing.assert_allclose(logs["real_score"], wanted, rtol=1e-5)
    np.testing.assert_allclose(logs["fake_score"], np.mean(values["fake_score"]), rtol=1e-5)


# --- remainders -------------------------------------------------------------------------


def test_an_image_has_the_score_of_its_pack() -> None:
    model = gan(pack=2, dropout=0.0)
    scores = model.score(IMAGES[:5]).numpy()
    real = model.preprocessing.likely_events(tf.constant(IMAGES[:5]), "float32")
    logits = model.discriminate(model.pack(real)).numpy()
    np.testing.assert_allclose(scores, np.repeat(1 / (1 + np.exp(-logits)), 2)[:5], rtol=1e-5)
    predicted = model.predict(IMAGES[:5], batch_size=4, verbose=0)
    np.testing.assert_allclose(predicted[:4], scores[:4], rtol=1e-5)
