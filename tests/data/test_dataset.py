"""Splits, and the fingerprint that tells two data sets apart."""

import numpy as np
import pytest

from tfgen.data.dataset import Split, count_classes, fingerprint

pytestmark = pytest.mark.quick

IMAGES = np.arange(6 * 4 * 3 * 2, dtype=np.uint8).reshape(6, 4, 3, 2)


def test_a_part_of_a_split_has_its_own_labels_and_copies_nothing() -> None:
    split = Split(IMAGES, np.arange(6))
    part = split.take(2, 5)
    assert (len(part), part.image_shape) == (3, (4, 3, 2))
    np.testing.assert_array_equal(part.images, IMAGES[2:5])
    assert part.labels.tolist() == [2, 3, 4]
    assert np.shares_memory(part.images, IMAGES)
    assert Split(IMAGES).take(0, 2).labels is None


def test_classes_are_counted_over_all_splits() -> None:
    assert count_classes([Split(IMAGES, np.zeros(6, int)), Split(IMAGES, np.arange(6))]) == 6
    assert count_classes([Split(IMAGES)]) is None


def test_fingerprint_depends_on_values_not_on_dtype_or_layout() -> None:
    split = Split(IMAGES, np.arange(6))
    same = Split(np.asfortranarray(IMAGES), np.arange(6, dtype=np.int32))
    assert fingerprint([split]) == fingerprint([same])
    swapped = Split(IMAGES, np.arange(6)[::-1])
    assert len({fingerprint([s]) for s in (split, swapped, Split(IMAGES))}) == 3
    assert fingerprint([split.take(0, 3), split.take(3, 6)]) != fingerprint([split])
