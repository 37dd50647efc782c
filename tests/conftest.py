"""Fixtures: small images that look like something, a small prepared data set, two short
trainings."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import commands

SIDE = 6


def make_images(n: int, side: int = SIDE, channels: int = 1) -> np.ndarray:
    """Bars of random place and grey: structure that a model can learn, `uint8[n, side, side,
    channels]`."""
    rng = np.random.default_rng(0)
    images = np.zeros((n, side, side, channels), np.uint8)
    for image in images:
        row, grey = rng.integers(side), rng.integers(128, 256)
        if rng.random() < 0.5:
            image[row] = grey
        else:
            image[:, row] = grey
    return images


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Fixes what tfgen leaves to global generators: the order in which `fit` takes arrays."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return make_images(64)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set `tiny`: 400 training and 40 test images of 6 × 6, with labels."""
    from tfgen.data.writing import prepare

    folder = tmp_path_factory.mktemp("data")
    pixels, labels = make_images(440), np.arange(440) % 3
    prepare(
        "tiny",
        {"train": (pixels[:400], labels[:400]), "test": (pixels[400:], labels[400:])},
        folder,
    )
    return folder


@dataclass(frozen=True)
class Trained:
    """What two short trainings on `tiny` left behind.

    Attributes:
        data: the TFDS root with `tiny`.
        runs: the runs `flat`, of 2 latents and 2 epochs, and `deep`, of 20 latents and 1 epoch.
        saved_models: version 2 of `vae-2d-tiny` and of `vae-tiny`.
    """

    data: Path
    runs: Path
    saved_models: Path


@pytest.fixture(scope="session")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    made = Trained(tiny_data, folder / "runs", folder / "saved_models")
    common = [
        "vae",
        "--dataset",
        "tiny",
        "--data-dir",
        str(tiny_data),
        "--saved-models",
        str(made.saved_models),
    ]
    common += ["--hidden", "4", "--batch-size", "64"]
    flat = ["--latent-dim", "2", "--epochs", "2", "--run-dir", str(made.runs / "flat")]
    deep = ["--epochs", "1", "--run-dir", str(made.runs / "deep")]
    assert [commands.main("train", [*common, *flags]) for flags in (flat, deep)] == [0, 0]
    return made
