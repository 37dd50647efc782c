"""The likelihood of held-out images."""

import math
from typing import Any

import numpy as np

from tfgen.evaluation.densities import ExactDensity, LatentDensity
from tfgen.evaluation.estimate import mean
from tfgen.evaluation.job import Job
from tfgen.evaluation.likelihood import active_units, bits_per_dim, dequantized_log_prob
from tfgen.evaluation.progress import per_image
from tfgen.random import image_seeds
from tfgen.settings.model import images_at_once

# Images at a time: with importance samples, and without, for images like MNIST's.
_FEW, _MANY = 16, 250


def measure_likelihood(job: Job) -> dict[str, Any] | None:
    """The likelihood of held-out images, for JSON; None if the model has no density.

    Raises:
        WorkError: a value is not finite.
    """
    density = job.subject.density
    if isinstance(density, LatentDensity):
        return _bounds(job, density)
    if isinstance(density, ExactDensity):
        return _bits_per_dim(job, density)
    return None


def _bounds(job: Job, density: LatentDensity) -> dict[str, Any]:
    """ELBO and importance-weighted bound, in nats; of bytes also in bits/dim."""
    request, n, bounds = job.request, job.n, density.bounds
    images, labels = job.held_out.images, job.held_out.labels
    seeds, many = image_seeds(request.seed, n), images_at_once(_MANY, images.shape[1:])

    def inputs(part: slice) -> list[Any]:
        return density.inputs(images[part], seeds[part], None if labels is None else labels[part])

    def elbo(part: slice) -> np.ndarray:
        events, *context = inputs(part)
        return bounds.elbo(events, (request.seed, part.start), *context)

    def log_prob(part: slice) -> np.ndarray:
        events, *context = inputs(part)
        return bounds.log_prob(
            events, (request.seed, part.start), request.importance_samples, *context
        )

    with job.phase("ELBO", n) as advance:
        negative_elbo = mean(-per_image(elbo, n, many, None, advance))
        parts = [slice(start, min(start + many, n)) for start in range(0, n, many)]
        means = np.concatenate([density.mean(*inputs(part)) for part in parts])
    partial = job.open_partial("importance", {"importance_samples": request.importance_samples})
    with job.phase(f"likelihood, {request.importance_samples} samples", n) as advance:
        nll = mean(-per_image(log_prob, n, _FEW, partial, advance))
    bits: dict[str, Any] = {}
    if density.is_of_bytes:
        dimensions = math.prod(images.shape[1:])
        bits = {
            "bits_per_dim": bits_per_dim(-nll.value, dimensions),
            "bits_per_dim_error": bits_per_dim(-nll.error, dimensions),
        }
    return {
        "events": density.events,
        "importance_samples": request.importance_samples,
        **bits,
        "negative_elbo": negative_elbo.value,
        "negative_elbo_error": negative_elbo.error,
        "nll": nll.value,
        "nll_error": nll.error,
        "active_units": active_units(means),
        "latents": density.latent_dim,
    }


def _bits_per_dim(job: Job, density: ExactDensity) -> dict[str, Any]:
    """Bits/dim with one draw of the dequantization, and averaged over several."""
    request, n = job.request, job.n
    images, labels = job.held_out.images, job.held_out.labels
    seeds, many = image_seeds(request.seed, n), images_at_once(_MANY, images.shape[1:])
    result: dict[str, Any] = {
        "events": density.events,
        "dequantizations": request.dequantizations,
    }
    for draws, name in ((1, "bits_per_dim_one_draw"), (request.dequantizations, "bits_per_dim")):

        def estimate(part: slice, draws: int = draws) -> np.ndarray:
            condition = None if labels is None else labels[part]
            return dequantized_log_prob(
                lambda images, seeds: density.log_prob(images, seeds, condition),
                images[part],
                seeds[part],
                draws,
            )

        partial = job.open_partial(name, {"dequantizations": draws})
        with job.phase(name.replace("_", " "), n) as advance:
            nats = per_image(estimate, n, many, partial, advance)
        bits = mean(bits_per_dim(nats, math.prod(images.shape[1:])))
        result |= {name: bits.value, f"{name}_error": bits.error}
    return result
