"""Every family against the same contract. A new family adds one entry."""

from pathlib import Path

import numpy as np
import pytest

from tests import contracts
from tests.conftest import SIDE
from tfgen import VAE

FAMILIES = {
    "vae": lambda image_shape=(SIDE, SIDE, 1), **kwargs: VAE(
        image_shape, latent_dim=3, hidden=(16,), **kwargs
    ),
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
