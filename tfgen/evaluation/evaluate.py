"""One evaluation: samples beside real images and noise, likelihood of held-out images, cost."""

import base64
import contextlib
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tfgen import random
from tfgen.data import Dataset, Split
from tfgen.errors import UsageError
from tfgen.evaluation.estimate import mean
from tfgen.evaluation.judge import Judge, check_enough, copies, judged, noise
from tfgen.evaluation.likelihood import (
    LatentVariables,
    active_units,
    bits_per_dim,
    dequantized_log_prob,
)
from tfgen.evaluation.options import DEFAULT_N, EvaluateOptions
from tfgen.evaluation.progress import Advance, Kept, per_image
from tfgen.evaluation.subject import Subject
from tfgen.figures import image_grid, png_bytes

FORMAT = 1
# Samples that an evaluation keeps as a picture.
PICTURED = 64
# Images at once: with importance samples, and where each is one evaluation of a density.
_FEW, _MANY = 16, 250


@dataclass(frozen=True)
class _Work:
    """What the parts of an evaluation share."""

    subject: Subject
    dataset: Dataset
    held_out: Split
    options: EvaluateOptions
    n: int
    out: Path
    phase: Callable[[str, int], contextlib.AbstractContextManager[Advance]]
    kept: list[Kept] = field(default_factory=list)


def evaluate(
    subject: Subject,
    dataset: Dataset,
    judge: Judge | None,
    options: EvaluateOptions,
    out: Path,
    console: Console,
) -> dict[str, Any]:
    """Judges a model.

    Args:
        subject: the model.
        dataset: whose held-out images it is judged by.
        judge: the classifier; None leaves the samples out.
        options: see there.
        out: where the result will be; what is done is kept beside it.
        console: where progress goes.

    Returns:
        What evaluation.json holds: `samples`, the same figures of real training images as `floor` and of
        noise as `ceiling`, `likelihood`, `cost`, and all that decides them.

    Raises:
        UsageError: the request is wrong.
    """
    begun = time.perf_counter()
    held_out: Split = getattr(dataset, options.split)
    n = min(DEFAULT_N, len(held_out)) if options.n is None else options.n
    if n > len(held_out):
        raise UsageError(f"n = {n} is too large; the {options.split} split has {len(held_out)} images")
    if judge is not None:
        judge.check_images(dataset.image_shape)
        check_enough(judge, dataset, n)
    work = _Work(
        subject, dataset, held_out, options, n, out.with_name(f".{out.name}.partial.npz"), _phases(console)
    )
    result = _head(work, judge)
    if judge is not None:
        result |= _samples(work, judge)
    if options.likelihood and subject.model is not None and subject.model.density is not None:
        result["likelihood"] = _DENSITIES[subject.model.density](work)
    rate = result.pop("images_a_second", None)
    result["cost"] = {**subject.cost, **({"images_a_second": rate} if rate else {})}
    for kept in work.kept:
        kept.remove()
    result["minutes"] = round((time.perf_counter() - begun) / 60, 2)
    return result


def _head(work: _Work, judge: Judge | None) -> dict[str, Any]:
    subject, options = work.subject, work.options
    run = subject.run
    return {
        "format": FORMAT,
        "title": subject.title,
        "family": run.get("family"),
        "preset": run.get("options", {}).get("preset"),
        "seed": run.get("options", {}).get("seed"),
        "weights": subject.weights,
        "dataset": {
            "name": work.dataset.name,
            "fingerprint": work.dataset.fingerprint,
            "split": options.split,
        },
        "n": work.n,
        "evaluation_seed": options.seed,
        "classifier": None if judge is None else judge.describe(),
        "machine": {
            "cpu_cores": os.cpu_count(),
            "processor": _processor(),
            "python": platform.python_version(),
        },
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


# --- samples ------------------------------------------------------------------------------------------------


def _samples(work: _Work, judge: Judge) -> dict[str, Any]:
    """Figures of samples, of as many training images, and of noise, each beside the held-out images."""
    n, shape = work.n, work.dataset.image_shape
    with work.phase("samples", n) as advance:
        samples, rate = work.subject.samples(n, work.options.seed, advance)
    train, real = work.dataset.train.images, work.held_out.images[:n]
    sets = {"samples": samples, "floor": train[:n], "ceiling": noise(n, shape)}
    if len(train) < n:
        raise UsageError(f"n = {n} is too large; there are {len(train)} training images to compare with")
    with work.phase("features", 4 * n) as advance:
        reference = judge.see(real, advance)
        seen = {name: judge.see(images, advance) for name, images in sets.items()}
    with work.phase("distances", 4) as advance:
        found: dict[str, Any] = {}
        for name, each in seen.items():
            found[name] = judged(each, reference, judge.num_modes(shape))
            advance(1)
        found["samples"]["copies"] = copies(samples, real, train)
        advance(1)
    if work.held_out.labels is not None:
        found["accuracy_of_classifier"] = float((reference.classes == work.held_out.labels[:n]).mean())
    places = np.array(found["samples"]["copies"]["nearest"])
    pairs = np.concatenate([samples[places[:, 0]], train[places[:, 1]]])
    return {
        **found,
        "picture": _picture(samples[:PICTURED]),
        "nearest_picture": _picture(pairs, len(places)),
        "images_a_second": round(rate, 1),
    }


def _picture(images: np.ndarray, columns: int | None = None) -> str:
    """A PNG of `uint8` images on a grid, in base64, so that an evaluation is one file."""
    return base64.b64encode(png_bytes(image_grid(images / 255, columns), least_side=0)).decode()


# --- likelihood ---------------------------------------------------------------------------------------------


def _latent(work: _Work) -> dict[str, Any]:
    """ELBO and importance-weighted bound, nats of the events that the model is of."""
    model, options, n = work.subject.model, work.options, work.n
    assert model is not None
    images, labels = work.held_out.images[:n], work.held_out.labels

    def averaged(function: Callable[..., Any]) -> Callable[..., Any]:
        def of_average(*arguments: tf.Tensor) -> Any:
            with model.averaged():
                return function(*arguments)

        return of_average

    bounds = LatentVariables(model.prior(), averaged(model.posterior), averaged(model.likelihood))
    seeds = random.image_seeds(options.seed, n)

    def inputs(part: slice) -> list[tf.Tensor]:
        noise = random.SeedNoise(tf.constant(seeds[part]))
        events = model.preprocessing.events(tf.constant(images[part]), noise, model.likelihood_dtype)
        return [events, *(model.one_hot(tf.constant(each)) for each in given_labels(part))]

    def given_labels(part: slice) -> list[np.ndarray]:
        return [labels[part]] if model.num_classes and labels is not None else []

    def elbo(part: slice) -> np.ndarray:
        events, *context = inputs(part)
        return bounds.elbo(events, (options.seed, part.start), *context)

    def log_prob(part: slice) -> np.ndarray:
        events, *context = inputs(part)
        return bounds.log_prob(events, (options.seed, part.start), options.importance_samples, *context)

    with work.phase("ELBO", n) as advance:
        elbos = mean(-per_image(elbo, n, _MANY, None, advance))
        parts = [slice(start, min(start + _MANY, n)) for start in range(0, n, _MANY)]
        means = [model.encode(images[part], *given_labels(part))[0] for part in parts]
    kept = _kept(work, "likelihood", {"importance_samples": options.importance_samples})
    with work.phase(f"likelihood, {options.importance_samples} samples", n) as advance:
        weighted = mean(-per_image(log_prob, n, _FEW, kept, advance))
    return {
        "kind": "importance",
        "importance_samples": options.importance_samples,
        "negative_elbo": elbos.value,
        "negative_elbo_error": elbos.error,
        "nll": weighted.value,
        "nll_error": weighted.error,
        "active_units": active_units(np.concatenate(means)),
        "latents": model.latent_dim,
    }


def _exact(work: _Work) -> dict[str, Any]:
    """Bits/dim of bytes, by one draw of the dequantization and averaged over several."""
    model, options, n = work.subject.model, work.options, work.n
    assert model is not None
    images, seeds = work.held_out.images[:n], np.arange(n, dtype=np.int32) + options.seed
    compiled = tf.function(model.log_prob, autograph=False)

    def log_prob(images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        found: np.ndarray = compiled(tf.constant(images), tf.constant(seeds)).numpy()
        return found

    found: dict[str, Any] = {"kind": "dequantization", "dequantizations": options.dequantizations}
    for draws, name in ((1, "bits_per_dim_one_draw"), (options.dequantizations, "bits_per_dim")):

        def estimate(part: slice, draws: int = draws) -> np.ndarray:
            return dequantized_log_prob(log_prob, images[part], seeds[part], draws)

        kept = _kept(work, name, {"dequantizations": draws})
        with work.phase(name.replace("_", " "), n) as advance:
            nats = per_image(estimate, n, _MANY, kept, advance)
        bits = mean(bits_per_dim(nats, math.prod(images.shape[1:])))
        found |= {name: bits.value, f"{name}_error": bits.error}
    return found


_DENSITIES: dict[str, Callable[[_Work], dict[str, Any]]] = {"latent": _latent, "exact": _exact}


def _kept(work: _Work, name: str, settings: dict[str, Any]) -> Kept:
    """Values on disk until the whole evaluation is done."""
    data = [work.dataset.fingerprint, work.options.split]
    key = {"weights": work.subject.fingerprint(), "data": data, "n": work.n, "seed": work.options.seed}
    kept = Kept(work.out.with_name(f".{work.out.name}-{name}.npz"), {**key, **settings})
    work.kept.append(kept)
    return kept


def _phases(console: Console) -> Callable[[str, int], contextlib.AbstractContextManager[Advance]]:
    """Shows each phase as a bar with the time left; without a terminal as a line."""

    @contextlib.contextmanager
    def phase(name: str, total: int) -> Iterator[Advance]:
        begun = time.perf_counter()
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        task = bar.add_task(name, total=total)
        with contextlib.nullcontext() if bar.disable else bar:
            yield lambda done: bar.advance(task, done)
        console.print(f"{name}: {time.perf_counter() - begun:.1f} s", highlight=False, soft_wrap=True)

    return phase
