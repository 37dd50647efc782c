"""One evaluation: samples beside real images and noise, likelihood of held-out images, cost."""

import base64
import time
from typing import Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.groups import BESIDE, FORMAT
from tfgen.evaluation.held_out import likelihood
from tfgen.evaluation.judge import Judge, check_enough, copies, judged, noise
from tfgen.evaluation.modes import captured_modes, expected_modes
from tfgen.evaluation.work import Work
from tfgen.figures import image_grid, png_bytes
from tfgen.system import machine

# Samples that an evaluation keeps as a picture.
PICTURED = 64
# With more classes than these, modes are counted on samples of their own, so many for each (Lin et
# al. 2018).
MANY_MODES, SAMPLES_A_MODE = 100, 26
# What two evaluations must share for the one to take over parts of the other.
SHARED = ("format", "weights_sha256", "dataset", "n", "evaluation_seed")
# What samples give, kept as a whole: a classifier belongs to its figures.
SAMPLE_PARTS = (
    "samples",
    "floor",
    "floor_images",
    "ceiling",
    "picture",
    "nearest_picture",
    "classifier",
    "modes",
)


def evaluate(work: Work, judge: Judge | None) -> dict[str, Any]:
    """Judges a model.

    Args:
        work: model, images and options.
        judge: the classifier; None leaves the samples out.

    Returns:
        What evaluation.json holds: `samples`, the same figures of real images as `floor` and of
        noise as `ceiling`, `likelihood`, `cost`, and all that decides them.

    Raises:
        UsageError: the request is wrong.
        WorkError: samples are no numbers.
    """
    begun = time.perf_counter()
    if judge is not None:
        judge.check_images(work.dataset.image_shape)
        check_enough(judge, work.dataset, work.n)
    result = head(work)
    cost = dict(work.subject.cost)
    if judge is not None:
        samples, rate = _samples(work, judge)
        result |= samples
        cost |= {"images_a_second": round(rate, 1)} if rate else {}
    if work.options.likelihood and (found := likelihood(work)) is not None:
        result["likelihood"] = found
    return {**result, "cost": cost, "minutes": round((time.perf_counter() - begun) / 60, 2)}


def head(work: Work) -> dict[str, Any]:
    """All that decides an evaluation's figures, but for the classifier."""
    subject, run = work.subject, work.subject.run
    options = run.get("options", {})
    settings = {name: value for name, value in options.items() if name not in BESIDE}
    return {
        "format": FORMAT,
        "title": subject.title,
        "family": run.get("family"),
        "preset": options.get("preset"),
        "seed": options.get("seed"),
        "settings": {"model": run.get("model", {}), "options": settings},
        "weights": subject.weights,
        "weights_sha256": None if subject.model is None else subject.fingerprint(),
        "dataset": {
            "name": work.dataset.name,
            "fingerprint": work.dataset.fingerprint,
            "split": work.options.split,
        },
        "n": work.n,
        "evaluation_seed": work.options.seed,
        "machine": machine.describe(),
    }


def merged(before: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """The new result, with the parts of an earlier one of the same weights and images that it
    leaves out."""
    if any(before.get(name) != result.get(name) for name in SHARED) or not result["weights_sha256"]:
        return result
    parts = ("likelihood", *(() if "samples" in result else SAMPLE_PARTS))
    kept = {name: before[name] for name in parts if name in before}
    cost = {**before.get("cost", {}), **result["cost"]}
    return {**kept, **result, "cost": cost}


def _samples(work: Work, judge: Judge) -> tuple[dict[str, Any], float]:
    """Figures of samples, of as many real images, and of noise, beside held-out ones; samples a
    second."""
    n, shape = work.n, work.dataset.image_shape
    real = work.held_out.images[:n]
    floor_name, floor = _floor(work)
    labels = None if work.held_out.labels is None else work.held_out.labels[:n]
    with work.phase("samples", n) as advance:
        samples, rate = work.subject.samples(n, work.options.seed, labels, advance)
    sets = {"samples": samples, "floor": floor, "ceiling": noise(n, shape)}
    with work.phase("features", 4 * n) as advance:
        reference = judge.see(real, advance)
        seen = {name: judge.see(images, advance) for name, images in sets.items()}
    classifier = judge.describe()
    if labels is not None:
        classifier["accuracy"] = float((reference.classes == labels).mean())
    found: dict[str, Any] = {"classifier": classifier, "floor_images": floor_name}
    with work.phase("distances", 4) as advance:
        for name, each in seen.items():
            found[name] = judged(each, reference, judge.num_modes(shape))
            advance(1)
        train = work.dataset.train.images
        found["samples"]["copies"] = copies(samples, real, train)
        advance(1)
    if judge.num_modes(shape) > MANY_MODES:
        found["modes"] = _modes(work, judge)
    places = np.array(found["samples"]["copies"]["nearest"])
    pairs = np.concatenate([samples[places[:, 0]], train[places[:, 1]]])
    pictures = {
        "picture": _picture(samples[:PICTURED]),
        "nearest_picture": _picture(pairs, len(places)),
    }
    return {**found, **pictures}, rate


def _floor(work: Work) -> tuple[str, np.ndarray]:
    """Real images that no classifier was trained on, where there are enough, and where they come
    from.

    Raises:
        UsageError: there are too few.
    """
    other = "validation" if work.options.split == "test" else "test"
    for name in (other, "train"):
        images: np.ndarray = getattr(work.dataset, name).images
        if len(images) >= work.n:
            return name, images[: work.n]
    raise UsageError(
        f"n = {work.n} is too large; there are {len(images)} training images to compare with"
    )


def _modes(work: Work, judge: Judge) -> dict[str, Any]:
    """Modes captured by samples of their own, and what as many draws from the uniform reach."""
    modes = judge.num_modes(work.dataset.image_shape)
    n = SAMPLES_A_MODE * modes
    with work.phase("modes", 2 * n) as advance:
        samples, _ = work.subject.samples(n, work.options.seed + 1, None, advance)
        counted = captured_modes(judge.see(samples, advance).classes, modes)
    return {
        "n": n,
        "captured": counted.captured,
        "kl": counted.kl,
        "captured_by_uniform": expected_modes(n, modes),
        "kl_of_uniform": (modes - 1) / (2 * n),
    }


def _picture(images: np.ndarray, columns: int | None = None) -> str:
    """A PNG of `uint8` images on a grid, in base64, so that an evaluation is one file."""
    return base64.b64encode(png_bytes(image_grid(images / 255, columns), least_side=0)).decode()
