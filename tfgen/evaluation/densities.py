"""What the likelihood estimators need from a model; the only module that asks it.

`GenerativeModel` documents what a family offers: `density`, and by it `log_prob`, or `prior`,
`posterior` and `likelihood`, or `posterior` and `importance_weighted`; `averaged`, `one_hot`,
`preprocessing` and `describe_events`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from tfgen import random
from tfgen.evaluation.likelihood import (
    PAIRS,
    AncestralLatents,
    Bounds,
    LatentVariables,
)
from tfgen.models.generative import BYTES, GenerativeModel
from tfgen.nn import cpu
from tfgen.settings.model import images_at_once


@dataclass(frozen=True)
class LatentDensity:
    """p(x) = ∫ p(x|z) p(z) dz, of which there are bounds.

    Attributes:
        bounds: estimators of log p(x).
        mean: the mean of q(z|x), `[B, D]`, of what `inputs` returns.
        inputs: of images `uint8[B, H, W, C]`, seeds of their noise `int32[B]` and labels `int[B]`
            or None: the events `[B, *event_shape]`, of a conditional model also one-hot labels
            `[B, K]`.
        latent_dim: length of z.
        events: what the events are, in words.
        is_of_bytes: whether p(x) is a probability of bytes, which bits/dim are of.
    """

    bounds: Bounds
    mean: Callable[..., tf.Tensor]
    inputs: Callable[[np.ndarray, np.ndarray, np.ndarray | None], list[tf.Tensor]]
    latent_dim: int
    events: str
    is_of_bytes: bool = False


@dataclass(frozen=True)
class ExactDensity:
    """A density of images that can be computed.

    Attributes:
        log_prob: log p(x) in nats, `[B]`, of images `uint8[B, H, W, C]`, seeds of their noise
            `int32[B]` and labels `int[B]` or None.
        events: what the density is of, in words.
    """

    log_prob: Callable[[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]
    events: str


Density: TypeAlias = LatentDensity | ExactDensity


def density_of(model: GenerativeModel) -> Density | None:
    """The density of a model, with the EMA weights; None if it has none."""
    if model.density in ("latent", "ancestral"):
        return _latent(model)
    if model.density == "exact":
        return _exact(model)
    return None


def _latent(model: Any) -> LatentDensity:
    posterior = _with_ema_weights(model, model.posterior)
    pairs = images_at_once(PAIRS, model.config.image_shape)
    if model.density == "ancestral":
        bounds: Bounds = AncestralLatents(
            _with_ema_weights(model, model.importance_weighted), pairs
        )
    else:
        likelihood = _with_ema_weights(model, model.likelihood)
        bounds = LatentVariables(model.prior(), posterior, likelihood, pairs)

    def inputs(images: np.ndarray, seeds: np.ndarray, labels: np.ndarray | None) -> list[tf.Tensor]:
        noise = random.SeedNoise(tf.constant(seeds))
        events = model.preprocessing.events(tf.constant(images), noise, model.likelihood_dtype)
        if not model.num_classes:
            return [events]
        return [events, model.one_hot(tf.constant(labels))]

    return LatentDensity(
        bounds,
        # A hierarchical posterior computes its mean only here, and needs the EMA weights for it.
        _with_ema_weights(model, lambda *inputs: model.posterior(*inputs).mean()),
        inputs,
        model.latent_dim,
        _events_in_words(model),
        is_of_bytes=model.describe_events() == BYTES,
    )


def _exact(model: Any) -> ExactDensity:
    compiled = tf.function(_with_ema_weights(model, model.log_prob), autograph=False)

    def log_prob(images: np.ndarray, seeds: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        condition = {"labels": tf.constant(labels)} if model.num_classes else {}
        values: np.ndarray = compiled(tf.constant(images), tf.constant(seeds), **condition).numpy()
        return values

    return ExactDensity(log_prob, _events_in_words(model))


def _with_ema_weights(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the EMA weights, at full speed without gradients."""

    def with_ema_weights(*arguments: tf.Tensor, **keywords: tf.Tensor) -> Any:
        with cpu.inference(), model.averaged():
            return function(*arguments, **keywords)

    return with_ema_weights


def _events_in_words(model: Any) -> str:
    condition = ", given the label" if model.num_classes else ""
    return f"{model.describe_events()}{condition}"
