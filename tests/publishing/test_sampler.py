"""Published versions on this machine."""

from typing import Any

import pytest

from tfgen.publishing.sampler import part_size

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("training", "size"),
    [
        ({"model": {"image_shape": [28, 28, 1]}}, 64),
        ({"model": {"image_shape": [8, 8, 1]}}, 64),
        ({"model": {"image_shape": [56, 28, 2]}}, 16),
        ({"model": {"image_shape": [512, 512, 3]}}, 1),
        ({"model": {"image_shape": "28"}}, 64),
        ({"model": {"hidden": [8]}}, 64),
        ({"model": None}, 64),
        ({}, 64),
    ],
)
def test_a_part_has_fewer_images_if_they_are_large(training: dict[str, Any], size: int) -> None:
    assert part_size(training) == size
