"""One evaluation: samples with floor and ceiling, likelihood, cost."""

import base64
import dataclasses
import time
from typing import Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.features import Extractor
from tfgen.evaluation.groups import UNDECIDING_OPTIONS
from tfgen.evaluation.held_out import measure_likelihood
from tfgen.evaluation.images import ImageSet
from tfgen.evaluation.job import Job
from tfgen.evaluation.modes import captured_modes, expected_modes
from tfgen.evaluation.reading import FORMAT
from tfgen.evaluation.sample_metrics import copies, noise, sample_metrics
from tfgen.evaluation.shards import ShardSet, ShardSummary
from tfgen.figures import image_grid, png_bytes
from tfgen.settings.training import TrainingOptions
from tfgen.system import machine

# Samples in the picture that an evaluation holds.
PICTURED = 64
# With more modes than these, modes are counted on samples of their own, so many per mode (Lin et
# al. 2018).
MANY_MODES, SAMPLES_PER_MODE = 100, 26
# What two evaluations must share for one to take over parts of the other.
SHARED = ("format", "weights_sha256", "dataset", "n", "evaluation_seed")
# What is measured on samples, taken over as a whole: metrics belong to their features.
SAMPLE_PARTS = (
    "samples",
    "floor",
    "floor_images",
    "ceiling",
    "picture",
    "nearest_picture",
    "classifier",
    "features",
    "images",
    "all_images",
    "modes",
)


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
    if isinstance(job.subject, ImageSet | ShardSet):
        result["images"] = job.subject.reading
    else:
        result["cost"] = cost
    return {**result, "minutes": round((time.perf_counter() - start) / 60, 2)}


def describe(job: Job) -> dict[str, Any]:
    """What decides an evaluation's metrics, apart from the features."""
    subject, run = job.subject, job.subject.run
    options = run.get("options", {})
    # Runs of earlier versions also hold options of the command, which decide nothing.
    names = {field.name for field in dataclasses.fields(TrainingOptions)} - UNDECIDING_OPTIONS
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
    parts = ("likelihood", *(() if "samples" in result else SAMPLE_PARTS))
    taken = {name: previous[name] for name in parts if name in previous}
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
    if isinstance(job.subject, ShardSet):
        summary, rate = _read_shards(job.subject, job, extractor), 0.0
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


def _read_shards(subject: ShardSet, job: Job, extractor: Extractor) -> ShardSummary:
    summary = ShardSummary(subject, extractor)
    with job.phase("shards", subject.manifest.request.n, has_rate=True) as advance:
        summary.read(advance)
    return summary


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


def _pictures(job: Job, samples: np.ndarray, nearest: list[list[int]]) -> dict[str, str]:
    """A grid of samples; the samples nearest to training images, above these."""
    indices, train_indices = np.array(nearest).T
    pairs = np.concatenate([samples[indices], job.trained_on.images[train_indices]])
    return {
        "picture": _encode(samples[:PICTURED]),
        "nearest_picture": _encode(pairs, len(nearest)),
    }


def _encode(images: np.ndarray, columns: int | None = None) -> str:
    """A PNG of `uint8` images on a grid, in base64, so that an evaluation is one file."""
    return base64.b64encode(png_bytes(image_grid(images / 255, columns), least_side=0)).decode()
