"""Fixtures: small images that look like something, and a small prepared data set."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from pathlib import Path

import numpy as np
import pytest

SIDE = 6


def make_images(n: int, side: int = SIDE, channels: int = 1) -> np.ndarray:
    """Bars of random place and grey: structure that a model can learn, `uint8[n, side, side, channels]`."""
    rng = np.random.default_rng(0)
    images = np.zeros((n, side, side, channels), np.uint8)
    for image in images:
        row, grey = rng.integers(side), rng.integers(128, 256)
        if rng.random() < 0.5:
            image[row] = grey
        else:
            image[:, row] = grey
    return images


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return make_images(64)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set `tiny`: 400 training and 40 test images of 6 × 6, with labels."""
    from tfgen.data.prepare import prepare

    folder = tmp_path_factory.mktemp("data")
    pixels, labels = make_images(440), np.arange(440) % 3
    prepare("tiny", {"train": (pixels[:400], labels[:400]), "test": (pixels[400:], labels[400:])}, folder)
    return folder
