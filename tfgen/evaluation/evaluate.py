"""One evaluation: samples with floor and ceiling, likelihood, cost."""

import base64
import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tfgen.data import Dataset, Split
from tfgen.errors import UsageError
from tfgen.evaluation.coverage import nearest
from tfgen.evaluation.distances import mean
from tfgen.evaluation.features import Extractor
from tfgen.evaluation.job import (
    DEFAULT_N,
    Advance,
    EvaluationRequest,
    PartialValues,
    per_image,
    phase,
)
from tfgen.evaluation.likelihood import active_units, bits_per_dim, dequantized_log_prob
from tfgen.evaluation.metrics import sample_metrics
from tfgen.evaluation.modes import captured_modes, expected_modes
from tfgen.evaluation.reading import FORMAT, UNDECIDING_OPTIONS
from tfgen.evaluation.shards import ShardSummary
from tfgen.evaluation.subject import ExactDensity, LatentDensity, Subject
from tfgen.figures import image_grid, png_bytes
from tfgen.random import image_seeds
from tfgen.settings.model import images_at_once
from tfgen.settings.training import TrainingOptions
from tfgen.system import machine

# Samples in the picture that an evaluation holds, and those nearest to a training image.
PICTURED, NEAREST = 64, 8
# Share of held-out images that are as near to a training image as a copy would be.
_COPIES = 0.01
# Images at a time: with importance samples, and without, for images like MNIST's.
_FEW, _MANY = 16, 250
# With more modes than these, modes are counted on samples of their own, so many per mode (Lin et
# al. 2018).
MANY_MODES, SAMPLES_PER_MODE = 100, 26
# What two evaluations must share for one to take over parts of the other.
SHARED = ("format", "weights_sha256", "dataset", "n", "evaluation_seed")


@dataclass(frozen=True)
class Job:
    """One evaluation under way.

    Attributes:
        subject: what is evaluated.
        dataset: its held-out images are the reference.
        request: what is measured.
        partial_path: beginning of the paths of the files with intermediate values, without an
            extension.
        console: where progress is shown.
        partial_values: these files, to be removed once the result is written.
    """

    subject: Subject
    dataset: Dataset
    request: EvaluationRequest
    partial_path: Path
    console: Console
    partial_values: list[PartialValues] = field(default_factory=list)

    @property
    def held_out(self) -> Split:
        """The first n images of the split that the request names."""
        split: Split = getattr(self.dataset, self.request.split)
        return split.take(0, self.n)

    @property
    def trained_on(self) -> Split:
        """The images among which copies are searched: those that the model was trained on."""
        return self.subject.training_split(self.dataset)

    @property
    def n(self) -> int:
        """Number of samples, and of held-out images.

        Raises:
            UsageError: the split has fewer images.
        """
        split, size = self.request.split, len(getattr(self.dataset, self.request.split))
        if self.subject.n is not None:
            return self.subject.n
        n = min(DEFAULT_N, size) if self.request.n is None else self.request.n
        if n > size:
            raise UsageError(f"n = {n} is too large; the {split} split has {size} images")
        return n

    def open_partial(self, name: str, settings: dict[str, Any]) -> PartialValues:
        """The file for an estimate's intermediate values.

        Args:
            name: of the estimate.
            settings: what decides the values, besides the weights and the data.
        """
        key = {
            "weights": self.subject.weights_sha256,
            "data": [self.dataset.fingerprint, self.request.split, self.n],
            "seed": self.request.seed,
            **settings,
        }
        path = self.partial_path.with_name(f"{self.partial_path.name}-{name}.npz")
        self.partial_values.append(PartialValues(path, key))
        return self.partial_values[-1]

    def phase(
        self, name: str, total: int, has_rate: bool = False
    ) -> contextlib.AbstractContextManager[Advance]:
        """See `phase`."""
        return phase(self.console, name, total, has_rate)


def evaluate(job: Job, extractor: Extractor | None, likelihood: bool = True) -> dict[str, Any]:
    """Evaluate a model, or images.

    Args:
        job: model or images, data set and request.
        extractor: of features, for the metrics of samples; None leaves the samples out.
        likelihood: whether the likelihood is estimated, if the model has one.

    Returns:
        What evaluation.json holds: `samples`, the same metrics of real images as `floor` and of
        noise as `ceiling`, `likelihood`, `cost`, and what decides them. Images have neither
        likelihood nor cost; `images` says what became of their files. Shards have `all_images`, the
        metrics that are computed of more than the n images.

    Raises:
        UsageError: there are too few images, or the extractor cannot take them.
        WorkError: a pixel, a feature or a likelihood is not finite, or a shard is damaged.
    """
    start, shape = time.perf_counter(), job.dataset.image_shape
    if extractor is not None:
        extractor.check_images(shape)
        extractor.check_count(job.n, shape)
    result = describe(job)
    cost = dict(job.subject.cost)
    if extractor is not None:
        samples, rate = _evaluate_samples(job, extractor)
        result |= samples
        cost |= {"images_a_second": round(rate, 1)} if rate else {}
    if likelihood and (measured := measure_likelihood(job)) is not None:
        result["likelihood"] = measured
    if job.subject.kind == "images":
        result["images"] = job.subject.reading
    else:
        result["cost"] = cost
    return {**result, "minutes": round((time.perf_counter() - start) / 60, 2)}


def describe(job: Job) -> dict[str, Any]:
    """What decides an evaluation's metrics, apart from the features."""
    subject, run = job.subject, job.subject.run
    options = run.get("options", {})
    # Runs of earlier versions also hold options of the command, which decide nothing.
    names = {option.name for option in dataclasses.fields(TrainingOptions)} - UNDECIDING_OPTIONS
    deciding = {name: value for name, value in options.items() if name in names}
    return {
        "format": FORMAT,
        "title": subject.title,
        "family": run.get("family"),
        "preset": options.get("preset"),
        "seed": options.get("seed"),
        "settings": {"model": run.get("model", {}), "options": deciding},
        "weights": subject.weights,
        "weights_sha256": subject.weights_sha256,
        "train_on": subject.train_on,
        "dataset": {
            "name": job.dataset.name,
            "fingerprint": job.dataset.fingerprint,
            "split": job.request.split,
        },
        "n": job.n,
        "evaluation_seed": job.request.seed,
        "machine": machine.describe(),
    }


def merge(previous: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """The result, with missing parts taken over from a previous evaluation.

    Nothing is taken over unless both are of the same weights, images and seed.
    """
    if not result["weights_sha256"]:
        return result
    if any(previous.get(name) != result.get(name) for name in SHARED):
        return result
    # Metrics of samples belong to their features, so they are taken over as a whole.
    likelihood = {name: value for name, value in previous.items() if name == "likelihood"}
    taken = likelihood if "samples" in result else previous
    if "cost" not in result:
        return {**taken, **result}
    return {**taken, **result, "cost": {**previous.get("cost", {}), **result["cost"]}}


def _evaluate_samples(job: Job, extractor: Extractor) -> tuple[dict[str, Any], float]:
    """Metrics of samples, of as many real images, and of noise; samples per second."""
    n, shape = job.n, job.dataset.image_shape
    num_modes = extractor.num_modes(shape)
    held_out = job.held_out
    floor_split, floor = _floor(job)
    sets, summary = {"floor": floor, "ceiling": noise(n, shape)}, None
    if job.subject.indices is not None:
        summary, rate = ShardSummary(job.subject, extractor), 0.0
        available = job.subject.reading["available"]
        with job.phase("shards", available, has_rate=True) as advance:
            summary.read(advance)
        samples = summary.images
    else:
        with job.phase("samples", n) as advance:
            samples, rate = job.subject.samples(n, job.request.seed, held_out.labels, advance)
        sets = {"samples": samples, **sets}
    with job.phase("features", (1 + len(sets)) * n) as advance:
        reference = extractor.extract(held_out.images, advance)
        features = {} if summary is None else {"samples": summary.image_features}
        features |= {name: extractor.extract(images, advance) for name, images in sets.items()}
    description = extractor.describe()
    if held_out.labels is not None and reference.classes is not None:
        description["accuracy"] = float((reference.classes == held_out.labels).mean())
    result: dict[str, Any] = {extractor.key: description, "floor_images": floor_split}
    with job.phase("distances", 4) as advance:
        for name, of_set in features.items():
            result[name] = sample_metrics(of_set, reference, num_modes)
            advance(1)
        copied = copies(samples, held_out.images, job.trained_on.images)
        result["samples"]["copies"] = copied
        advance(1)
    if summary is not None:
        result["all_images"] = summary.metrics(reference.features)
    if num_modes > MANY_MODES and job.subject.kind != "images":
        result["modes"] = _count_modes(job, extractor)
    return result | _pictures(job, samples, copied["nearest"]), rate


def _floor(job: Job) -> tuple[str, np.ndarray]:
    """The split and the real images of the floor.

    Images that a classifier is not trained on by default, if there are enough of them.

    Raises:
        UsageError: there are fewer than n images.
    """
    other_split = "validation" if job.request.split == "test" else "test"
    for name in (other_split, "train"):
        images: np.ndarray = getattr(job.dataset, name).images
        if len(images) >= job.n:
            return name, images[: job.n]
    raise UsageError(
        f"n = {job.n} is too large; there are only {len(images)} training images to compare with"
    )


def _count_modes(job: Job, extractor: Extractor) -> dict[str, Any]:
    """Modes captured by samples of their own, and by as many uniform draws."""
    num_modes = extractor.num_modes(job.dataset.image_shape)
    n = SAMPLES_PER_MODE * num_modes
    with job.phase("modes", 2 * n) as advance:
        samples, _ = job.subject.samples(n, job.request.seed + 1, None, advance)
        classes = extractor.extract(samples, advance).classes
        assert classes is not None
        counts = captured_modes(classes, num_modes)
    return {
        "n": n,
        "captured": counts.captured,
        "kl": counts.kl,
        "captured_by_uniform": expected_modes(n, num_modes),
        "kl_of_uniform": (num_modes - 1) / (2 * n),
    }


def copies(samples: np.ndarray, held_out: np.ndarray, train: np.ndarray) -> dict[str, Any]:
    """Distances of samples and of held-out images to training images, by pixels.

    Args:
        samples: `uint8[N, H, W, C]`.
        held_out: real images that were not trained on, `uint8[M, H, W, C]`.
        train: training images, `uint8[K, H, W, C]`.

    Returns:
        `distance` and `distance_of_held_out`: median distances, for pixels in 0…1. `share_nearer`:
        share of samples that are nearer to a training image than the nearest 1 % of held-out
        images; 0.01 for images like these, higher for copies and for smooth images. `nearest`:
        indices of the samples that are nearest to a training image, each with the index of that
        image.
    """
    of_samples, of_held_out = nearest(samples, train), nearest(held_out, train)
    order = np.argsort(of_samples.distances)[:NEAREST]
    threshold = np.quantile(of_held_out.distances, _COPIES)
    # The data set may hold images twice; then the threshold is 0, and copies are not below it.
    is_copy = of_samples.distances == 0
    return {
        "distance": float(np.median(of_samples.distances)) / 255,
        "distance_of_held_out": float(np.median(of_held_out.distances)) / 255,
        "share_nearer": float((is_copy | (of_samples.distances < threshold)).mean()),
        "nearest": [[int(index), int(of_samples.indices[index])] for index in order],
    }


def noise(n: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Images of uniform noise, the ceiling of all distances: `uint8[n, *shape]`."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def _pictures(job: Job, samples: np.ndarray, nearest: list[list[int]]) -> dict[str, str]:
    """A grid of samples, and a grid of those nearest to training images, above these images."""
    indices, train_indices = np.array(nearest).T
    pairs = np.concatenate([samples[indices], job.trained_on.images[train_indices]])
    return {
        "picture": _encode(samples[:PICTURED]),
        "nearest_picture": _encode(pairs, len(nearest)),
    }


def _encode(images: np.ndarray, columns: int | None = None) -> str:
    """A PNG of `uint8` images on a grid, in base64, so that an evaluation is one file."""
    return base64.b64encode(png_bytes(image_grid(images / 255, columns), least_side=0)).decode()


# --- likelihood
# ---------------------------------------------------------------------------------------------


def measure_likelihood(job: Job) -> dict[str, Any] | None:
    """The likelihood of held-out images, for JSON; None if the model has no density.

    Raises:
        WorkError: a value is not finite.
    """
    density = job.subject.density
    if isinstance(density, LatentDensity):
        return _bounds(job, density)
    return None if density is None else _exact_bits_per_dim(job, density)


def _bounds(job: Job, density: LatentDensity) -> dict[str, Any]:
    """ELBO and importance-weighted bound, in nats; of bytes also in bits/dim."""
    request, n, bounds = job.request, job.n, density.bounds
    images, labels = job.held_out.images, job.held_out.labels
    seeds, many = image_seeds(request.seed, n), images_at_once(_MANY, images.shape[1:])

    def estimator(bound: Callable[..., np.ndarray], *arguments: int) -> Callable[..., np.ndarray]:
        """The bound of the images of a slice."""

        def estimate(part: slice) -> np.ndarray:
            events, *context = inputs(part)
            return bound(events, (request.seed, part.start), *arguments, *context)

        return estimate

    def inputs(part: slice) -> list[Any]:
        return density.inputs(images[part], seeds[part], None if labels is None else labels[part])

    with job.phase("ELBO", n) as advance:
        negative_elbo = mean(-per_image(estimator(bounds.elbo), n, many, None, advance))
        parts = [slice(start, min(start + many, n)) for start in range(0, n, many)]
        means = np.concatenate([density.mean(*inputs(part)) for part in parts])
    samples = request.importance_samples
    partial = job.open_partial("importance", {"importance_samples": samples})
    with job.phase(f"likelihood, {samples} samples", n) as advance:
        log_prob = estimator(bounds.log_prob, samples)
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
        "importance_samples": samples,
        **bits,
        "negative_elbo": negative_elbo.value,
        "negative_elbo_error": negative_elbo.error,
        "nll": nll.value,
        "nll_error": nll.error,
        "active_units": active_units(means),
        "latents": density.latent_dim,
    }


def _exact_bits_per_dim(job: Job, density: ExactDensity) -> dict[str, Any]:
    """Bits/dim with one draw of the dequantization, and averaged over several."""
    request, n = job.request, job.n
    images, labels = job.held_out.images, job.held_out.labels
    seeds, many = image_seeds(request.seed, n), images_at_once(_MANY, images.shape[1:])
    result: dict[str, Any] = {"events": density.events, "dequantizations": request.dequantizations}
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
