"""Splits, and the fingerprint that tells two data sets apart."""

from pathlib import Path

import numpy as np
import pytest

from tfgen.data.dataset import Dataset, Split, fingerprint
from tfgen.data.mapped import blocks
from tfgen.evaluation.coverage import nearest

IMAGES = np.arange(6 * 4 * 3 * 2, dtype=np.uint8).reshape(6, 4, 3, 2)


@pytest.mark.parametrize("is_mapped", [False, True])
def test_blocks_have_all_rows_in_order(is_mapped: bool, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    source = np.load(tmp_path / "images.npy", mmap_mode="r") if is_mapped else IMAGES
    for size in (None, 1, 4, 9):
        np.testing.assert_array_equal(np.concatenate(list(blocks(source[1:], size))), IMAGES[1:])
    images = np.array([IMAGES[4], IMAGES[1]])
    assert nearest(images, source).indices.tolist() == [4, 1]


def test_fingerprint_depends_on_values_not_on_dtype_or_layout() -> None:
    split = Split(IMAGES, np.arange(6))
    same = Split(np.asfortranarray(IMAGES), np.arange(6, dtype=np.int32))
    assert fingerprint([split]) == fingerprint([same])
    swapped = Split(IMAGES, np.arange(6)[::-1])
    assert len({fingerprint([s]) for s in (split, swapped, Split(IMAGES))}) == 3
    assert fingerprint([split.take(0, 3), split.take(3, 6)]) != fingerprint([split])


def test_the_background_is_the_brightness_of_the_border() -> None:
    images = np.zeros((900, 5, 4, 3), np.uint8)
    images[:, 1:-1, 1:-1] = 77
    # Sorted, as by class: a quarter has a white border.
    images[:225, [0, -1]] = images[:225, :, [0, -1]] = 255
    splits = [Split(images)] * 3
    data = Dataset("x", "1.0.0", *splits, num_classes=None, fingerprint="")
    assert data.to_json()["background"] == pytest.approx(0.25, abs=0.01)
