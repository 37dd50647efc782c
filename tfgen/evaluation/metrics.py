"""Every metric of an evaluation, declared once, and the metrics that features of images have.

A new metric of samples is an estimator, a row of `METRICS`, and a line of `sample_metrics`. The
tables of `tfgen-evaluate` and `tfgen-compare` and the figure read `METRICS`.

No TensorFlow here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfgen.evaluation.coverage import coverage
from tfgen.evaluation.distances import fid, kid
from tfgen.evaluation.modes import ModeCounts, captured_modes

if TYPE_CHECKING:
    from tfgen.evaluation.features import ImageFeatures

# With more modes than these, the histogram of the modes is left out.
_MAX_HISTOGRAM = 100


@dataclass(frozen=True)
class Metric:
    """A number of an evaluation.

    Its standard error, if there is one, is in the same part under `<key>_error`.

    Attributes:
        part: of the evaluation that holds it: `samples`, `modes`, `likelihood` or `cost`.
        key: its key in that part.
        name: in tables and figures.
        sentence: what it measures.
        unit: empty for none.
        scale: factor between the number in an evaluation and the one that is shown.
        better: 1 if higher is better, −1 if lower is, 0 if neither.
        digits: significant digits of the mean.
    """

    part: str
    key: str
    name: str
    sentence: str
    unit: str = ""
    scale: int = 1
    better: int = 0
    digits: int = 3

    @property
    def heading(self) -> str:
        """Name, and unit in square brackets."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    def value(self, evaluation: Mapping[str, Any]) -> float | None:
        """The number that is shown of an evaluation; None if it has none that is finite."""
        return self._scaled(evaluation, self.key)

    def error(self, evaluation: Mapping[str, Any]) -> float:
        """The standard error of `value`, in its unit; 0 if unknown."""
        return self._scaled(evaluation, f"{self.key}_error") or 0.0

    def _scaled(self, evaluation: Mapping[str, Any], key: str) -> float | None:
        number: Any = (evaluation.get(self.part) or {}).get(key)
        is_known = isinstance(number, int | float) and math.isfinite(number)
        return self.scale * float(number) if is_known else None


# In the order of the tables' columns.
METRICS = (
    Metric("samples", "copied", "copied", "looks like a training image", "%", scale=100),
    Metric("samples", "fid", "FID", "Fréchet distance", better=-1),
    Metric("samples", "kid", "KID × 1000", "kernel distance", scale=1000, better=-1),
    Metric("samples", "precision", "precision", "share of realistic samples", better=1),
    Metric("samples", "recall", "recall", "share of real images", better=1),
    Metric("samples", "density", "density", "samples around a real image", better=1),
    Metric("samples", "coverage", "coverage", "share of real images", better=1),
    Metric("samples", "class_entropy", "class entropy", "spread over classes", "nats", digits=4),
    Metric("modes", "captured", "modes", "classes with a sample", better=1, digits=4),
    Metric("modes", "kl", "KL of modes", "from uniform", "nats", better=-1),
    Metric("likelihood", "negative_elbo", "−ELBO", "bound", "nats", better=-1, digits=5),
    Metric("likelihood", "nll", "NLL", "negative log-likelihood", "nats", better=-1, digits=5),
    Metric("likelihood", "bits_per_dim", "bits/dim", "bits per byte", better=-1, digits=4),
    Metric("cost", "seconds_an_epoch", "s/epoch", "seconds per epoch, median"),
    Metric("cost", "seconds", "training", "whole training", "s", digits=4),
    Metric("cost", "images_a_second", "images/s", "samples per second"),
    Metric("cost", "parameters", "parameters", "trainable numbers", digits=4),
    Metric("cost", "peak_mib", "peak", "largest memory in use", "MiB", digits=4),
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
        The metrics by key. `fid` is missing if the images are too few for the covariance of the
        features, metrics of classes if there are none, or fewer samples than classes.

    Raises:
        UsageError: there are too few images for the other metrics.
    """
    metrics: dict[str, Any] = {}
    if min(len(samples.features), len(reference.features)) > samples.features.shape[1]:
        metrics["fid"] = fid(samples.features, reference.features)
    metrics["kid"], metrics["kid_error"] = kid(samples.features, reference.features)
    metrics |= coverage(samples.features, reference.features)._asdict()
    if samples.classes is not None and len(samples.classes) >= num_modes:
        metrics |= class_metrics(captured_modes(samples.classes, num_modes))
    return metrics


def class_metrics(modes: ModeCounts) -> dict[str, Any]:
    """The metrics of the classes of samples, for JSON."""
    metrics = {"modes": modes.captured, "modes_kl": modes.kl, "class_entropy": modes.entropy}
    few = len(modes.histogram) <= _MAX_HISTOGRAM
    return metrics | ({"classes": modes.histogram.tolist()} if few else {})
