"""Small models of every family, which the tests of `tests/models` train."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tests.conftest import make_images
from tfgen import GAN, VAE, Classifier, Flow, FlowMatching
from tfgen.random import BatchNoise

SHAPE = (6, 6, 1)
IMAGES = make_images(32)
LABELS = np.arange(32) % 3
GAN_FIELDS = {"latent_dim": 3, "generator_hidden": (8, 8), "discriminator_hidden": (8, 8)}


def vae(**fields: Any) -> VAE:
    return VAE(**{"image_shape": SHAPE, "latent_dim": 3, "hidden": (8,), **fields})


def gan(**fields: Any) -> GAN:
    return GAN(**{"image_shape": SHAPE, **GAN_FIELDS, **fields})


def flow(**fields: Any) -> Flow:
    return Flow(**{"image_shape": SHAPE, "couplings": 2, "hidden": (8,), **fields})


def flow_matching(**fields: Any) -> FlowMatching:
    common = {"image_shape": SHAPE, "architecture": "dense", "hidden": (8,), "steps": 2}
    return FlowMatching(**{**common, **fields})


def classifier(**fields: Any) -> Classifier:
    common = {"image_shape": SHAPE, "num_classes": 3, "channels": 2, "units": 6}
    return Classifier(**{**common, **fields})


FAMILIES: dict[str, Callable[..., Any]] = {
    "vae": vae,
    "gan": gan,
    "flow": flow,
    "flow-matching": flow_matching,
    "classifier": classifier,
}


def noise(seed: int = 0) -> BatchNoise:
    """The noise of a batch."""
    return BatchNoise(tf.constant([seed, 1]))


def compiled(model: Any, **arguments: Any) -> Any:
    """The model, compiled with its default optimizers."""
    model.compile(**{**model.default_optimizers(1e-3), **arguments})
    return model


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    """Whether all arrays are equal, bit for bit."""
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
