"""Evaluations side by side: tables, one figure, and what they say of the source report's claims.

No TensorFlow here: all is read from what `tfgen-evaluate` wrote.
"""

import base64
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfgen import figures
from tfgen.errors import UsageError
from tfgen.evaluation.groups import Group, grouped, lookup, own_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Column:
    """One figure of an evaluation.

    Attributes:
        name: the heading.
        path: where it is in an evaluation.
        digits: significant ones.
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


# What the errors in tables are.
ERRORS = "± over seeds is their standard deviation, of one seed the estimate's standard error."


@dataclass(frozen=True)
class Claim:
    """An order of the families that the source report asserts.

    Attributes:
        text: what it says.
        order: families, the one that is said to have most of it first.
        path: the figure that decides.
        name: of that figure.
        sign: 1 where more of the figure is more of what is claimed, else −1.
    """

    text: str
    order: tuple[str, ...]
    path: tuple[str, ...]
    name: str
    sign: int


CLAIMS = (
    Claim("image quality GAN > flow > VAE", ("gan", "flow", "vae"), ("samples", "fid"), "FID", -1),
    Claim(
        "cost an epoch GAN > flow > VAE",
        ("gan", "flow", "vae"),
        ("cost", "seconds_an_epoch"),
        "s/epoch",
        1,
    ),
    Claim("coverage flow > VAE > GAN", ("flow", "vae", "gan"), ("samples", "recall"), "recall", 1),
    Claim(
        "coverage flow > VAE > GAN", ("flow", "vae", "gan"), ("samples", "coverage"), "coverage", 1
    ),
)


def verdict(claim: Claim, groups: Sequence[Group]) -> dict[str, Any]:
    """What the figures say of a claim.

    It is borne out where each pair of its order differs by more than the pair's error, the root of
    the sum of both squared spreads over seeds; not borne out where a pair is the other way round by
    more than that; otherwise within error. With a single seed of a family there is no error and no
    verdict, and none of times on machines that differ or are not known, nor where a family's
    networks come in two kinds.

    Args:
        claim: which.
        groups: of the report's networks; a family that is missing leaves the claim open.
    """
    there = [group for group in groups if group.family in claim.order]
    by_family = {group.family: group for group in there}
    found = {
        name: by_family[name].figures(claim.path) if name in by_family else None
        for name in claim.order
    }
    result: dict[str, Any] = {
        "claim": claim.text,
        "by": claim.name,
        "figures": {
            name: None if each is None else [each.mean, each.spread] for name, each in found.items()
        },
        "seeds": {name: len(group.evaluations) for name, group in by_family.items()},
        "pairs": [],
    }
    figures = [each for each in found.values() if each is not None and math.isfinite(each.mean)]
    if (why := _not_judged(claim, there, len(figures))) is not None:
        return {**result, "verdict": f"not judged: {why}"}
    for (more, one), (less, other) in itertools.combinations(
        zip(claim.order, figures, strict=True), 2
    ):
        difference = claim.sign * (one.mean - other.mean)
        error = math.hypot(one.spread, other.spread)
        holds = 0 if abs(difference) <= error else math.copysign(1, difference)
        pair = {"pair": [more, less], "difference": difference, "error": error, "holds": holds}
        result["pairs"].append(pair)
    signs = [pair["holds"] for pair in result["pairs"]]
    word = "borne out" if min(signs) > 0 else "not borne out" if min(signs) < 0 else "within error"
    return {**result, "verdict": word}


def _not_judged(claim: Claim, groups: Sequence[Group], figures: int) -> str | None:
    """Why there is no verdict on a claim, so many of whose families have a figure; None: there is
    one."""
    families = [group.family for group in groups]
    if several := [name for name in claim.order if families.count(name) > 1]:
        return f"{several[0]} comes in two kinds"
    if figures < len(claim.order):
        return "a figure is missing"
    if any(len(group.evaluations) < 2 for group in groups):
        return "one seed alone"
    costs = [each["cost"] for group in groups for each in group.evaluations]
    machines = {(cost.get("processor"), cost.get("cores")) for cost in costs}
    if claim.path[0] == "cost" and len(machines) > 1:
        return "different machines"
    if claim.path[0] == "cost" and None in machines.pop():
        return "the machine is not known"
    return None


def compare(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Both tables and the verdicts, for JSON.

    Raises:
        UsageError: there is nothing to compare, or what does not.
    """
    if not evaluations:
        raise UsageError("there is nothing to compare; name runs or versions that were judged")
    groups = grouped(evaluations)
    reported = [group for group in groups if group.reported]
    return {
        "reported": [row(group) for group in reported],
        "others": [row(group) for group in groups if not group.reported],
        "real": bounds(groups, "floor"),
        "noise": bounds(groups, "ceiling"),
        "claims": [verdict(claim, reported) for claim in CLAIMS],
        "notes": notes(groups),
    }


def notes(groups: Sequence[Group]) -> list[str]:
    """What the likelihoods are of, a line for each kind."""
    told: dict[str, list[str]] = {}
    for group in groups:
        found = group.evaluations[0].get("likelihood") or {}
        if "importance_samples" in found:
            text = f"nats of {found['events']}; NLL by {found['importance_samples']} importance samples"
        elif "dequantizations" in found:
            text = f"bits/dim of {found['events']}, over {found['dequantizations']} dequantizations"
        else:
            continue
        told.setdefault(text, []).append(group.name)
    return [f"{', '.join(names)}: {text}" for text, names in told.items()]


def row(group: Group) -> dict[str, Any]:
    """A group's line: name, seeds, and `[mean, error]` of each figure that all of its evaluations
    have."""
    found = {column.name: group.figures(column.path) for column in COLUMNS}
    values = {name: [each.mean, each.spread] for name, each in found.items() if each is not None}
    return {"model": group.name, "seeds": [each["seed"] for each in group.evaluations], **values}


def bounds(groups: Sequence[Group], part: str) -> dict[str, Any] | None:
    """The figures of real images or of noise, which all evaluations share; None where none has
    them."""
    for group in groups:
        for each in group.evaluations:
            if part in each:
                moved = {"samples": each[part]}
                values = {column: lookup(moved, column.path) for column in COLUMNS}
                return {
                    column.name: [value, own_error(moved, column.path)]
                    for column, value in values.items()
                    if value is not None
                }
    return None


def markdown(comparison: Mapping[str, Any]) -> str:
    """Both tables and the claims as Markdown."""
    parts = []
    for title, key in (("The report's networks", "reported"), ("Other presets", "others")):
        rows = [*comparison[key]]
        if not rows:
            continue
        rows += [
            {"model": name, "seeds": [], **comparison[part]}
            for name, part in (("real images", "real"), ("uniform noise", "noise"))
            if comparison[part]
        ]
        parts.append(f"### {title}\n\n{_table(rows)}")
    if comparison["notes"]:
        parts.append("\n".join(f"- {note}" for note in comparison["notes"]))
    parts.append(ERRORS)
    claims = "\n".join(_told(claim) for claim in comparison["claims"])
    head = "| claim | by | figures, of so many seeds | verdict |\n|---|---|---|---|"
    parts.append(f"### The report's claims\n\n{head}\n{claims}")
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [column for column in COLUMNS if any(column.name in each for each in rows)]
    lines = ["| model | seeds | " + " | ".join(column.name for column in shown) + " |"]
    lines.append("|---|---|" + "---:|" * len(shown))
    for each in rows:
        cells = [cell(each.get(column.name), column.digits) for column in shown]
        seeds = ", ".join(map(str, each["seeds"]))
        lines.append(f"| {each['model']} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(value: Sequence[float] | None, digits: int) -> str:
    """A figure and its error, if it has one, as a table shows them; empty where there is none."""
    if value is None:
        return ""
    middle, error = value
    return number(middle, digits) + (f" ± {number(error, 2)}" if error else "")


def number(value: float, digits: int) -> str:
    """So many significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def _told(claim: Mapping[str, Any]) -> str:
    values = ", ".join(
        f"{name} –" if each is None else f"{name} {cell(each, 3)} of {claim['seeds'][name]}"
        for name, each in claim["figures"].items()
    )
    return f"| {claim['claim']} | {claim['by']} | {values} | {answer(claim)} |"


def answer(claim: Mapping[str, Any]) -> str:
    """What `verdict` found, as Markdown, with what it found of each pair."""
    words = {1: "holds", 0: "is within error", -1: "is the other way round"}
    pairs = ", ".join(
        f"{' > '.join(pair['pair'])} {words[pair['holds']]}" for pair in claim["pairs"]
    )
    return f"**{claim['verdict']}**" + (f": {pairs}" if pairs else "")


def figure(evaluations: Sequence[Mapping[str, Any]]) -> "Figure | None":
    """Quality, coverage and cost as bars, and samples of each group side by side; None without
    samples."""
    groups = [group for group in grouped(evaluations) if "samples" in group.evaluations[0]]
    if not groups:
        return None
    panels = {
        "FID": [group.figures(("samples", "fid")) for group in groups],
        "recall": [group.figures(("samples", "recall")) for group in groups],
        "coverage": [group.figures(("samples", "coverage")) for group in groups],
        "seconds an epoch": [group.figures(("cost", "seconds_an_epoch")) for group in groups],
    }
    bars = {
        title: [(math.nan, 0.0) if each is None else (each.mean, each.spread) for each in values]
        for title, values in panels.items()
    }
    real = {name: value for name, (value, _) in (bounds(groups, "floor") or {}).items()}
    encoded = [group.evaluations[0].get("picture") for group in groups]
    pictures = [None if each is None else decoded(each) for each in encoded]
    return figures.comparison([group.name for group in groups], bars, pictures, real)


def decoded(picture: str) -> np.ndarray:
    """The pixels of an evaluation's picture, `uint8[H, W]` or `uint8[H, W, 3]`."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
