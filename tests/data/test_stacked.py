"""Stacked MNIST: every channel a digit of the same split, and the labels say which."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from tests import commands
from tests.told import fails
from tfgen.data import Dataset, Split, load
from tfgen.data.stacked import join_digits, stacked_mnist
from tfgen.data.writing import write_prepared
from tfgen.evaluation.modes import captured_modes

pytestmark = pytest.mark.newest

SPLITS = ("train", "validation", "test")
# A run records the fingerprint, so the version must change whenever the fingerprint does.
FINGERPRINT = "83a8ad31866af8b5fb40a003382be7da2e5ccec7ea41eced500584b4569d3bb5"


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load()


@pytest.fixture(scope="module")
def stacked() -> Dataset:
    return load("stacked_mnist")


def labelled(images: np.ndarray, digits: np.ndarray) -> Counter[tuple[bytes, int]]:
    """How often each image occurs with each digit."""
    pairs = zip(images, digits, strict=True)
    return Counter((image.tobytes(), int(digit)) for image, digit in pairs)


def test_it_has_three_channels_a_thousand_classes_and_as_many_images_as_in_pacgan(
    mnist: Dataset, stacked: Dataset
) -> None:
    assert (stacked.name, stacked.image_shape, stacked.num_classes) == (
        "stacked_mnist",
        (28, 28, 3),
        1000,
    )
    sizes = (128_000, len(mnist.validation), len(mnist.test))
    for name, size in zip(SPLITS, sizes, strict=True):
        split = getattr(stacked, name)
        assert len(split) == len(split.labels) == size
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)


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


def test_the_digits_of_the_training_split_are_drawn_uniformly(
    mnist: Dataset, stacked: Dataset
) -> None:
    n = len(mnist.train)
    for channel in range(3):
        images = stacked.train.images[..., channel]
        counts = np.array(list(Counter(image.tobytes() for image in images).values()))
        squares = np.sum(counts.astype(float) ** 2)
        # Pearson's statistic of all images of MNIST: χ² of n − 1 degrees of freedom.
        statistic = squares * n / len(images) - len(images)
        assert abs(statistic - (n - 1)) < 4 * np.sqrt(2 * (n - 1))


def test_no_image_of_one_split_is_in_another(stacked: Dataset) -> None:
    train, validation, test = (
        {
            image.tobytes()
            for image in np.moveaxis(getattr(stacked, name).images, 3, 1).reshape(-1, 28, 28)
        }
        for name in SPLITS
    )
    assert train.isdisjoint(validation)
    assert train.isdisjoint(test)
    assert validation.isdisjoint(test)


@pytest.mark.parametrize("name", SPLITS)
def test_channels_are_drawn_independently(stacked: Dataset, name: str) -> None:
    table = np.bincount(getattr(stacked, name).labels, minlength=1000).reshape(10, 10, 10)
    margins = [table.sum(axes) for axes in ((1, 2), (0, 2), (0, 1))]
    counts, expected = table.ravel(), np.einsum("a,b,c->abc", *margins).ravel() / table.sum() ** 2
    # Pearson's statistic of a table with its margins: χ² of 1000 − 1 − 3 · 9 degrees of freedom.
    degrees = 1000 - 1 - 3 * 9
    assert abs(np.sum((counts - expected) ** 2 / expected) - degrees) < 4 * np.sqrt(2 * degrees)


def test_classes_of_the_training_split_are_near_equal(mnist: Dataset, stacked: Dataset) -> None:
    counts = np.bincount(stacked.train.labels, minlength=1000)
    # The rarest digit is a 5, the most frequent a 1: 0.0901³ and 0.1136³ of 128 000, by Poisson's
    # spread.
    assert counts.min() > 93.6 - 4 * np.sqrt(93.6)
    assert counts.max() < 187.6 + 4 * np.sqrt(187.6)
    # What the docstring of `captured_modes` says of three independent digits, to its last digit.
    assert 3 * captured_modes(mnist.train.labels, 10).kl == pytest.approx(0.0047, abs=5e-5)


def test_it_is_the_same_at_every_call(mnist: Dataset, stacked: Dataset) -> None:
    # All pixels and labels are in it.
    assert (
        stacked_mnist(mnist).fingerprint == stacked.fingerprint == FINGERPRINT != mnist.fingerprint
    )


def test_first_digit_is_the_highest() -> None:
    # Digits may be bytes, although 901 does not fit into a byte.
    digits = np.array([[9, 0, 1], [0, 0, 0], [0, 4, 2]], np.uint8)
    assert join_digits(digits).tolist() == [901, 0, 42]


def test_one_prepared_under_that_name_is_taken_where_it_is_asked_for(tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), np.uint8)
    folder = write_prepared("stacked_mnist", {"train": Split(images, np.arange(12))}, tmp_path)
    for data_dir in (tmp_path, folder):
        data = load("stacked_mnist", data_dir)
        assert (data.image_shape, data.num_classes) == ((4, 4, 3), 12)


def test_a_folder_without_it_is_told_and_not_made_up_for(tmp_path, monkeypatch) -> None:
    advice = "ask for 'stacked_mnist' without --data-dir"
    fails(lambda: load("stacked_mnist", tmp_path / "none"), f"{tmp_path}/none holds no", advice)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    fails(lambda: load("stacked_mnist:3.0.0"), "holds no 'stacked_mnist:3.0.0'", advice)
    fails(lambda: load("staked_mnist"), "did you mean 'stacked_mnist'")


def test_images_without_labels_are_refused(mnist: Dataset) -> None:
    unlabelled = dataclasses.replace(mnist, train=Split(mnist.train.images))
    fails(lambda: stacked_mnist(unlabelled), "labels")


def test_a_gan_is_made_for_its_three_channels(capfd: pytest.CaptureFixture[str]) -> None:
    assert commands.main("train", ["gan", "--preset", "stacked", "--dry-run"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    rows = {" ".join(line.split()) for line in out.splitlines()}
    assert {"image_shape [28, 28, 3]", "training images 128000, validation 10000"} < rows
