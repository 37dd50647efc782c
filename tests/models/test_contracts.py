"""Every family against the same contract. A new family adds one entry."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfgen import testing as contracts
from tests.conftest import SIDE
from tfgen import GAN, VAE, Flow

SHAPE = (SIDE, SIDE, 1)


def vae(image_shape: tuple[int, ...] = SHAPE, **kwargs: Any) -> VAE:
    return VAE(image_shape, latent_dim=3, hidden=(16,), **kwargs)


def convolutional_vae(image_shape: tuple[int, ...] = (8, 8, 1), **kwargs: Any) -> VAE:
    """Conditional, with all that the presets have: importance weights, warm-up, an average."""
    trained = {"objective": "iwae", "importance_samples": 2, "kl_warmup_steps": 3, "ema_decay": 0.9}
    config = {"latent_dim": 3, "hidden": (4,), "channels": 2, "num_classes": 3, **trained}
    return VAE(image_shape, architecture="convolutional", **config, **kwargs)


def gan(image_shape: tuple[int, ...] = SHAPE, **kwargs: Any) -> GAN:
    widths = {"generator_hidden": (8, 16), "discriminator_hidden": (16, 8)}
    return GAN(image_shape, 3, **widths, **kwargs)


def flow(image_shape: tuple[int, ...] = SHAPE, **kwargs: Any) -> Flow:
    return Flow(image_shape, couplings=2, hidden=(8,), **kwargs)


def convolutional_gan(image_shape: tuple[int, ...] = (8, 8, 1), **kwargs: Any) -> GAN:
    """Conditional, with an average: all that `dcgan` has and more."""
    config = {"channels": 2, "units": 4, "num_classes": 3, "ema_decay": 0.9, "dropout": 0.3}
    config["discriminator_batch_norm"] = True
    return GAN(image_shape, 3, architecture="convolutional", **config, **kwargs)


def multiscale_flow(image_shape: tuple[int, ...] = (8, 8, 1), **kwargs: Any) -> Flow:
    """Of two scales, with all that `multiscale` has."""
    scales = {
        "architecture": "multiscale",
        "scale_steps": (1, 1),
        "scale_channels": (2, 2),
        "blocks": 1,
    }
    learned = {"components": 2, "dequantization": "variational", "ema_decay": 0.9}
    return Flow(image_shape, **scales, **learned, **kwargs)


FAMILIES: dict[str, contracts.Make] = {
    "vae": vae,
    "vae-conditional": functools.partial(vae, num_classes=3),
    "vae-convolutional": convolutional_vae,
    "gan": gan,
    "gan-conditional": functools.partial(gan, num_classes=3, ema_decay=0.9),
    "gan-penalized": functools.partial(gan, loss="wasserstein", spectral_norm=True),
    "gan-convolutional": convolutional_gan,
    "flow": flow,
    "flow-multiscale": multiscale_flow,
}
# One of each with all that its family has: they alone are saved and gone on with in another
# process.
FULL = ("vae-convolutional", "gan-convolutional", "flow-multiscale")
# One of each that is quickly traced: they alone train several times over, or with callbacks.
DENSE = ("vae", "gan", "flow")
# Run with the lowest versions too, with which the shipped versions are opened besides.
LOWEST = ("vae", "gan-convolutional", "flow")
# What is done with labels does not depend on layers: the quick ones, and all that take labels.
LABELLED = (*DENSE, "vae-conditional", "vae-convolutional", "gan-conditional", "gan-convolutional")
# Of a variant that differs from another in one thing, what that thing may break.
LABELS = [
    contracts.check_an_epoch,
    contracts.check_config_round_trip,
    contracts.check_labels_are_used_or_left_aside,
]
TRAINING = [
    contracts.check_an_epoch,
    contracts.check_config_round_trip,
    contracts.check_metrics_are_weighted_by_examples,
]
ONLY = {"vae-conditional": LABELS, "gan-conditional": LABELS, "gan-penalized": TRAINING}


def concerns(check: Any, family: str) -> bool:
    """Whether a check is run on a family."""
    if check is contracts.check_saved_model_goes_on_in_a_fresh_process:
        return family in FULL
    if check is contracts.check_labels_are_used_or_left_aside:
        return family in LABELLED
    if check in (contracts.check_seed_decides_training, contracts.check_keras_callbacks):
        return family in DENSE
    return check in ONLY.get(family, [check])


def on_families(checks: list, families: Iterable[str] = FAMILIES) -> Any:
    """Each check on each family that it concerns."""
    cases = [
        pytest.param(
            check,
            family,
            id=f"{getattr(check, '__name__', check)}-{family}",
            marks=() if family in LOWEST else pytest.mark.newest,
        )
        for check in checks
        for family in families
        if isinstance(check, str) or concerns(check, family)
    ]
    return pytest.mark.parametrize(("check", "make"), cases, indirect=["make"])


@pytest.fixture
def make(request: pytest.FixtureRequest) -> contracts.Make:
    return FAMILIES[request.param]


@pytest.fixture
def images(make: contracts.Make, images: np.ndarray) -> np.ndarray:
    """Of the size that the family's models take."""
    border = (make().config.image_shape[0] - SIDE) // 2
    return np.pad(images, [(0, 0), (border, border), (border, border), (0, 0)])


@on_families(contracts.PLAIN)
def test_contract(check: contracts.Make, make: contracts.Make, images: np.ndarray) -> None:
    check(make, images)


@on_families(contracts.WITH_FOLDER)
def test_contract_with_files(
    check: contracts.Make, make: contracts.Make, images: np.ndarray, tmp_path: Path
) -> None:
    check(make, images, tmp_path)


@on_families(["float64", "mixed_bfloat16", "mixed_float16"], DENSE)
def test_precision(check: str, make: contracts.Make, images: np.ndarray) -> None:
    contracts.check_precision(make, images, check)


@on_families(["mixed_bfloat16"], FULL)
def test_precision_of_all_that_a_family_has(
    check: str, make: contracts.Make, images: np.ndarray
) -> None:
    contracts.check_precision(make, images, check)


# A scaled loss and the gradient of a gradient.
@on_families(["mixed_float16"], ["gan-penalized"])
def test_precision_of_a_penalty(check: str, make: contracts.Make, images: np.ndarray) -> None:
    contracts.check_precision(make, images, check)
