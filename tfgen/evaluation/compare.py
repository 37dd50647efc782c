"""Evaluations side by side: tables, one figure, and what they say of the source report's claims.

No TensorFlow here: all is read from what `tfgen-evaluate` wrote.
"""

import base64
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from tfgen import figures, versions
from tfgen.errors import UsageError, WorkError
from tfgen.training.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The report's own networks, by whose name its claims are judged.
REPORTED = "mlp"


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
    Column("−ELBO [nats]", ("likelihood", "negative_elbo"), 5),
    Column("NLL [nats]", ("likelihood", "nll"), 5),
    Column("bits/dim", ("likelihood", "bits_per_dim"), 4),
    Column("s/epoch", ("cost", "seconds_an_epoch")),
    Column("training [s]", ("cost", "seconds"), 4),
    Column("images/s", ("cost", "images_a_second")),
    Column("parameters", ("cost", "parameters"), 4),
    Column("peak [MiB]", ("cost", "peak_mib"), 4),
)


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
        "cost an epoch GAN > flow > VAE", ("gan", "flow", "vae"), ("cost", "seconds_an_epoch"), "s/epoch", 1
    ),
    Claim("coverage flow > VAE > GAN", ("flow", "vae", "gan"), ("samples", "recall"), "recall", 1),
    Claim("coverage flow > VAE > GAN", ("flow", "vae", "gan"), ("samples", "coverage"), "coverage", 1),
)


@dataclass(frozen=True)
class Figures:
    """The mean of a figure over seeds and its spread, 0 with one seed alone."""

    mean: float
    spread: float


@dataclass(frozen=True)
class Group:
    """Evaluations that differ in the seed of training alone.

    Attributes:
        family: of all.
        preset: of all.
        evaluations: one a seed.
    """

    family: str
    preset: str
    evaluations: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.family} {self.preset}"

    def figures(self, path: Sequence[str]) -> Figures | None:
        """The figure over the seeds; None where an evaluation lacks it."""
        found = [lookup(each, path) for each in self.evaluations]
        if any(value is None for value in found):
            return None
        values = [float(value) for value in found if value is not None]
        return Figures(mean(values), stdev(values) if len(values) > 1 else 0.0)


def lookup(evaluation: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """The number at a path of an evaluation, None where there is none."""
    *parts, last = path
    table: Any = evaluation
    for part in parts:
        table = table.get(part) or {}
    if last == "kid_thousandths":
        return None if table.get("kid") is None else 1000 * float(table["kid"])
    value = table.get(last)
    return None if value is None else float(value)


def read_evaluation(what: str, saved_models: Path) -> dict[str, Any]:
    """The evaluation of a run, of a version, of a published name, or in a JSON file.

    Raises:
        UsageError: there is none.
        WorkError: it is damaged.
    """
    path = Path(what)
    if path.is_file():
        source, inner = path, False
    elif RunFolder(path).evaluation.is_file():
        source, inner = RunFolder(path).evaluation, False
    elif (path / versions.MANIFEST).is_file():
        source, inner = path / versions.MANIFEST, True
    elif path.is_dir():
        raise UsageError(f"{what} has not been judged; run tfgen-evaluate {what}")
    else:
        source, inner = versions.find(what, saved_models).path / versions.MANIFEST, True
    try:
        data = json.loads(source.read_text())
        found = data["evaluation"] if inner else data
        if found is None:
            raise UsageError(f"{what} has not been judged; run tfgen-evaluate {what}")
        if not isinstance(found["format"], int) or not isinstance(found["title"], str):
            raise ValueError("it is no evaluation")
        return dict(found)
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkError(f"{source} holds no evaluation that can be read ({error})") from error


def grouped(evaluations: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Evaluations by family and preset, in the order in which they come.

    Raises:
        UsageError: two are of one seed, or they do not compare: another data set, split, number of samples,
            or classifier.
    """
    evaluations = list(evaluations)
    for name, path in (("data set", ("dataset", "fingerprint")), ("split", ("dataset", "split"))):
        _same(evaluations, name, lambda each, path=path: each[path[0]][path[1]])
    _same(evaluations, "number of samples", lambda each: each["n"])
    _same(evaluations, "classifier", lambda each: (each.get("classifier") or {}).get("sha256"))
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in evaluations:
        members = groups.setdefault((str(each["family"]), str(each["preset"])), [])
        if any(other["seed"] == each["seed"] for other in members):
            raise UsageError(f"{each['title']} is given twice; give each run once")
        members.append(dict(each))
    return [Group(*key, tuple(members)) for key, members in groups.items()]


def _same(evaluations: Sequence[Mapping[str, Any]], name: str, value: Any) -> None:
    first = evaluations[0]
    for each in evaluations[1:]:
        if value(each) != value(first):
            raise UsageError(
                f"{first['title']} and {each['title']} do not compare: they were judged by another {name} "
                f"({value(first)}, {value(each)}); run tfgen-evaluate anew"
            )


def verdict(claim: Claim, groups: Mapping[str, Group]) -> dict[str, Any]:
    """What the figures say of a claim.

    It is borne out where each neighbouring pair of its order differs by more than the pair's error, the root
    of the sum of both squared spreads over seeds; not borne out where a pair is the other way round by more
    than that; otherwise within error.

    Args:
        claim: which.
        groups: by family; one that is missing leaves the claim open.
    """
    found = {name: groups[name].figures(claim.path) if name in groups else None for name in claim.order}
    result: dict[str, Any] = {
        "claim": claim.text,
        "by": claim.name,
        "figures": {name: None if each is None else [each.mean, each.spread] for name, each in found.items()},
    }
    if any(each is None for each in found.values()):
        return {**result, "verdict": "not judged", "pairs": []}
    pairs: list[dict[str, Any]] = []
    for more, less in zip(claim.order, claim.order[1:], strict=False):
        one, other = found[more], found[less]
        assert one is not None and other is not None
        difference = claim.sign * (one.mean - other.mean)
        error = math.hypot(one.spread, other.spread)
        holds = 0 if abs(difference) <= error else math.copysign(1, difference)
        pairs.append({"pair": [more, less], "difference": difference, "error": error, "holds": holds})
    signs = [pair["holds"] for pair in pairs]
    word = "borne out" if min(signs) > 0 else "not borne out" if min(signs) < 0 else "within error"
    return {**result, "verdict": word, "pairs": pairs}


def compare(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Both tables and the verdicts, for JSON.

    Raises:
        UsageError: there is nothing to compare, or what does not.
    """
    if not evaluations:
        raise UsageError("there is nothing to compare; name runs or versions that were judged")
    groups = grouped(evaluations)
    reported = {group.family: group for group in groups if group.preset == REPORTED}
    return {
        "reported": [row(group) for group in groups if group.preset == REPORTED],
        "others": [row(group) for group in groups if group.preset != REPORTED],
        "real": bounds(groups, "floor"),
        "noise": bounds(groups, "ceiling"),
        "claims": [verdict(claim, reported) for claim in CLAIMS],
    }


def row(group: Group) -> dict[str, Any]:
    """A group's line: name, seeds, and `[mean, spread]` of each figure that all of its evaluations have."""
    found = {column.name: group.figures(column.path) for column in COLUMNS}
    values = {name: [each.mean, each.spread] for name, each in found.items() if each is not None}
    return {"model": group.name, "seeds": [each["seed"] for each in group.evaluations], **values}


def bounds(groups: Sequence[Group], part: str) -> dict[str, Any] | None:
    """The figures of real images or of noise, which all evaluations share; None where none has them."""
    for group in groups:
        for each in group.evaluations:
            if part in each:
                moved = {"samples": each[part]}
                values = {column.name: lookup(moved, column.path) for column in COLUMNS}
                return {name: [value, 0.0] for name, value in values.items() if value is not None}
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
            for name, part in (("real training images", "real"), ("uniform noise", "noise"))
            if comparison[part]
        ]
        parts.append(f"### {title}\n\n{_table(rows)}")
    claims = "\n".join(_told(claim) for claim in comparison["claims"])
    parts.append(
        f"### The report's claims\n\n| claim | by | figures | verdict |\n|---|---|---|---|\n{claims}"
    )
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [column for column in COLUMNS if any(column.name in each for each in rows)]
    lines = ["| model | seeds | " + " | ".join(column.name for column in shown) + " |"]
    lines.append("|---|---|" + "---:|" * len(shown))
    for each in rows:
        cells = [_cell(each.get(column.name), column.digits) for column in shown]
        seeds = ", ".join(map(str, each["seeds"]))
        lines.append(f"| {each['model']} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Sequence[float] | None, digits: int) -> str:
    if value is None:
        return ""
    middle, spread = value
    return number(middle, digits) + (f" ± {number(spread, 2)}" if spread else "")


def number(value: float, digits: int) -> str:
    """So many significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def _told(claim: Mapping[str, Any]) -> str:
    values = ", ".join(
        f"{name} {'–' if each is None else _cell(each, 3)}" for name, each in claim["figures"].items()
    )
    return f"| {claim['claim']} | {claim['by']} | {values} | **{claim['verdict']}** |"


def figure(evaluations: Sequence[Mapping[str, Any]]) -> "Figure":
    """Quality, coverage and cost as bars, and samples of each group side by side."""
    groups = [group for group in grouped(evaluations) if "samples" in group.evaluations[0]]
    if not groups:
        raise UsageError("no evaluation has samples; there is nothing to show")
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
    real = (bounds(groups, "floor") or {}).get("FID", [None])[0]
    encoded = [group.evaluations[0].get("picture") for group in groups]
    pictures = [None if each is None else decoded(each) for each in encoded]
    return figures.comparison([group.name for group in groups], bars, pictures, {"FID": real})


def decoded(picture: str) -> np.ndarray:
    """The pixels of an evaluation's picture, `uint8[H, W]` or `uint8[H, W, 3]`."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
