"""Colored MNIST and stacked MNIST: what their images and labels are made of."""

from collections import Counter

import numpy as np
import pytest

from tests.errors import refuses
from tfgen.data import Dataset, Split, load
from tfgen.data.derived import CONTRAST
from tfgen.data.writing import write_prepared

# Stacked MNIST has 300 MB of pixels.
pytestmark = pytest.mark.slow

SPLITS = ("train", "validation", "test")
# A run records the fingerprint, so the version must change whenever the fingerprint does.
FINGERPRINTS = {
    "colored_mnist": "c5010ee854216e81e22b8c586ad4a880c1eead7f961c1c80c998c26723325602",
    "stacked_mnist": "83a8ad31866af8b5fb40a003382be7da2e5ccec7ea41eced500584b4569d3bb5",
}


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load()


@pytest.fixture(scope="module")
def colored() -> Dataset:
    return load("colored_mnist")


@pytest.fixture(scope="module")
def stacked() -> Dataset:
    return load("stacked_mnist")


def test_pixels_and_labels_never_change(colored: Dataset, stacked: Dataset) -> None:
    for data in (colored, stacked):
        assert data.fingerprint == FINGERPRINTS[data.name]
    assert (colored.version, colored.image_shape, colored.num_classes) == ("1.0.0", (28, 28, 3), 10)
    assert (stacked.version, stacked.num_classes, len(stacked.train)) == ("2.0.0", 1000, 128_000)


@pytest.mark.parametrize("name", SPLITS)
def test_a_coloured_image_mixes_two_colours_by_the_grey_values_of_its_digit(
    mnist: Dataset, colored: Dataset, name: str
) -> None:
    split, source = getattr(colored, name), getattr(mnist, name)
    np.testing.assert_array_equal(split.labels, source.labels)
    grey = source.images.reshape(-1, 784)
    rows = np.flatnonzero(grey.max(axis=1) == 255)[:1000]
    grey, pixels = grey[rows], split.images.reshape(-1, 784, 3)[rows].astype(int)
    extremes = grey.argmin(axis=1), grey.argmax(axis=1)
    background, digit = (pixels[np.arange(len(rows)), places][:, None] for places in extremes)
    expected = background + np.float32(grey / 255)[..., None] * (digit - background)
    # The nearest byte: half a level, and the rounding of float32.
    assert np.abs(pixels - expected).max() <= 0.5 + 1e-4
    difference = (digit - background)[:, 0]
    assert np.abs(difference).min() >= CONTRAST
    lighter = (difference > 0).all(axis=1)
    assert (lighter | (difference < 0).all(axis=1)).all()
    # A fair coin, within four standard errors.
    assert lighter.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(rows)))


def labelled(images: np.ndarray, digits: np.ndarray) -> Counter[tuple[bytes, int]]:
    """How often each image occurs with each digit."""
    pairs = zip(images, digits, strict=True)
    return Counter((image.tobytes(), int(digit)) for image, digit in pairs)


@pytest.mark.parametrize("name", SPLITS)
def test_each_channel_holds_the_images_of_the_split_as_the_digit_that_the_label_says(
    mnist: Dataset, stacked: Dataset, name: str
) -> None:
    split, source = getattr(stacked, name), getattr(mnist, name)
    once = labelled(source.images, source.labels)
    for channel, unit in enumerate((100, 10, 1)):
        counts = labelled(split.images[..., channel], split.labels // unit % 10)
        if name == "train":
            assert counts.keys() <= once.keys()
        else:
            assert counts == once


def test_one_prepared_under_that_name_is_taken_where_it_is_asked_for(tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), np.uint8)
    write_prepared("stacked_mnist", {"train": Split(images, np.arange(12))}, tmp_path)
    assert load("stacked_mnist", tmp_path).image_shape == (4, 4, 3)
    refuses(lambda: load("stacked_mnist", tmp_path / "none"), "neither ")
