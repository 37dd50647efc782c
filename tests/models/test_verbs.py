"""Every family keeps the promise of a `keras.Model`: each verb works, or is refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import verbs
from tests.told import fails
from tfgen import GAN, VAE, Classifier, Flow
from tfgen.testing import images_of

CONVOLUTIONAL = {"image_shape": (8, 8, 1), "architecture": "convolutional", "channels": 2}
FAMILIES: dict[str, tuple[type, dict[str, Any]]] = {
    "vae": (VAE, {"image_shape": (4, 4, 1), "latent_dim": 2, "hidden": (4,), "ema_decay": 0.9}),
    "vae-convolutional": (VAE, {**CONVOLUTIONAL, "latent_dim": 2, "hidden": (4,)}),
    "gan": (
        GAN,
        {
            **{"image_shape": (4, 4, 1), "latent_dim": 2, "ema_decay": 0.9},
            **{"generator_hidden": (4, 4), "discriminator_hidden": (4, 4)},
        },
    ),
    "gan-convolutional": (GAN, {**CONVOLUTIONAL, "latent_dim": 2, "units": 4, "dropout": 0.3}),
    "flow": (Flow, {"image_shape": (4, 4, 1), "couplings": 2, "hidden": (4,), "ema_decay": 0.9}),
    "flow-multiscale": (
        Flow,
        {
            **{"image_shape": (4, 4, 1), "architecture": "multiscale", "scale_steps": (1,)},
            **{"scale_channels": (2,), "blocks": 1, "components": 2},
        },
    ),
    "classifier": (
        Classifier,
        {"image_shape": (8, 8, 1), "num_classes": 3, "channels": 2, "units": 4},
    ),
}
# Other verbs do not depend on the layers of a model, or test_contracts.py makes the same calls with
# all layers: they are tried with dense ones alone.
DEPENDS_ON_LAYERS = {"compile_jit", "predict", "freeze"}
DENSE = {"vae", "gan", "flow", "classifier"}
CASES = [
    pytest.param(verb, function, family, fields, id=f"{function.__name__}-{name}")
    for group, functions in verbs.VERBS.items()
    for verb, function in functions.items()
    for name, (family, fields) in FAMILIES.items()
    if name in DENSE or function.__name__ in DEPENDS_ON_LAYERS
]


@pytest.mark.newest
@pytest.mark.parametrize(("verb", "function", "family", "fields"), CASES)
def test_a_verb_works_or_is_refused(
    verb: str, function: verbs.Verb, family: type, fields: dict[str, Any], tmp_path: Path
) -> None:
    images = np.array(images_of(fields["image_shape"], 8))
    case = verbs.Case(family, fields, images, tmp_path)
    parts = verbs.REFUSALS.get(verb, {}).get(family)
    if parts is None:
        function(case)
    else:
        fails(lambda: function(case), *parts)
        assert not list(tmp_path.iterdir())
