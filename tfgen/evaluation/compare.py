"""Evaluations side by side: what compares, what is best, and verdicts on the report's claims.

No TensorFlow here: all is read from what `tfgen-evaluate` wrote.
"""

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.claims import CLAIMS, decide, is_reported
from tfgen.evaluation.groups import (
    Group,
    Statistic,
    group_evaluations,
    lookup,
    standard_error,
    unique_labels,
)
from tfgen.evaluation.reading import Evaluation, extractor
from tfgen.evaluation.remarks import count_text, remarks_on_all, table_remarks, table_title


@dataclass(frozen=True)
class Column:
    """A metric in the tables.

    Attributes:
        name: the heading.
        path: of the metric in an evaluation.
        digits: significant digits.
        better: 1 if higher is better, −1 if lower is, 0 if there is no best.
        settings: settings of the likelihood, of which an evaluation has one: its name there, and
            its words in a cell. Values of the same events compare if those with the same setting
            agree on it.
    """

    name: str
    path: tuple[str, ...]
    digits: int = 3
    better: int = 0
    settings: tuple[tuple[str, str], ...] = ()


# Settings of a likelihood, and their words in a cell.
_SAMPLES, _DRAWS = ("importance_samples", "k = {}"), ("dequantizations", "{} draws")
# The columns of each part of a comparison.
PARTS = {
    "samples": (
        Column("FID", ("samples", "fid"), 3, -1),
        Column("KID × 1000", ("samples", "kid_thousandths"), 3, -1),
        Column("precision", ("samples", "precision"), 3, 1),
        Column("recall", ("samples", "recall"), 3, 1),
        Column("density", ("samples", "density"), 3, 1),
        Column("coverage", ("samples", "coverage"), 3, 1),
        Column("class entropy [nats]", ("samples", "class_entropy"), 4),
        Column("modes", ("modes", "captured"), 4, 1),
        Column("KL of modes [nats]", ("modes", "kl"), 3, -1),
    ),
    "likelihood": (
        Column("−ELBO [nats]", ("likelihood", "negative_elbo"), 5, -1),
        Column("NLL [nats]", ("likelihood", "nll"), 5, -1, (_SAMPLES,)),
        Column("bits/dim", ("likelihood", "bits_per_dim"), 4, -1, (_SAMPLES, _DRAWS)),
    ),
    "cost": (
        Column("s/epoch", ("cost", "seconds_an_epoch")),
        Column("training [s]", ("cost", "seconds"), 4),
        Column("images/s", ("cost", "images_a_second")),
        Column("parameters", ("cost", "parameters"), 4),
        Column("peak [MiB]", ("cost", "peak_mib"), 4),
    ),
}
# Rows beside the models: their names, and the parts of an evaluation that have their metrics.
REFERENCES = (("real images", "floor"), ("uniform noise", "ceiling"))


@dataclass(frozen=True)
class Cell:
    """A value in a table.

    Attributes:
        statistic: mean and error.
        notes: what was measured differently from other values of the column, such as `n = 5 000`.
        is_best: whether it is the best of the values that compare with it.
    """

    statistic: Statistic
    notes: tuple[str, ...] = ()
    is_best: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: of the model, or of what the metrics are of.
        cells: by the name of their column; a metric that was not measured is left out.
        group: the evaluations of the model; None for real images and noise.
    """

    name: str
    cells: dict[str, Cell]
    group: Group | None = None


@dataclass(frozen=True)
class Table:
    """Models whose metrics of one part compare.

    Attributes:
        part: `samples`, `likelihood` or `cost`.
        title: what was measured, and on what.
        columns: those in which a row has a value.
        rows: the models, then real images and noise.
        notes: sentences to read with the table.
    """

    part: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All tables, and the verdicts on the report's claims.

    Attributes:
        tables: of samples, one for each data set and each network that features come from; of
            likelihoods, one for each data set; of costs.
        claims: what `decide` returned, one for each claim; empty unless several families of the
            report's networks are compared.
        notes: sentences about all tables.
    """

    tables: tuple[Table, ...]
    claims: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def compare(evaluations: Sequence[Evaluation]) -> Comparison:
    """Evaluations side by side.

    Raises:
        UsageError: there are no evaluations, one is passed twice, or two models have one name.
    """
    if not evaluations:
        raise UsageError("there is nothing to compare; pass runs or versions that were evaluated")
    groups = group_evaluations(evaluations)
    models = dict(zip(unique_labels(groups), groups, strict=True))
    tables = [table for part in PARTS for table in _tables(models, part)]
    reported = [group for group in groups if is_reported(group)]
    # A claim is about an order, which takes two families.
    claims = CLAIMS if len({group.family for group in reported}) > 1 else ()
    return Comparison(
        tables=tuple(tables),
        claims=tuple(decide(claim, reported) for claim in claims),
        notes=tuple(remarks_on_all(models)),
    )


class _Setting(NamedTuple):
    """A setting of a likelihood; both are empty if there is none."""

    name: str = ""
    words: str = "setting unknown"


# --- tables
# -----------------------------------------------------------------------------------------------


def _tables(models: dict[str, Group], part: str) -> list[Table]:
    """The tables of a part: one for each set of models whose metrics compare."""
    blocks: dict[tuple[str | None, ...], dict[str, Group]] = {}
    for name, group in models.items():
        if any(_known(group, column) for column in PARTS[part]):
            measured = group.measurement
            shared = (measured.dataset, measured.split, measured.features)
            key = {"samples": shared, "likelihood": shared[:2], "cost": ()}[part]
            blocks.setdefault(key, {})[name] = group
    tables = [_table(block, part) for block in blocks.values()]
    titles = Counter(table.title for table in tables)
    return [
        # Data sets, or networks, of one name are told apart by the start of their hashes.
        replace(table, title=f"{table.title} ({_short_hashes(key)})")
        if titles[table.title] > 1
        else table
        for key, table in zip(blocks, tables, strict=True)
    ]


def _short_hashes(key: tuple[str | None, ...]) -> str:
    dataset, _, *features = key
    return ", ".join([f"data set {dataset}"[:17], *(f"features {sha}"[:17] for sha in features)])


def _table(models: dict[str, Group], part: str) -> Table:
    groups = list(models.values())
    # The most frequent number of images first.
    counts = [n for n, _ in Counter(group.measurement.n for group in groups).most_common()]
    # Costs do not depend on it.
    named_counts = set() if part == "cost" else set(counts[1:])
    columns = {column.name: _cells(groups, column, named_counts) for column in PARTS[part]}
    rows = [
        Row(name, {key: cell for key, cells in columns.items() if (cell := cells[place])}, group)
        for place, (name, group) in enumerate(models.items())
    ]
    if part == "samples":
        rows += _reference_rows(groups, counts)
    return Table(
        part=part,
        title=table_title(part, groups[0], counts),
        columns=tuple(c for c in PARTS[part] if any(c.name in row.cells for row in rows)),
        rows=tuple(rows),
        notes=tuple(table_remarks(part, models)),
    )


def _known(group: Group, column: Column) -> Group | None:
    """The evaluations of a group that have a metric; None if there is none."""
    known = tuple(item for item in group.evaluations if lookup(item, column.path) is not None)
    return replace(group, evaluations=known) if known else None


def _cells(
    groups: Sequence[Group], column: Column, named_counts: set[int | None]
) -> list[Cell | None]:
    """The cells of a column: the value of each group, its notes, and which values are best.

    Args:
        groups: the rows.
        column: a metric.
        named_counts: the numbers of images that a cell names.
    """
    known = [_known(group, column) for group in groups]
    settings = {_setting(group, column) for group in known if group}
    cells: list[Cell | None] = []
    for group, whole in zip(known, groups, strict=True):
        statistic = group.statistic(column.path) if group else None
        if group is None or statistic is None:
            cells.append(None)
            continue
        notes = []
        if group.measurement.n in named_counts:
            notes.append(count_text(group.measurement.n))
        if column.settings and len(settings) > 1:
            notes.append(_setting(group, column).words)
        if len(group.evaluations) < len(whole.evaluations):
            notes.append(f"{len(group.evaluations)} of {len(whole.evaluations)} seeds")
        cells.append(Cell(statistic, tuple(notes)))
    return _mark_best(cells, _rank_keys(known, column), column.better)


def _setting(group: Group, column: Column) -> _Setting:
    """The setting of the likelihood that a column's values must share."""
    likelihood = group.evaluations[0].get("likelihood") or {}
    for name, words in column.settings:
        if name in likelihood:
            return _Setting(name, words.format(likelihood[name]))
    return _Setting()


def _rank_keys(groups: Sequence[Group | None], column: Column) -> list[tuple[Any, ...] | None]:
    """What values of one column must share to be ranked; None where that is not known."""
    keys = [_measured(group, column) if group else None for group in groups]
    settings = [_setting(group, column) if group else None for group in groups]
    distinct: dict[Any, set[_Setting]] = {}
    for key, setting in zip(keys, settings, strict=True):
        if key and setting:
            distinct.setdefault(key, set()).add(setting)
    # Importance samples and dequantization draws give bounds on the same number.
    agree = {
        key: len({setting.name for setting in known}) == len(known)
        for key, known in distinct.items()
    }
    return [
        key and (*key, None if agree[key] and setting and setting.name else setting)
        for key, setting in zip(keys, settings, strict=True)
    ]


def _measured(group: Group, column: Column) -> tuple[Any, ...] | None:
    """How many images a value of a group is of, and which events; None if that is not known."""
    if group.measurement.n is None:
        return None
    likelihood = group.evaluations[0].get("likelihood") or {}
    return group.measurement.n, likelihood.get("events") if column.path[0] == "likelihood" else None


def _mark_best(
    cells: Sequence[Cell | None], keys: Sequence[tuple[Any, ...] | None], better: int
) -> list[Cell | None]:
    """The cells, with the best of those that share a key marked, unless all are equal."""
    values: dict[Any, set[float]] = {}
    for cell, key in zip(cells, keys, strict=True):
        if cell and key and better and math.isfinite(cell.statistic.mean):
            values.setdefault(key, set()).add(better * cell.statistic.mean)
    best = {key: max(means) for key, means in values.items() if len(means) > 1}
    return [
        replace(cell, is_best=better * cell.statistic.mean == best.get(key)) if cell else None
        for cell, key in zip(cells, keys, strict=True)
    ]


def _reference_rows(groups: Sequence[Group], counts: Sequence[int | None]) -> list[Row]:
    """Real images and noise, for each number of images: equal in all evaluations that have them."""
    evaluations = [evaluation for group in groups for evaluation in group.evaluations]
    rows = []
    for count in counts:
        notes = () if count == counts[0] else (count_text(count),)
        for name, part in REFERENCES:
            references = (item.get(part) for item in evaluations if item["n"] == count)
            as_samples: dict[str, Any] = {"samples": next(filter(None, references), {})}
            statistics = {
                column.name: Statistic(value, standard_error(as_samples, column.path))
                for column in PARTS["samples"]
                if (value := lookup(as_samples, column.path)) is not None
            }
            if statistics:
                cells = {key: Cell(statistic, notes) for key, statistic in statistics.items()}
                rows.append(Row(name, cells))
    return rows


def to_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison for JSON; what is not finite is null."""

    def row_json(row: Row) -> dict[str, Any]:
        result: dict[str, Any] = {"name": row.name}
        if row.group is not None:
            result |= {
                "evaluations": list(row.group.arguments),
                "family": row.group.family,
                "preset": row.group.preset or None,
                "seeds": [evaluation["seed"] for evaluation in row.group.evaluations],
                "n": row.group.measurement.n,
            }
        metrics = {
            name: {
                "mean": cell.statistic.mean,
                "error": cell.statistic.error,
                "notes": list(cell.notes),
                "best": cell.is_best,
            }
            for name, cell in row.cells.items()
        }
        return result | {"metrics": metrics}

    def table_json(table: Table) -> dict[str, Any]:
        model = next(row.group for row in table.rows if row.group)
        measured: dict[str, Any] = {}
        if table.part != "cost":
            measured["dataset"] = model.evaluations[0]["dataset"]
        if table.part == "samples":
            measured["features"] = dict(extractor(model.evaluations[0]))
        return {
            "part": table.part,
            "title": table.title,
            **measured,
            "rows": [row_json(row) for row in table.rows],
            "notes": list(table.notes),
        }

    result: dict[str, Any] = _finite(
        {
            "tables": [table_json(table) for table in comparison.tables],
            "claims": list(comparison.claims),
            "notes": list(comparison.notes),
        }
    )
    return result


def _finite(value: Any) -> Any:
    """A value for JSON, which knows no number that is not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def decode_picture(picture: str) -> np.ndarray:
    """The pixels of an evaluation's picture, `uint8[H, W]` or `uint8[H, W, 3]`."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
