"""Colored MNIST: MNIST's own images, each a mix of two colours that differ in every channel."""

from typing import NamedTuple

import numpy as np
import pytest

from tfgen.data import Dataset, load
from tfgen.data.colored import CONTRAST, colored_mnist

pytestmark = [pytest.mark.quick, pytest.mark.newest]

SPLITS = ("train", "validation", "test")
# A run records the fingerprint, so the version must change whenever the fingerprint does.
FINGERPRINT = "c5010ee854216e81e22b8c586ad4a880c1eead7f961c1c80c998c26723325602"


class Colors(NamedTuple):
    """Colours of images, read off the pixels where the digit's grey value is 0 and 255."""

    background: np.ndarray  # int64[N,3]
    digit: np.ndarray  # int64[N,3]
    rows: np.ndarray  # int64[N], the images that have a pixel of 255


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load()


@pytest.fixture(scope="module")
def colored() -> Dataset:
    return load("colored_mnist")


@pytest.fixture(scope="module")
def colors(mnist: Dataset, colored: Dataset) -> dict[str, Colors]:
    return {name: read_colors(mnist, colored, name) for name in SPLITS}


def read_colors(mnist: Dataset, colored: Dataset, name: str) -> Colors:
    grey = getattr(mnist, name).images.reshape(-1, 784)
    pixels = getattr(colored, name).images.reshape(-1, 784, 3)
    rows = np.flatnonzero(grey.max(axis=1) == 255)
    assert grey[rows].min(axis=1).max() == 0
    background = pixels[rows, grey[rows].argmin(axis=1)].astype(np.int64)
    return Colors(background, pixels[rows, grey[rows].argmax(axis=1)].astype(np.int64), rows)


def test_it_has_the_size_and_the_labels_of_mnist(mnist: Dataset, colored: Dataset) -> None:
    assert (colored.name, colored.version) == ("colored_mnist", "1.0.0")
    assert (colored.image_shape, colored.num_classes) == ((28, 28, 3), 10)
    for name in SPLITS:
        split, source = getattr(colored, name), getattr(mnist, name)
        assert (len(split), split.images.dtype) == (len(source), np.uint8)
        np.testing.assert_array_equal(split.labels, source.labels)


@pytest.mark.parametrize("name", SPLITS)
def test_an_image_mixes_two_colours_by_the_grey_values_of_its_digit(
    mnist: Dataset, colored: Dataset, colors: dict[str, Colors], name: str
) -> None:
    background, digit, rows = colors[name]
    # Nine of ten digits of MNIST have a pixel of 255.
    assert len(rows) > 0.89 * len(getattr(mnist, name))
    rows = rows[:1000]
    grey, images = (getattr(data, name).images[rows] for data in (mnist, colored))
    ends = (background[: len(rows), None, None], digit[: len(rows), None, None])
    expected = ends[0] + np.float32(grey / 255) * np.float32(ends[1] - ends[0])
    # The nearest byte: half a level, and the rounding of float32.
    assert np.abs(images - expected).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("name", SPLITS)
def test_one_colour_is_lighter_in_every_channel(colors: dict[str, Colors], name: str) -> None:
    difference = colors[name].digit - colors[name].background
    assert np.abs(difference).min() == CONTRAST
    lighter = (difference > 0).all(axis=1)
    assert (lighter | (difference < 0).all(axis=1)).all()
    # A fair coin, within four standard errors.
    assert lighter.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(lighter)))


def test_the_colours_have_their_stated_distribution(
    mnist: Dataset, colors: dict[str, Colors]
) -> None:
    background, digit, rows = colors["train"]
    n, levels = len(rows), 256 - CONTRAST
    darker = np.minimum(background, digit)
    for channel in range(3):
        counts = np.bincount(darker[:, channel])
        assert len(counts) == levels
        # Pearson's statistic has χ² of `levels` − 1 degrees of freedom.
        statistic = np.sum((counts - n / levels) ** 2) / (n / levels)
        assert abs(statistic - (levels - 1)) < 4 * np.sqrt(2 * (levels - 1))
    # The lighter colour is uniform in the levels that are left: its place in them has mean ½ and
    # says nothing about the darker one, another channel or the digit.
    place = (np.abs(digit - background) - CONTRAST + 0.5) / (levels - darker)
    np.testing.assert_allclose(place.mean(axis=0), 0.5, atol=4 * np.sqrt(1 / 12 / n))
    columns = np.column_stack([darker, place, mnist.train.labels[rows]])
    np.testing.assert_allclose(np.corrcoef(columns.T), np.eye(7), atol=4.5 / np.sqrt(n))


def test_it_is_the_same_at_every_call(mnist: Dataset, colored: Dataset) -> None:
    # All pixels and labels are in it.
    assert colored_mnist(mnist).fingerprint == colored.fingerprint == FINGERPRINT
