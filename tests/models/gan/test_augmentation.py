"""Differentiable augmentation: what it does to images, its noise, and its gradient."""

import numpy as np
import pytest
import tensorflow as tf

from tests.data.test_augmentation import variants
from tests.models.families import gan, noise
from tfgen.models.gan.augmentation import AUGMENTATIONS, color, cutout, translation
from tfgen.models.gan.model import Round

COUNT = 60
EVENTS = np.random.default_rng(0).uniform(-1, 1, (COUNT, 8, 16, 3))


def stretch(events: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """How far events are from their mean over some axes: their standard deviation."""
    return np.std(events, axis=axes)


def test_translation_moves_pixels_by_up_to_an_eighth_and_repeats_the_edge() -> None:
    moved = translation(tf.constant(EVENTS), noise()).numpy()
    pairs = zip(EVENTS, moved, strict=True)
    shifts = {variants(before, ("translate",))[after.tobytes()] for before, after in pairs}
    # 60 draws out of 15.
    assert len(shifts) > 10


@pytest.mark.parametrize(("background", "dtype"), [(-1, "float32"), (1, "float16")])
def test_translation_keeps_a_flat_background(background: int, dtype: str) -> None:
    events = np.full_like(EVENTS, background)
    events[:, 2:-2, 4:-4] = EVENTS[:, 2:-2, 4:-4]
    inputs = tf.constant(events, dtype)

    @tf.function(jit_compile=True)
    def moved_and_slope() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            moved = translation(inputs, noise())
        return moved, tape.gradient(moved, inputs)

    moved, slope = moved_and_slope()
    assert not np.array_equal(moved, inputs)
    for border in (moved[:, 0], moved[:, -1], moved[:, :, 0], moved[:, :, -1]):
        assert np.all(border == background)
    # Each pixel that is seen comes from one pixel.
    assert slope.numpy().sum(dtype=float) == events.size


def test_a_cutout_is_a_rectangle_of_zeros_of_half_the_sides() -> None:
    cut = cutout(tf.constant(EVENTS), noise()).numpy()
    zero = (cut == 0).all(-1)
    np.testing.assert_array_equal(cut[~zero], EVENTS[~zero])
    for mask in zero:
        rows, columns = mask.any(1), mask.any(0)
        np.testing.assert_array_equal(mask, np.outer(rows, columns))
        # Consecutive, and shorter only where the border of the image cuts it.
        for line, length in ((rows, 4), (columns, 8)):
            where = np.flatnonzero(line)
            assert np.array_equal(where, np.arange(where[0], where[-1] + 1))
            assert len(where) == length or where[0] == 0 or where[-1] == len(line) - 1
            assert length // 2 <= len(where) <= length


def test_color_changes_brightness_saturation_and_contrast_of_each_image() -> None:
    changed = color(tf.constant(EVENTS), noise()).numpy()
    brightness = (changed - EVENTS).mean((1, 2, 3))
    assert -0.5 <= brightness.min() < -0.3
    assert 0.3 < brightness.max() <= 0.5
    contrast = stretch(changed.mean(3), (1, 2)) / stretch(EVENTS.mean(3), (1, 2))
    assert 0.5 <= contrast.min() < 0.7
    assert 1.3 < contrast.max() <= 1.5
    # Each pixel's difference from its grey value is multiplied by one number of the image.
    ratio = (changed - changed.mean(3, keepdims=True)) / (EVENTS - EVENTS.mean(3, keepdims=True))
    np.testing.assert_allclose(ratio, ratio[:, :1, :1, :1].repeat(3, 3) + 0 * ratio, rtol=1e-6)
    saturation = ratio[:, 0, 0, 0] / contrast
    assert 0 <= saturation.min() < 0.3
    assert 1.7 < saturation.max() <= 2
    grey = EVENTS[..., :1]
    ratio = stretch(color(tf.constant(grey), noise()).numpy(), (1, 2, 3)) / stretch(grey, (1, 2, 3))
    np.testing.assert_allclose(ratio, contrast, rtol=1e-6)


def test_only_training_augments() -> None:
    events, names = tf.constant(EVENTS[:4, :, :8], tf.float32), tuple(AUGMENTATIONS)
    plain, augmented = (
        gan(image_shape=(8, 8, 3), dropout=0.0, diff_augment=used) for used in ((), names)
    )
    for training in (False, True):
        game = Round(events, noise(), training=training)
        values = [
            model.game_values(game, events)["real_score"].numpy() for model in (plain, augmented)
        ]
        assert np.array_equal(*values) != training
    # Real and generated events have noise of their own.
    scores = augmented.game_values(game, events)
    assert not np.array_equal(scores["real_score"], scores["fake_score"])
