"""Evaluations side by side: what compares, what is best, and what to know when reading them.

No TensorFlow here: all is read from what `tfgen-evaluate` wrote.
"""

import base64
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.metrics import METRICS, Metric
from tfgen.evaluation.reading import (
    Evaluation,
    Group,
    Statistic,
    extractor,
    group_evaluations,
    is_finished,
    unique_labels,
)

# The tables, and the parts of an evaluation whose metrics are their columns.
TABLES = {"samples": ("samples", "modes"), "likelihood": ("likelihood",), "cost": ("cost",)}
# Rows beside the models: their names, and the parts of an evaluation that have their metrics.
REFERENCES = (("real images", "floor"), ("uniform noise", "ceiling"))
# A classifier with a lower accuracy on the real images is weak: its features say little about them.
WEAK_ACCURACY = 0.9
# The settings of a likelihood, of which an evaluation has one, and their words in a cell.
_SETTINGS = {"importance_samples": "k = {}", "dequantizations": "{} draws"}


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
        cells: by the heading of their column; a metric that was not measured is left out.
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
    columns: tuple[Metric, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All tables.

    Attributes:
        tables: of samples, one for each data set and each network that features come from; of
            likelihoods, one for each data set; of costs.
        notes: sentences about all tables.
    """

    tables: tuple[Table, ...]
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
    tables = [table for part in TABLES for table in _tables(models, part)]
    return Comparison(tuple(tables), tuple(_remarks_on_all(models)))


def _columns(part: str) -> list[Metric]:
    return [metric for metric in METRICS if metric.part in TABLES[part]]


def _tables(models: Mapping[str, Group], part: str) -> list[Table]:
    """The tables of a part: one for each set of models whose metrics compare."""
    blocks: dict[tuple[str | None, ...], dict[str, Group]] = {}
    for name, group in models.items():
        if any(group.statistic(metric) for metric in _columns(part)):
            measured = group.measurement
            shared = (measured.dataset, measured.split, measured.features)
            key = {"samples": shared, "likelihood": shared[:2], "cost": ()}[part]
            blocks.setdefault(key, {})[name] = group
    return [_table(block, part) for block in blocks.values()]


def _table(models: Mapping[str, Group], part: str) -> Table:
    groups = list(models.values())
    # The most frequent number of images first.
    counts = [n for n, _ in Counter(group.measurement.n for group in groups).most_common()]
    # Costs do not depend on it.
    usual = {group.measurement.n for group in groups} if part == "cost" else {counts[0]}
    columns = {metric.heading: _cells(groups, metric, usual) for metric in _columns(part)}
    rows = [
        Row(name, {key: cell for key, cells in columns.items() if (cell := cells[place])}, group)
        for place, (name, group) in enumerate(models.items())
    ]
    if part == "samples":
        rows += _reference_rows(groups, counts)
    return Table(
        part=part,
        title=_title(part, groups[0], counts),
        columns=tuple(m for m in _columns(part) if any(m.heading in row.cells for row in rows)),
        rows=tuple(rows),
        notes=tuple(_remarks(part, models)),
    )


def _cells(groups: Sequence[Group], metric: Metric, usual: set[int | None]) -> list[Cell | None]:
    """The cells of a column: the value of each group, its notes, and which values are best.

    Args:
        groups: the rows.
        metric: of the column.
        usual: numbers of images that a cell does not name.
    """
    known = {
        place: (group, statistic)
        for place, group in enumerate(groups)
        if (statistic := group.statistic(metric)) is not None
    }
    best, settings = _best(known, metric), {_setting(group, metric) for group, _ in known.values()}
    cells: list[Cell | None] = [None] * len(groups)
    for place, (group, statistic) in known.items():
        notes = [] if group.measurement.n in usual else [count_text(group.measurement.n)]
        notes += [_setting(group, metric)[1]] if len(settings) > 1 else []
        count = sum(metric.value(evaluation) is not None for evaluation in group.evaluations)
        if count < len(group.members):
            notes.append(f"{count} of {len(group.members)} seeds")
        cells[place] = Cell(statistic, tuple(notes), place in best)
    return cells


def _best(known: Mapping[int, tuple[Group, Statistic]], metric: Metric) -> set[int]:
    """The places of the groups that are best by a metric, among those that were measured alike.

    Values compare if they share sample count and event type. Importance samples and dequantization
    draws give bounds on the same number, which compare unless two models differ in one of these.
    """
    rivals: dict[tuple[Any, ...], dict[int, float]] = {}
    settings: dict[tuple[Any, ...], set[tuple[str, str]]] = {}
    for place, (group, statistic) in known.items():
        if group.measurement.n and metric.better:
            likelihood = group.first.get("likelihood") or {}
            events = likelihood.get("events") if metric.part == "likelihood" else None
            key = (group.measurement.n, events)
            settings.setdefault(key, set()).add(_setting(group, metric))
            if math.isfinite(statistic.mean):
                rivals.setdefault(key, {})[place] = metric.better * statistic.mean
    best: set[int] = set()
    for key, values in rivals.items():
        names = {name for name, _ in settings[key]}
        if len(names) == len(settings[key]) and len(set(values.values())) > 1:
            best |= {place for place, value in values.items() if value == max(values.values())}
    return best


def _setting(group: Group, metric: Metric) -> tuple[str, str]:
    """The setting that a value of a likelihood depends on: its name, and its words in a cell."""
    likelihood = group.first.get("likelihood") or {}
    if metric.key not in ("nll", "bits_per_dim"):
        return "", ""
    known = (name for name in _SETTINGS if name in likelihood)
    name = next(known, "")
    return name, _SETTINGS[name].format(likelihood[name]) if name else "setting unknown"


def _reference_rows(groups: Sequence[Group], counts: Sequence[int | None]) -> list[Row]:
    """Real images and noise, for each number of images: equal in all evaluations that have them."""
    evaluations = [evaluation for group in groups for evaluation in group.evaluations]
    rows = []
    for count in counts:
        notes = () if count == counts[0] else (count_text(count),)
        for name, part in REFERENCES:
            measured = (item.get(part) for item in evaluations if item["n"] == count)
            as_samples: dict[str, Any] = {"samples": next(filter(None, measured), {})}
            cells = {
                metric.heading: Cell(Statistic(value, metric.error(as_samples)), notes)
                for metric in _columns("samples")
                if (value := metric.value(as_samples)) is not None
            }
            rows += [Row(name, cells)] if cells else []
    return rows


# --- words
# --------------------------------------------------------------------------------------------


def count_text(n: int | None) -> str:
    """A number of images as cells and titles name it: `n = 10 000`."""
    return "n unknown" if n is None else f"n = {n:,}".replace(",", " ")


def training_text(names: Sequence[str]) -> str:
    """Says of models that they were trained on more images than by default."""
    return f"{', '.join(names)}: trained on the validation images, too (--train-on all)"


def _title(part: str, group: Group, counts: Sequence[int | None]) -> str:
    """What a table shows; `counts` are numbers of images, that of most models first."""
    if part == "cost":
        return "Cost"
    dataset = group.first["dataset"]
    images = f"the {dataset['split']} images of {dataset.get('name') or 'an unnamed data set'}"
    number = count_text(counts[0]) + (" unless stated otherwise" if len(counts) > 1 else "")
    if part == "likelihood":
        return f"Likelihood of {images}, {number}"
    return f"Samples against {images}, features of {features_text(group.first)}, {number}"


def features_text(evaluation: Mapping[str, Any]) -> str:
    """The network that features come from, such as `classifier version 1`."""
    description = extractor(evaluation)
    name, version = description.get("name") or "an unnamed network", description.get("version")
    return str(name) if version is None else f"{name} version {version}"


def feature_remarks(evaluation: Mapping[str, Any]) -> list[str]:
    """What the features of an evaluation cannot tell."""
    description, remarks = extractor(evaluation), []
    # A network of the user's own is described by the range of its pixels, too.
    if evaluation.get("features") and "range" not in description:
        remarks.append(
            "A fixed random network sees noise, blur and missing kinds of images; it cannot tell "
            'whether what is shown is right; see "The random network" in docs/judge.md'
        )
    accuracy = description.get("accuracy")
    if accuracy is not None and accuracy < WEAK_ACCURACY:
        remarks.append(
            f"The classifier is weak: its accuracy on the real images is {accuracy:.1%}, so these "
            "metrics say little; compare with --features random"
        )
    if description.get("train_on") == "all":
        remarks.append(
            "The classifier was trained on the validation images, too (--train-on all); their "
            "features may differ from those of new images, and with them the floor"
        )
    return remarks


def _remarks(part: str, models: Mapping[str, Group]) -> list[str]:
    """Sentences to read with a table."""
    names = [name for name, group in models.items() if group.first.get("train_on") == "all"]
    remarks = [training_text(names)] if names else []
    if part == "likelihood":
        texts = {name: _likelihood_text(group) for name, group in models.items()}
        return remarks + [f"{names}: {text}" for text, names in _by_text(texts).items() if text]
    if part == "cost":
        timed = {n: g for n, g in models.items() if "seconds_an_epoch" in g.first["cost"]}
        machines = _by_text({name: _machine_text(group) for name, group in timed.items()})
        words = "; ".join(f"{names} on {machine}" for machine, names in machines.items())
        several = [f"Training times come from different machines: {words}"]
        return remarks + several * (len(machines) > 1)
    remarks += feature_remarks(next(iter(models.values())).first)
    for name, group in models.items():
        images, whole = (group.first.get(key) or {} for key in ("images", "all_images"))
        if images.get("resized"):
            number = f"{images['resized']} of {group.measurement.n} images"
            remarks.append(f"{name}: {number} were resized; {images.get('rule')}")
        if "fid" in whole:
            remarks.append(f"{name}: FID of all {whole['n']} images {whole['fid']:.4g}")
    return remarks


def _by_text(texts: Mapping[str, str]) -> dict[str, str]:
    """The names of the models that have a text, by the text."""
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        names.setdefault(text, []).append(name)
    return {text: ", ".join(group) for text, group in names.items()}


def _likelihood_text(group: Group) -> str:
    """What a likelihood is of; empty if there is none."""
    likelihood = group.first.get("likelihood") or {}
    events = likelihood.get("events") or "unknown events"
    if "importance_samples" in likelihood:
        unit = "bits/dim" if "bits_per_dim" in likelihood else "NLL"
        k = likelihood["importance_samples"]
        return f"nats of {events}; {unit} with k = {k} importance samples"
    if "dequantizations" in likelihood:
        draws = likelihood["dequantizations"]
        return f"bits/dim of {events}, averaged over {draws} dequantization draws"
    return ""


def _machine_text(group: Group) -> str:
    """The processors that the seeds of a model were trained on."""
    costs = [evaluation["cost"] for evaluation in group.evaluations]
    machines = {
        f"{cost['processor']}, {cost.get('cores', '?')} cores"
        if cost.get("processor")
        else "an unknown machine"
        for cost in costs
    }
    return " and ".join(sorted(machines))


def _remarks_on_all(models: Mapping[str, Group]) -> list[str]:
    """Sentences about all tables: what some models lack that others have."""
    remarks = []
    for part, words in (("samples", "No metrics of samples"), ("likelihood", "No likelihood")):
        lacking = [
            name
            for name, group in models.items()
            if not any(evaluation.get(part) for evaluation in group.evaluations)
        ]
        if lacking and (part == "samples" or len(lacking) < len(models)):
            remarks.append(f"{words}: {', '.join(lacking)}")
    unfinished = [
        f"{name} ({first['cost']['epochs']} of {first['settings']['options']['epochs']} epochs)"
        for name, first in ((name, group.first) for name, group in models.items())
        if not is_finished(first)
    ]
    if unfinished:
        remarks.append(f"Training did not reach its last epoch: {', '.join(unfinished)}")
    return remarks


# --- JSON
# ---------------------------------------------------------------------------------------------


def to_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison for JSON; what is not finite is null."""
    tables = []
    for table in comparison.tables:
        first = next(row.group.first for row in table.rows if row.group)
        result: dict[str, Any] = {"part": table.part, "title": table.title}
        if table.part != "cost":
            result["dataset"] = first["dataset"]
        if table.part == "samples":
            result["features"] = dict(extractor(first))
        rows = [_row_json(row) for row in table.rows]
        tables.append({**result, "rows": rows, "notes": list(table.notes)})
    return {"tables": tables, "notes": list(comparison.notes)}


def _row_json(row: Row) -> dict[str, Any]:
    result: dict[str, Any] = {"name": row.name}
    if row.group is not None:
        first = row.group.first
        result |= {
            "evaluations": [member.argument for member in row.group.members],
            "family": first["family"],
            "preset": first["preset"] or None,
            "seeds": [evaluation["seed"] for evaluation in row.group.evaluations],
            "n": row.group.measurement.n,
        }
    result["metrics"] = {
        name: {
            "mean": _finite(cell.statistic.mean),
            "error": _finite(cell.statistic.error),
            "notes": list(cell.notes),
            "best": cell.is_best,
        }
        for name, cell in row.cells.items()
    }
    return result


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def decode_picture(picture: str) -> np.ndarray:
    """The pixels of an evaluation's picture, `uint8[H, W]` or `uint8[H, W, 3]`."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
