"""One evaluation: samples beside real images and noise, likelihood, cost."""

import base64
import contextlib
import functools
import json
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rich.console import Console

from tfgen.data import Dataset, Split
from tfgen.errors import UsageError
from tfgen.evaluation.coverage import nearest
from tfgen.evaluation.distances import Estimate, mean
from tfgen.evaluation.features import Extractor, ImageFeatures
from tfgen.evaluation.job import EvaluationRequest, count_images, phase
from tfgen.evaluation.likelihood import active_units, bits_per_dim, dequantized_log_prob
from tfgen.evaluation.metrics import by_key, sample_metrics
from tfgen.evaluation.modes import captured_modes, expected_modes
from tfgen.evaluation.reading import FORMAT, UNDECIDING_OPTIONS
from tfgen.evaluation.sources import LatentDensity, LogDensity, SampleSource, ShardSummary
from tfgen.figures import image_grid, png_bytes
from tfgen.nn import gpu
from tfgen.random import image_seeds
from tfgen.sampling import Labels, batches
from tfgen.settings.model import images_at_once
from tfgen.settings.training import TrainingOptions
from tfgen.system.atomic import write_arrays

# Samples in the picture that an evaluation holds, and those nearest to a training image.
PICTURED, NEAREST = 64, 8
# Images at a time: with importance samples, and without, for images like MNIST's.
_FEW, _MANY = 16, 250
# An estimate of the likelihood takes many evaluations of a network, so it is of fewer images.
MAX_ESTIMATES = 1000
# Above this number of modes, they are counted on extra samples, this many per mode (Lin et al.
# 2018).
MANY_MODES, SAMPLES_PER_MODE = 100, 26
# What two evaluations must share for one to take over parts of the other.
SHARED = ("format", "weights_sha256", "dataset", "n", "evaluation_seed")
# Of a slice: images `uint8[B, H, W, C]`, seeds of their noise `int32[B]`, labels `int[B]` or None.
InputsOf: TypeAlias = Callable[[slice], tuple[np.ndarray, np.ndarray, Labels]]


@dataclass(frozen=True)
class Job:
    """One evaluation under way.

    Attributes:
        source: what is evaluated.
        dataset: its held-out images are the reference.
        request: what is measured.
        partial_path: beginning of the paths of the files with intermediate values, without an
            extension.
        console: where progress is shown.
        partial_files: these files, to be removed once the result is written.
    """

    source: SampleSource
    dataset: Dataset
    request: EvaluationRequest
    partial_path: Path
    console: Console
    partial_files: list[Path] = field(default_factory=list)

    @property
    def held_out(self) -> Split:
        """The first n images of the split that the request names."""
        split: Split = getattr(self.dataset, self.request.split)
        return split.take(0, self.n)

    @property
    def n(self) -> int:
        """Number of samples, and of held-out images.

        Raises:
            UsageError: the split has fewer images.
        """
        n = self.source.n
        return count_images(self.dataset, self.request) if n is None else n

    def per_image(
        self, name: str, estimate: Callable[[slice], np.ndarray], batch: int, **settings: int
    ) -> np.ndarray:
        """The values of the held-out images, `float64[n]`; an interrupted estimate continues.

        Args:
            name: of the estimate.
            estimate: values `[B]` of the images of a slice; must not depend on other slices.
            batch: images at a time.
            settings: what decides the values, besides the weights, the data and the seed.
        """
        data = [self.dataset.fingerprint, self.request.split, self.n]
        decisive = {"weights": self.source.weights_sha256, "data": data, **settings}
        decisive["seed"] = self.request.seed
        key, values = json.dumps(decisive, sort_keys=True), np.full(self.n, np.nan)
        path = self.partial_path.with_name(f"{self.partial_path.name}-{name}.npz")
        self.partial_files.append(path)
        # A broken file, and one of other settings, hold no values.
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            stored = np.load(path, allow_pickle=False)
            values = stored["values"] if str(stored["key"]) == key else values

        with phase(self.console, name.replace("_", " "), self.n) as advance:
            for part in batches(self.n, batch):
                if np.isnan(values[part]).any():
                    values[part] = estimate(part)
                    # On a full disk the estimate continues, without a file.
                    with contextlib.suppress(OSError):
                        write_arrays(path, {"key": np.array(key), "values": values})
                advance(part.stop - part.start)
        return values


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
    result, cost = provenance(job), dict(job.source.cost)
    if extractor is not None:
        extractor.check_images(shape)
        extractor.check_count(job.n, shape)
        samples, rate = _evaluate_samples(job, extractor)
        result |= samples
        cost |= {"images_a_second": round(rate, 1)} if rate else {}
    if likelihood and (measured := measure_likelihood(job)) is not None:
        result["likelihood"] = measured
    is_images = job.source.kind == "images"
    result |= {"images": job.source.reading} if is_images else {"cost": cost}
    return {**result, "minutes": round((time.perf_counter() - start) / 60, 2)}


def provenance(job: Job) -> dict[str, Any]:
    """What decides an evaluation's metrics, apart from the features."""
    source, data, split = job.source, job.dataset, job.request.split
    run = {} if source.kind == "images" else source.training
    options = run.get("options", {})
    # Runs of earlier versions also hold options of the command, which decide nothing.
    names = {option.name for option in fields(TrainingOptions)} - UNDECIDING_OPTIONS
    deciding = {name: value for name, value in options.items() if name in names}
    return {
        "format": FORMAT,
        "title": source.title,
        "family": run.get("family"),
        "preset": options.get("preset"),
        "seed": options.get("seed"),
        "settings": {"model": run.get("model", {}), "options": deciding},
        "weights": source.weights,
        "weights_sha256": source.weights_sha256,
        "train_on": source.train_on,
        "dataset": {"name": data.name, "fingerprint": data.fingerprint, "split": split},
        "n": job.n,
        "evaluation_seed": job.request.seed,
        "machine": gpu.hardware_record(),
    }


def merge(previous: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """The result, with missing parts taken over from a previous evaluation.

    Nothing is taken over unless both are of the same weights, images and seed.
    """
    is_same = all(previous.get(name) == result.get(name) for name in SHARED)
    if not result["weights_sha256"] or not is_same:
        return result
    # Metrics of samples belong to their features, so they are taken over as a whole.
    is_taken = {name: name == "likelihood" or "samples" not in result for name in previous}
    merged = {name: value for name, value in previous.items() if is_taken[name]} | result
    if "cost" in result:
        merged["cost"] = previous.get("cost", {}) | result["cost"]
    return merged


def _evaluate_samples(job: Job, extractor: Extractor) -> tuple[dict[str, Any], float]:
    """Metrics of samples, of as many real images, and of noise; samples per second."""
    n, shape = job.n, job.dataset.image_shape
    num_modes = extractor.num_modes(shape)
    held_out, train = job.held_out, job.source.training_split(job.dataset).images
    floor_split, floor = _floor(job)
    sets, features, rate = {"floor": floor, "ceiling": noise(n, shape)}, {}, 0.0
    summary = None if job.source.indices is None else ShardSummary(job.source, extractor)
    if summary is not None:
        with phase(job.console, "shards", job.source.reading["available"]) as advance:
            summary.read(advance)
        samples = summary.images
        features["samples"] = ImageFeatures(summary.features, summary.classes)
    else:
        with phase(job.console, "samples", n) as advance:
            samples, rate = job.source.samples(n, job.request.seed, held_out.labels, advance)
        sets = {"samples": samples, **sets}
    with phase(job.console, "features", (1 + len(sets)) * n) as advance:
        reference = extractor.extract(held_out.images, advance)
        features |= {name: extractor.extract(images, advance) for name, images in sets.items()}
    description = extractor.identity()
    if held_out.labels is not None and reference.classes is not None:
        description["accuracy"] = float((reference.classes == held_out.labels).mean())
    result: dict[str, Any] = {extractor.key: description, "floor_images": floor_split}
    with phase(job.console, "distances", 4) as advance:
        for name, of_set in features.items():
            result[name] = sample_metrics(of_set, reference, num_modes)
            advance(1)
        copied = copies(samples, held_out.images, train)
        result["samples"] |= {"copied": copied.pop("share"), "copies": copied}
        # Not of the floor's images: a model may be trained on them.
        result["floor"]["copied"] = copied.pop("share_of_held_out")
        advance(1)
    if summary is not None:
        result["all_images"] = summary.metrics(reference.features)
    if num_modes > MANY_MODES and job.source.kind != "images":
        result["modes"] = _count_modes(job, extractor)
    indices, train_indices = np.array(copied["nearest"]).T
    pairs = np.concatenate([samples[indices], train[train_indices]])
    result["picture"] = _encode(samples[:PICTURED])
    return result | {"nearest_picture": _encode(pairs, len(indices))}, rate


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
    raise UsageError(f"n = {job.n} is too large; there are {len(images)} training images")


def _count_modes(job: Job, extractor: Extractor) -> dict[str, Any]:
    """Modes captured by samples of their own, and by as many uniform draws."""
    num_modes = extractor.num_modes(job.dataset.image_shape)
    n = SAMPLES_PER_MODE * num_modes
    with phase(job.console, "modes", 2 * n) as advance:
        samples, _ = job.source.samples(n, job.request.seed + 1, None, advance)
        classes = extractor.extract(samples, advance).classes
        assert classes is not None
        counts = captured_modes(classes, num_modes)
    captured = {"captured": counts.captured, "kl": counts.kl}
    captured |= {"captured_by_uniform": expected_modes(n, num_modes)}
    return {"n": n, **captured, "kl_of_uniform": (num_modes - 1) / (2 * n)}


def copies(samples: np.ndarray, held_out: np.ndarray, train: np.ndarray) -> dict[str, Any]:
    """Distances of samples and of held-out images to training images, by pixels.

    Args:
        samples: `uint8[N, H, W, C]`.
        held_out: real images that were not trained on, `uint8[M, H, W, C]`.
        train: training images, `uint8[K, H, W, C]`.

    Returns:
        `share` and `share_of_held_out`: shares that look copied; see `Nearest.is_copy`.
        `share_in_held_out`: share of samples that equal a held-out image. `distance` and
        `distance_of_held_out`: median distances, for pixels in 0…1. `nearest`: indices of the
        samples that are nearest to a training image, each with the index of that image.
    """
    of_samples, of_held_out = nearest(samples, train), nearest(held_out, train)
    order = np.argsort(of_samples.distances)[:NEAREST]
    hashes = {hash(image.tobytes()) for image in held_out}
    return {
        "share": float(of_samples.is_copy.mean()),
        "share_of_held_out": float(of_held_out.is_copy.mean()),
        "share_in_held_out": float(np.mean([hash(image.tobytes()) in hashes for image in samples])),
        "distance": float(np.median(of_samples.distances)) / 255,
        "distance_of_held_out": float(np.median(of_held_out.distances)) / 255,
        "nearest": [[int(index), int(of_samples.indices[index])] for index in order],
    }


def noise(n: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Images of uniform noise, the ceiling of all distances: `uint8[n, *shape]`."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


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
    density, held_out = job.source.density, job.held_out
    seeds = image_seeds(job.request.seed, job.n)

    def inputs(part: slice) -> tuple[np.ndarray, np.ndarray, Labels]:
        labels = None if held_out.labels is None else held_out.labels[part]
        return held_out.images[part], seeds[part], labels

    if isinstance(density, LatentDensity):
        return _bounds(job, density, inputs)
    return None if density is None else _log_density(job, density, inputs)


def _bounds(job: Job, density: LatentDensity, inputs: InputsOf) -> dict[str, Any]:
    """ELBO and importance-weighted bound, in nats; of bytes also in bits/dim."""
    bounds, seed, shape = density.bounds, job.request.seed, job.dataset.image_shape
    samples, many = job.request.importance_samples, images_at_once(_MANY, shape)

    def elbo(part: slice) -> np.ndarray:
        events, *labels = density.inputs(*inputs(part))
        return bounds.elbo(events, (seed, part.start), *labels)

    def log_prob(part: slice) -> np.ndarray:
        events, *labels = density.inputs(*inputs(part))
        return bounds.log_prob(events, (seed, part.start), samples, *labels)

    negative_elbo = mean(-job.per_image("ELBO", elbo, many))
    parts = batches(job.n, many)
    means = np.concatenate([density.mean(*density.inputs(*inputs(part))) for part in parts])
    nll = mean(-job.per_image("likelihood", log_prob, _FEW, importance_samples=samples))
    result: dict[str, Any] = {"events": density.events, "importance_samples": samples}
    if density.is_of_bytes:
        bits = Estimate(*(bits_per_dim(-nats, math.prod(shape)) for nats in nll))
        result |= by_key("bits_per_dim", bits)
    result |= by_key("negative_elbo", negative_elbo) | by_key("nll", nll)
    return result | {"active_units": active_units(means), "latents": density.latent_dim}


def _log_density(job: Job, density: LogDensity, inputs: InputsOf) -> dict[str, Any]:
    """The log-likelihood in nats, of bytes also in bits/dim."""
    shape, draws = job.dataset.image_shape, job.request.dequantizations
    result: dict[str, Any] = {"events": density.events}
    counts = {"": 1}
    if density.kind == "dequantized":
        result["dequantizations"], counts = draws, {"_one_draw": 1, "": draws}
    elif density.kind == "estimate":
        n = min(job.n, MAX_ESTIMATES)
        job = replace(job, request=replace(job.request, n=n))
        result["estimates"] = n
    for suffix, count in counts.items():

        def log_prob(part: slice, count: int = count) -> np.ndarray:
            images, seeds, labels = inputs(part)
            of_seeds = functools.partial(density.log_prob, labels=labels)
            return dequantized_log_prob(of_seeds, images, seeds, count)

        many = images_at_once(_MANY, shape)
        nats = job.per_image(f"likelihood{suffix}", log_prob, many, dequantizations=count)
        values = {"nll": -nats}
        if density.is_of_bytes:
            values["bits_per_dim"] = bits_per_dim(nats, math.prod(shape))
        for name, of_images in values.items():
            result |= by_key(f"{name}{suffix}", mean(of_images))
    return result
