"""Splits, and the fingerprint that tells two data sets apart."""

from pathlib import Path

import numpy as np
import pytest

from tfgen.data.dataset import Split, fingerprint
from tfgen.data.mapped import JoinedRows, blocks
from tfgen.evaluation.coverage import nearest

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


@pytest.mark.parametrize("is_mapped", [False, True])
def test_joined_rows_are_those_of_one_array(is_mapped: bool, tmp_path: Path) -> None:
    ends = ((0, 1), (1, 1), (1, 4), (4, 6))
    np.save(tmp_path / "images.npy", IMAGES)
    source = np.load(tmp_path / "images.npy", mmap_mode="r") if is_mapped else IMAGES
    rows = JoinedRows(*(source[start:stop] for start, stop in ends))
    assert rows.is_mapped == is_mapped
    assert (len(rows), rows.shape, rows.dtype) == (6, IMAGES.shape, IMAGES.dtype)
    assert rows.nbytes == IMAGES.nbytes
    for index in (
        0,
        -1,
        slice(None),
        slice(3, 9),
        [5, 0, 1, 0],
        np.zeros(0, int),
        IMAGES[:, 0, 0, 0] > 9,
    ):
        np.testing.assert_array_equal(rows[index], IMAGES[index])
    np.testing.assert_array_equal(np.asarray(rows), IMAGES)
    np.testing.assert_array_equal(rows.part(2, 99), IMAGES[2:])
    np.testing.assert_array_equal(np.concatenate(list(blocks(rows, 2))), IMAGES)
    images = np.array([IMAGES[4], IMAGES[1]])
    assert nearest(images, rows).indices.tolist() == [4, 1]  # type: ignore[arg-type]


def test_fingerprint_depends_on_values_not_on_dtype_or_layout() -> None:
    split = Split(IMAGES, np.arange(6))
    same = Split(np.asfortranarray(IMAGES), np.arange(6, dtype=np.int32))
    assert fingerprint([split]) == fingerprint([same])
    swapped = Split(IMAGES, np.arange(6)[::-1])
    assert len({fingerprint([s]) for s in (split, swapped, Split(IMAGES))}) == 3
    assert fingerprint([split.take(0, 3), split.take(3, 6)]) != fingerprint([split])
