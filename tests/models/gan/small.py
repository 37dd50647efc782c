"""A small GAN, and what the tests compare of it."""

from typing import Any

import numpy as np

from tfgen import GAN

SHAPE = (6, 6, 1)


def small(**arguments: Any) -> GAN:
    common = {"latent_dim": 3, "generator_hidden": (8, 8), "discriminator_hidden": (8, 8)}
    return GAN(**{"image_shape": SHAPE, **common, **arguments})


def values(variables: Any) -> list[np.ndarray]:
    return [v.numpy() for v in variables]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
