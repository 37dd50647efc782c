"""Random flips and translations of training images."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.errors import refuses
from tfgen.data import on_host, train_batches
from tfgen.data.augmentation import augmentation

N, BATCH, STEPS = 23, 8, 12
BOTH = ("flip", "translate")
# Sides from which nothing, one pixel and several are shifted; odd sides, and sides of one pixel.
SHAPES = [(9, 17, 3), (1, 8, 1), (7, 6, 1)]


def noise(shape: tuple[int, ...], n: int = N) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)


def batches(images: np.ndarray, start: int = 0, steps: int = STEPS, **options: object) -> list:
    arguments = {"batch_size": BATCH, "seed": 7, "start_step": start, **options}
    return list(train_batches(images, **arguments).take(steps).as_numpy_iterator())


def variants(image: np.ndarray, augment: tuple[str, ...]) -> dict[bytes, tuple[bool, int, int]]:
    """What an image may become, and how: flipped or not, shifted down, shifted right."""
    height, width, _ = image.shape
    down, right = (side // 8 if "translate" in augment else 0 for side in (height, width))
    padded = np.pad(image, [(down, down), (right, right), (0, 0)], mode="edge")
    result = {}
    for flip, y, x in itertools.product(
        (False, True) if "flip" in augment else (False,),
        range(-down, down + 1),
        range(-right, right + 1),
    ):
        wide = padded[:, ::-1] if flip else padded
        window = wide[down - y : down - y + height, right - x : right - x + width]
        result[window.tobytes()] = (flip, y, x)
    return result


def draws(
    images: np.ndarray, augment: tuple[str, ...], steps: int = 1, start: int = 0, seed: int = 7
) -> list[tuple[bool, int, int]]:
    """How the images, a batch, are changed at some steps."""
    results, augmented = [], augmentation(augment, seed, images.shape[1:])
    for step in range(start, start + steps):
        changed = augmented(tf.constant(images), tf.constant(step, tf.int64)).numpy()
        for before, after in zip(images, changed, strict=True):
            results.append(variants(before, augment)[after.tobytes()])
    return results


@pytest.mark.parametrize("augment", [("flip",), ("translate",), BOTH])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_becomes_one_of_its_flips_and_shifts(shape, augment):
    seen = set(draws(noise(shape), augment, STEPS))
    flips, down, right = (set(values) for values in zip(*seen, strict=True))
    assert flips == ({False, True} if "flip" in augment and shape[1] > 1 else flips)
    if "translate" in augment:
        assert down == set(range(-(shape[0] // 8), shape[0] // 8 + 1))
        assert right == set(range(-(shape[1] // 8), shape[1] // 8 + 1))


def test_half_of_the_images_are_flipped_and_all_shifts_are_as_frequent():
    drawn = zip(*draws(noise((8, 16, 1), 500), BOTH, steps=4), strict=True)
    for draws_of_one, values in zip(drawn, ((0, 1), (-1, 0, 1), (-2, -1, 0, 1, 2)), strict=True):
        shares = [np.mean(np.equal(draws_of_one, value)) for value in values]
        # Five standard deviations.
        tolerance = 5 / np.sqrt(len(values) * len(draws_of_one))
        np.testing.assert_allclose(shares, 1 / len(values), atol=tolerance)


def test_an_augmentation_does_not_change_the_draws_of_the_others():
    flips, shifts, both = (draws(noise((9, 17, 3)), a) for a in (("flip",), ("translate",), BOTH))
    # A shift to the right is one of the flipped image.
    assert both == [(flip[0], *shift[1:]) for flip, shift in zip(flips, shifts, strict=True)]


def test_a_resumed_run_gets_the_batches_of_the_whole_from_memory_and_from_a_file(tmp_path):
    images, labels = noise((9, 17, 3)), np.arange(N)
    whole = batches(images, labels=labels, augment=BOTH)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for source, start in ((images, 5), (on_host(mapped), 0), (on_host(mapped), 3)):
        part = batches(source, start, STEPS - start, labels=labels, augment=BOTH)
        np.testing.assert_equal(part, whole[start:])


def test_draws_depend_on_seed_and_step():
    images = noise((16, 16, 1), BATCH)
    results = [tuple(draws(images, BOTH, 1, start, seed)) for seed in (0, 1) for start in (0, 1, 9)]
    assert len(set(results)) == len(results)
    # If TensorFlow ever draws other numbers, resumed runs no longer match.
    first = [(False, -1, -1), (True, 1, -1), (True, 0, 2), (False, 1, 1)]
    assert draws(images[:4], BOTH) == first


def test_wrong_names_and_events_that_are_no_images_are_refused():
    for names in (["flop"], "flip"):
        refuses(lambda names=names: batches(noise((4, 4, 1)), augment=names), "flip")
    events = np.zeros((4, 3), np.float32)
    refuses(
        lambda: train_batches(events, batch_size=2, seed=0, augment=["flip"]),
        "augmentation is for images",
    )
    assert len(train_batches(events, batch_size=2, seed=0).element_spec.shape) == 2
