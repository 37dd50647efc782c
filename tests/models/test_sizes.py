"""Images of any size: how often they are halved, and models of sizes that fit no multiple of 4."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfgen import VAE, Classifier, Flow, testing
from tfgen.settings.model import halved, halvings

CHECKS = ["an_epoch_trains_every_weight", "a_published_version_equals_its_model"]
CHECKS += ["a_density_is_a_function_of_its_seed"]
# Halved until they are small, its sides are even and odd.
SHAPE = (100, 60, 3)
# Architectures that test_contracts.py trains on images of even sides; for those of a GAN see
# test_residual.py. A flow takes no odd sides, and halves them as often as it can.
MODELS: dict[str, Callable[..., Any]] = {
    "vae-hierarchical": functools.partial(
        VAE,
        architecture="hierarchical",
        **{"channels": 2, "blocks": 0, "levels": 3, "level_channels": 1, "latent_dim": 2},
    ),
    "flow-multiscale": functools.partial(
        Flow, architecture="multiscale", scale_steps=(1, 1), scale_channels=(1, 1), blocks=1
    ),
    "classifier": functools.partial(Classifier, num_classes=3, channels=2, units=4, dropout=0.0),
}


# --- how often ----------------------------------------------------------------------------


def test_sides_are_halved_until_the_longer_one_has_at_most_7_pixels() -> None:
    times = {(28, 28): 2, (32, 32): 3, (37, 37): 3, (64, 64): 4, (100, 60): 4, (4, 7): 1, (1, 1): 1}
    assert {shape: halvings(shape) for shape in times} == times
    for height in range(1, 130):
        shape = (height, 2 * height // 3 + 1, 3)
        sides, number = list(shape[:2]), 0
        while number == 0 or max(sides) > 7:
            sides, number = [(side + 1) // 2 for side in sides], number + 1
        assert (halvings(shape), halved(shape, number)) == (number, tuple(sides))
    assert halved((5, 9), 0) == (5, 9)


# --- the models ---------------------------------------------------------------------------


CASES = [
    pytest.param(*case.values, id=f"{case.id}-{name}")
    for name, make in MODELS.items()
    for case in testing.checks(
        functools.partial(make, image_shape=SHAPE), generative=name != "classifier", only=CHECKS
    )
]


@pytest.mark.slow
@pytest.mark.parametrize("check", CASES)
def test_a_model_of_that_size_keeps_the_contract(
    check: Callable[[Path], None], tmp_path: Path
) -> None:
    check(tmp_path)
