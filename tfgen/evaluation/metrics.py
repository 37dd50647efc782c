"""Every metric of an evaluation, declared once in `METRICS`.

A new metric of features is an estimator and a row of `METRICS`. All else reads them: evaluations,
the tables of `tfgen-evaluate` and `tfgen-compare`, the figure, `tfgen.callbacks.Evaluate`, a
model's card, the page of the server and the documentation's site.

No TensorFlow here.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.coverage import Coverage, coverage
from tfgen.evaluation.distances import Estimate, fid, kid
from tfgen.evaluation.modes import ModeCounts, captured_modes

if TYPE_CHECKING:
    from tfgen.evaluation.features import ImageFeatures

# Above this number of modes, the histogram is left out.
_MAX_HISTOGRAM = 100
HIGHER, LOWER = 1, -1
# Takes features of samples, `[N, D]`, and of real images, `[M, D]`. Returns the value, the value
# with its standard error, or several metrics by their keys. Raises `UsageError` for too few images.
Estimator: TypeAlias = Callable[[np.ndarray, np.ndarray], float | Estimate | Coverage]


class Metric(NamedTuple):
    """A number of an evaluation.

    Its standard error, if there is one, is in the same part under `<key>_error`.

    Attributes:
        part: of the evaluation that holds it: `samples`, `modes`, `likelihood` or `cost`.
        key: its key in that part.
        name: in tables and figures.
        sentence: what it measures.
        better: `HIGHER`, `LOWER`, or 0 if neither is.
        estimate: its estimator, for a metric of features.
        unit: empty for none.
        scale: factor between the number in an evaluation and the one that is shown.
        digits: significant digits of the mean.
    """

    part: str
    key: str
    name: str
    sentence: str
    better: int = 0
    estimate: Estimator | None = None
    unit: str = ""
    scale: int = 1
    digits: int = 3

    @property
    def heading(self) -> str:
        """Name, and unit in square brackets."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    @property
    def caption(self) -> str:
        """What it measures, and whether higher or lower is better."""
        direction = {HIGHER: " (higher is better)", LOWER: " (lower is better)"}
        return self.sentence + direction.get(self.better, "")

    def value(self, evaluation: Mapping[str, Any]) -> float | None:
        """The number that is shown of an evaluation; None if it has none that is finite."""
        return self._scaled(evaluation, self.key)

    def error(self, evaluation: Mapping[str, Any]) -> float:
        """The standard error of `value`, in its unit; 0 if unknown."""
        return self._scaled(evaluation, f"{self.key}_error") or 0.0

    def text(self, evaluation: Mapping[str, Any]) -> str | None:
        """The number that is shown of an evaluation, as text; None if it has none."""
        value = self.value(evaluation)
        return None if value is None else format_number(value, self.digits)

    def _scaled(self, evaluation: Mapping[str, Any], key: str) -> float | None:
        number: Any = (evaluation.get(self.part) or {}).get(key)
        is_known = isinstance(number, int | float) and math.isfinite(number)
        return self.scale * float(number) if is_known else None


# In the order of the tables' columns.
METRICS = (
    Metric("samples", "copied", "copied", "samples like a training image", unit="%", scale=100),
    Metric("samples", "fid", "FID", "distance to real images", LOWER, fid),
    Metric("samples", "kid", "KID × 1000", "kernel distance", LOWER, kid, scale=1000),
    Metric("samples", "precision", "precision", "share of realistic samples", HIGHER, coverage),
    Metric("samples", "recall", "recall", "share of real images like samples", HIGHER, coverage),
    Metric("samples", "density", "density", "density of real images at samples", HIGHER, coverage),
    Metric("samples", "coverage", "coverage", "share of real images covered", HIGHER, coverage),
    Metric("samples", "class_entropy", "class entropy", "spread of classes", unit="nats", digits=4),
    Metric("modes", "captured", "modes", "number of classes among the samples", HIGHER, digits=4),
    Metric("modes", "kl", "KL of modes", "KL of the classes from uniform", LOWER, unit="nats"),
    Metric(
        "likelihood", "negative_elbo", "−ELBO", "upper bound of NLL", LOWER, unit="nats", digits=5
    ),
    Metric("likelihood", "nll", "NLL", "negative log-likelihood", LOWER, unit="nats", digits=5),
    Metric("likelihood", "bits_per_dim", "bits/dim", "NLL in bits per byte", LOWER, digits=4),
    Metric("cost", "seconds_an_epoch", "s/epoch", "seconds per epoch, median"),
    Metric("cost", "seconds", "training", "whole training", unit="s", digits=4),
    Metric("cost", "images_a_second", "images/s", "samples per second"),
    Metric("cost", "parameters", "parameters", "trainable numbers", digits=4),
    Metric("cost", "peak_mib", "peak", "largest memory in use", unit="MiB", digits=4),
)


def format_number(value: float, digits: int) -> str:
    """The number with so many significant digits, without an exponent; 0 if below 1e-6."""
    if abs(value) < 1e-6:
        return "0"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def sample_metrics(
    samples: "ImageFeatures", reference: "ImageFeatures", num_modes: int
) -> dict[str, Any]:
    """All metrics of samples that are computed from features and classes, for JSON.

    Args:
        samples: of the samples.
        reference: of real images.
        num_modes: number of classes; 0 without classes.

    Returns:
        The metrics by key, without those for which the images are too few. Metrics of classes are
        missing if there are no classes, or fewer samples than classes.
    """
    metrics: dict[str, Any] = {}
    for metric in METRICS:
        if metric.estimate is not None and metric.key not in metrics:
            with contextlib.suppress(UsageError):  # too few images
                estimate = metric.estimate(samples.features, reference.features)
                metrics |= by_key(metric.key, estimate)
    if samples.classes is not None and len(samples.classes) >= num_modes:
        metrics |= class_metrics(captured_modes(samples.classes, num_modes))
    return metrics


def by_key(key: str, estimate: float | Estimate | Coverage) -> dict[str, float]:
    """An estimate for JSON: its value and its error if it has one, or several metrics."""
    if isinstance(estimate, Estimate):
        return {key: estimate.value, f"{key}_error": estimate.error}
    return estimate._asdict() if isinstance(estimate, Coverage) else {key: float(estimate)}


def class_metrics(modes: ModeCounts) -> dict[str, Any]:
    """The metrics of the classes of samples, for JSON."""
    metrics = {"modes": modes.captured, "modes_kl": modes.kl, "class_entropy": modes.entropy}
    few = len(modes.histogram) <= _MAX_HISTOGRAM
    return metrics | ({"classes": modes.histogram.tolist()} if few else {})


def shown_metrics(evaluation: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """The metrics by which models are ranked, as the server's page shows them.

    Returns:
        For each of them `name`, with the events of a likelihood, `caption`, `value` and `real`, the
        value of real images; None for what was not measured.
    """
    events = (evaluation.get("likelihood") or {}).get("events")
    real = {"samples": evaluation.get("floor")}
    return [
        {
            "name": f"{m.heading} of {events}" if events and m.part == "likelihood" else m.heading,
            "caption": m.caption,
            "value": m.text(evaluation),
            "real": m.text(real),
        }
        for m in METRICS
        if m.better
    ]
