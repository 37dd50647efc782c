"""Arrays that tests compute with, and how they compare them."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tfgen import figures


def normal(*shape: int, seed: int = 0) -> tf.Tensor:
    """Standard normal variates, `float32[shape]`."""
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def assert_close(actual: Any, expected: Any, rtol: float) -> None:
    """Asserts equality within `rtol` of the largest entry.

    The smaller entries are sums of terms as large as the largest.
    """
    scale = np.abs(np.asarray(expected, np.float64)).max(initial=0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale)


def shows_grid(picture: Path, grid: np.ndarray) -> bool:
    """Whether a figure shows a grid `uint8[H, W, 1]` somewhere, enlarged by a whole number."""
    pixels = np.asarray(Image.open(picture).convert("L")).astype(int)
    factor = max(1, figures._GRID_SIDE // max(grid.shape))
    block = grid[..., 0].astype(int).repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = block.shape
    places = np.ndindex(pixels.shape[0] - height + 1, pixels.shape[1] - width + 1)
    windows = (pixels[top : top + height, left : left + width] for top, left in places)
    # Colour maps round down. The first row rules out most of the windows.
    return any(
        np.abs(window[0] - block[0]).max() <= 1 and np.abs(window - block).max() <= 1
        for window in windows
    )
