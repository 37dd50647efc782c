"""Evaluations side by side: tables, a picture, verdicts on the report's claims.

No TensorFlow here: all is read from what `tfgen-evaluate` wrote.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfgen import figures
from tfgen.errors import UsageError
from tfgen.evaluation.claims import CLAIMS, NAMES, decide, is_reported, pairs_in_words
from tfgen.evaluation.groups import Group, group_evaluations, lookup, standard_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Column:
    """A metric in the tables.

    Attributes:
        name: the heading.
        path: of the metric in an evaluation.
        digits: significant digits.
    """

    name: str
    path: tuple[str, ...]
    digits: int = 3


COLUMNS = (
    Column("FID", ("samples", "fid")),
    Column("KID × 1000", ("samples", "kid_thousandths")),
    Column("precision", ("samples", "precision")),
    Column("recall", ("samples", "recall")),
    Column("density", ("samples", "density")),
    Column("coverage", ("samples", "coverage")),
    Column("class entropy [nats]", ("samples", "class_entropy"), 4),
    Column("modes", ("modes", "captured"), 4),
    Column("KL of modes [nats]", ("modes", "kl")),
    Column("−ELBO [nats]", ("likelihood", "negative_elbo"), 5),
    Column("NLL [nats]", ("likelihood", "nll"), 5),
    Column("bits/dim", ("likelihood", "bits_per_dim"), 4),
    Column("s/epoch", ("cost", "seconds_an_epoch")),
    Column("training [s]", ("cost", "seconds"), 4),
    Column("images/s", ("cost", "images_a_second")),
    Column("parameters", ("cost", "parameters"), 4),
    Column("peak [MiB]", ("cost", "peak_mib"), 4),
)
# The panels of the picture: title, axis label, path.
PANELS = (
    ("FID", "Fréchet distance (lower is better)", ("samples", "fid")),
    ("recall", "share of real images (higher is better)", ("samples", "recall")),
    ("coverage", "share of real images (higher is better)", ("samples", "coverage")),
    ("training time", "seconds per epoch", ("cost", "seconds_an_epoch")),
)
# What the errors in the tables are.
ERRORS = (
    "± is the standard deviation over the seeds; for a single seed, the standard error of the "
    "estimate."
)


def compare(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Both tables and the verdicts, for JSON.

    Raises:
        UsageError: there are no evaluations, or they do not compare.
    """
    if not evaluations:
        raise UsageError("there is nothing to compare; pass runs or versions that were evaluated")
    groups = group_evaluations(evaluations)
    reported = [group for group in groups if is_reported(group)]
    return {
        "reported": [row(group) for group in reported],
        "others": [row(group) for group in groups if not is_reported(group)],
        "real": reference_row(groups, "floor"),
        "noise": reference_row(groups, "ceiling"),
        "claims": [decide(claim, reported) for claim in CLAIMS],
        "notes": likelihood_notes(groups),
    }


def likelihood_notes(groups: Sequence[Group]) -> list[str]:
    """What the likelihoods are of: a line for each kind, with the models that have it."""
    names: dict[str, list[str]] = {}
    for group in groups:
        likelihood = group.evaluations[0].get("likelihood") or {}
        if "importance_samples" in likelihood:
            text = (
                f"nats of {likelihood['events']}; NLL with {likelihood['importance_samples']} "
                "importance samples"
            )
        elif "dequantizations" in likelihood:
            text = (
                f"bits/dim of {likelihood['events']}, averaged over "
                f"{likelihood['dequantizations']} dequantization draws"
            )
        else:
            continue
        names.setdefault(text, []).append(group.name)
    return [f"{', '.join(of_text)}: {text}" for text, of_text in names.items()]


def row(group: Group) -> dict[str, Any]:
    """A group's row: name, seeds, and `[mean, error]` of each metric.

    A metric that an evaluation of the group lacks is left out.
    """
    statistics = {column.name: group.statistic(column.path) for column in COLUMNS}
    cells = {
        name: [statistic.mean, statistic.error]
        for name, statistic in statistics.items()
        if statistic is not None
    }
    seeds = [evaluation["seed"] for evaluation in group.evaluations]
    return {"model": group.name, "seeds": seeds, **cells}


def reference_row(groups: Sequence[Group], part: str) -> dict[str, Any] | None:
    """The metrics of real images or of noise, equal in all evaluations that have them.

    Args:
        groups: of evaluations.
        part: `floor` for real images, `ceiling` for noise.

    Returns:
        `[value, error]` by the column's name; None if no evaluation has them.
    """
    evaluations = [evaluation for group in groups for evaluation in group.evaluations]
    reference = next((evaluation[part] for evaluation in evaluations if part in evaluation), None)
    if reference is None:
        return None
    as_samples = {"samples": reference}
    values = {column: lookup(as_samples, column.path) for column in COLUMNS}
    return {
        column.name: [value, standard_error(as_samples, column.path)]
        for column, value in values.items()
        if value is not None
    }


# --- Markdown
# ---------------------------------------------------------------------------------------------


def markdown(comparison: Mapping[str, Any]) -> str:
    """Both tables and the verdicts as Markdown."""
    parts = []
    for title, key in (("The report's networks", "reported"), ("Other models", "others")):
        rows = [*comparison[key]]
        if not rows:
            continue
        rows += [
            {"model": name, "seeds": [], **comparison[part]}
            for name, part in (("real images", "real"), ("uniform noise", "noise"))
            if comparison[part]
        ]
        parts.append(f"### {title}\n\n{_metrics_table(rows)}")
    if comparison["notes"]:
        parts.append("\n".join(f"- {note}" for note in comparison["notes"]))
    parts.append(ERRORS)
    claims = claims_table(comparison["claims"], with_means=True)
    parts.append(f"### The report's claims\n\n{claims}")
    return "\n\n".join(parts) + "\n"


def _metrics_table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = [column for column in COLUMNS if any(column.name in row for row in rows)]
    lines = ["| model | seeds | " + " | ".join(column.name for column in columns) + " |"]
    lines.append("|---|---|" + "---:|" * len(columns))
    for cells in rows:
        metrics = [cell(cells.get(column.name), column.digits) for column in columns]
        seeds = ", ".join(map(str, cells["seeds"]))
        lines.append(f"| {cells['model']} | {seeds} | " + " | ".join(metrics) + " |")
    return "\n".join(lines)


def claims_table(decisions: Sequence[Mapping[str, Any]], with_means: bool = False) -> str:
    """The verdicts on the claims as a Markdown table.

    Args:
        decisions: what `decide` returned, one for each claim.
        with_means: whether the metric of each family is shown too.
    """
    headings = ["claim of the report", "measured by", "verdict", "pair by pair"]
    if with_means:
        headings.insert(2, "mean over seeds")
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    for decision in decisions:
        verdict, pairs = f"**{decision['verdict']}**", pairs_in_words(decision)
        cells = [decision["claim"], decision["by"], verdict, pairs or "–"]
        if with_means:
            cells.insert(2, _means_in_words(decision))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _means_in_words(decision: Mapping[str, Any]) -> str:
    """The metric of each family of a claim, such as "GAN 5.29 ± 0.33 (3 seeds)"."""
    words = []
    for family, value in decision["figures"].items():
        name, seeds = NAMES.get(family, family), decision["seeds"].get(family)
        count = f" ({seeds} seed{'' if seeds == 1 else 's'})"
        words.append(f"{name} –" if value is None else f"{name} {cell(value, 3)}{count}")
    return ", ".join(words)


def cell(value: Sequence[float] | None, digits: int) -> str:
    """A value and its error as a table shows them; empty if there is no value."""
    if value is None:
        return ""
    mean, error = value
    return format_number(mean, digits) + (f" ± {format_number(error, 2)}" if error else "")


def format_number(value: float, digits: int) -> str:
    """The number with so many significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


# --- the picture
# ------------------------------------------------------------------------------------------


def draw(evaluations: Sequence[Mapping[str, Any]]) -> "Figure | None":
    """Quality, coverage and cost as bars, and samples; None if there are no samples."""
    groups = [
        group for group in group_evaluations(evaluations) if "samples" in group.evaluations[0]
    ]
    if not groups:
        return None
    real = reference_row(groups, "floor") or {}
    panels = []
    for title, label, path in PANELS:
        statistics = [group.statistic(path) for group in groups]
        bars = [
            (math.nan, 0.0) if statistic is None else (statistic.mean, statistic.error)
            for statistic in statistics
        ]
        panels.append(figures.BarPanel(title, label, bars, real.get(title, [None])[0]))
    encoded = [group.evaluations[0].get("picture") for group in groups]
    pictures = [None if text is None else decode_picture(text) for text in encoded]
    names, families = [group.name for group in groups], [group.family for group in groups]
    return figures.comparison(names, families, panels, pictures)


def decode_picture(picture: str) -> np.ndarray:
    """The pixels of an evaluation's picture, `uint8[H, W]` or `uint8[H, W, 3]`."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
