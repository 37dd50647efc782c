"""The likelihood of held-out images, of the models that have one."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen import random
from tfgen.evaluation.estimate import mean
from tfgen.evaluation.likelihood import (
    LatentVariables,
    active_units,
    bits_per_dim,
    dequantized_log_prob,
)
from tfgen.evaluation.progress import per_image
from tfgen.evaluation.work import Part, Work
from tfgen.nn import cpu

# Images at once: with importance samples, and where each is one evaluation of a density.
_FEW, _MANY = 16, 250


def likelihood(work: Work) -> dict[str, Any] | None:
    """What the model's own kind of likelihood gives; None where it has none."""
    model = work.subject.model
    return None if model is None or model.density is None else _DENSITIES[model.density](work)


def judging(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function by the weights that judge, and as is fastest without gradients."""

    def judged(*arguments: tf.Tensor) -> Any:
        with cpu.inference(), model.averaged():
            return function(*arguments)

    return judged


def _latent(work: Work) -> dict[str, Any]:
    """ELBO and importance-weighted bound, nats of the events that the model is of."""
    model, options, n = work.subject.model, work.options, work.n
    assert model is not None
    images, labels = work.held_out.images[:n], work.held_out.labels
    posterior = judging(model, model.posterior)
    bounds = LatentVariables(model.prior(), posterior, judging(model, model.likelihood))
    seeds = random.image_seeds(options.seed, n)

    def inputs(part: slice) -> list[tf.Tensor]:
        noise = random.SeedNoise(tf.constant(seeds[part]))
        events = model.preprocessing.events(
            tf.constant(images[part]), noise, model.likelihood_dtype
        )
        if not model.num_classes:
            return [events]
        assert labels is not None
        return [events, model.one_hot(tf.constant(labels[part]))]

    def elbo(part: slice) -> np.ndarray:
        events, *context = inputs(part)
        return bounds.elbo(events, (options.seed, part.start), *context)

    def log_prob(part: slice) -> np.ndarray:
        events, *context = inputs(part)
        return bounds.log_prob(
            events, (options.seed, part.start), options.importance_samples, *context
        )

    with work.phase("ELBO", n) as advance:
        elbos = mean(-per_image(elbo, n, _MANY, None, advance))
        parts = [slice(start, min(start + _MANY, n)) for start in range(0, n, _MANY)]
        means = np.concatenate([posterior(*inputs(part)).mean() for part in parts])
    kept = work.keep("importance", {"importance_samples": options.importance_samples})
    with work.phase(f"likelihood, {options.importance_samples} samples", n) as advance:
        weighted = mean(-per_image(log_prob, n, _FEW, kept, advance))
    return {
        "events": describe_events(model),
        "importance_samples": options.importance_samples,
        "negative_elbo": elbos.value,
        "negative_elbo_error": elbos.error,
        "nll": weighted.value,
        "nll_error": weighted.error,
        "active_units": active_units(means),
        "latents": model.latent_dim,
    }


def describe_events(model: Any) -> str:
    """What a VAE's nats are of: those of other events do not compare."""
    given = ", given the label" if model.num_classes else ""
    return f"{model.config.likelihood}, binarization {model.config.binarization}{given}"


def _exact(work: Work) -> dict[str, Any]:
    """Bits/dim of bytes, by one draw of the dequantization and averaged over several."""
    model, options, n = work.subject.model, work.options, work.n
    assert model is not None
    images, seeds = work.held_out.images[:n], random.image_seeds(options.seed, n)
    compiled = tf.function(judging(model, model.log_prob), autograph=False)

    def log_prob(images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        found: np.ndarray = compiled(tf.constant(images), tf.constant(seeds)).numpy()
        return found

    found: dict[str, Any] = {"events": "bytes", "dequantizations": options.dequantizations}
    for draws, name in ((1, "bits_per_dim_one_draw"), (options.dequantizations, "bits_per_dim")):

        def estimate(part: slice, draws: int = draws) -> np.ndarray:
            return dequantized_log_prob(log_prob, images[part], seeds[part], draws)

        kept = work.keep(name, {"dequantizations": draws})
        with work.phase(name.replace("_", " "), n) as advance:
            nats = per_image(estimate, n, _MANY, kept, advance)
        bits = mean(bits_per_dim(nats, math.prod(images.shape[1:])))
        found |= {name: bits.value, f"{name}_error": bits.error}
    return found


_DENSITIES: dict[str, Part] = {"latent": _latent, "exact": _exact}
