"""Every family against the same contract. A new family adds one entry."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import contracts
from tests.conftest import SIDE
from tfgen import GAN, VAE

SHAPE = (SIDE, SIDE, 1)


def vae(image_shape: tuple[int, ...] = SHAPE, **kwargs: Any) -> VAE:
    return VAE(image_shape, latent_dim=3, hidden=(16,), **kwargs)


def gan(image_shape: tuple[int, ...] = SHAPE, **kwargs: Any) -> GAN:
    widths = {"generator_hidden": (8, 16), "discriminator_hidden": (16, 8)}
    return GAN(image_shape, 3, **widths, **kwargs)


FAMILIES: dict[str, contracts.Make] = {
    "vae": vae,
    "vae-conditional": functools.partial(vae, num_classes=3),
    "gan": gan,
    "gan-conditional": functools.partial(gan, num_classes=3, ema_decay=0.9),
    "gan-penalized": functools.partial(gan, loss="wasserstein", spectral_norm=True),
}


@pytest.fixture(params=FAMILIES)
def make(request: pytest.FixtureRequest) -> contracts.Make:
    return FAMILIES[request.param]


@pytest.mark.parametrize("check", contracts.PLAIN, ids=lambda f: f.__name__)
def test_contract(check: contracts.Make, make: contracts.Make, images: np.ndarray) -> None:
    check(make, images)


@pytest.mark.parametrize("check", contracts.WITH_FOLDER, ids=lambda f: f.__name__)
def test_contract_with_files(
    check: contracts.Make, make: contracts.Make, images: np.ndarray, tmp_path: Path
) -> None:
    check(make, images, tmp_path)


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_bfloat16", "mixed_float16"])
def test_precision(make: contracts.Make, images: np.ndarray, policy: str) -> None:
    contracts.check_precision(make, images, policy)
