"""Evaluations side by side: comparable values, the best of them, and remarks on the tables.

No TensorFlow here: everything comes from files that `tfgen-evaluate` wrote.
"""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfgen.errors import printable
from tfgen.evaluation import metrics, reading
from tfgen.evaluation.job import LEAST_RANKED
from tfgen.evaluation.metrics import Metric, format_number
from tfgen.evaluation.reading import Evaluation, Group

# The parts of an evaluation whose metrics are the columns of each table.
TABLES = {"samples": ("samples", "modes"), "likelihood": ("likelihood",), "cost": ("cost",)}
# Rows below the models, by name: the part of an evaluation that has their metrics.
REFERENCES = {"real images": "floor", "uniform noise": "ceiling"}
# A model is not ranked if its share of copies exceeds that of real images by more than this share
# and by more than this number of images. Between two sets of 256 real emoji, the difference has a
# standard error of about 0.01.
MOST_COPIED, MIN_COPIES = 0.05, 5
# A classifier with a lower accuracy on the real images is weak: its features say little about them.
WEAK_ACCURACY = 0.9
# The settings of a likelihood, each with its text in a cell and in a remark; an evaluation has one
# of them, or none if it is exact.
_SETTINGS = {
    "importance_samples": ("k = {}", "bounds from {} importance samples per image"),
    "dequantizations": ("{} draws", "the probability averaged over {} draws per image"),
    "estimates": ("{} images", "mean and standard error of estimates for {} images"),
}


class Cell(NamedTuple):
    """A value in a table.

    Attributes:
        mean: mean over the seeds.
        error: see `Group.statistic`.
        notes: settings that differ from those of other values of the column, such as `n = 5 000`.
        is_best: whether it is the best of the values comparable with it.
    """

    mean: float
    error: float
    notes: tuple[str, ...] = ()
    is_best: bool = False


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        name: name of the model, `real images` or `uniform noise`.
        cells: cells by column heading, without metrics that were not measured.
        group: the evaluations of the model; None for real images and noise.
    """

    name: str
    cells: dict[str, Cell]
    group: Group | None = None


class Table(NamedTuple):
    """Models whose metrics of one part are comparable.

    Attributes:
        part: `samples`, `likelihood` or `cost`.
        title: what was measured, and on what.
        columns: metrics that at least one row has.
        rows: the models, those that copy last, then real images and noise.
        notes: sentences to read with the table.
        warnings: sentences to read before it: which models are not ranked, and why.
    """

    part: str
    title: str
    columns: list[Metric]
    rows: list[Row]
    notes: list[str]
    warnings: list[str]


def compare(evaluations: Sequence[Evaluation]) -> list[Table]:
    """Evaluations side by side.

    Returns:
        Tables of samples, one for each data set and network for features; of likelihoods, one for
        each data set; and one of costs.

    Raises:
        UsageError: an evaluation is passed twice, or two models have one name.
    """
    groups = reading.group_evaluations(evaluations)
    models = dict(zip(reading.unique_labels(groups), groups, strict=True))
    return [table for part in TABLES for table in _tables(models, part)]


def _columns(part: str) -> list[Metric]:
    return [metric for metric in metrics.METRICS if metric.part in TABLES[part]]


def _tables(models: Mapping[str, Group], part: str) -> list[Table]:
    """The tables of a part: one for each set of models with comparable metrics."""
    blocks: dict[tuple[str | None, ...], dict[str, Group]] = {}
    for name, group in models.items():
        if any(group.statistic(metric) for metric in _columns(part)):
            measured = group.measurement
            shared = (measured.dataset, measured.split, measured.features)
            key = {"samples": shared, "likelihood": shared[:2], "cost": ()}[part]
            blocks.setdefault(key, {})[name] = group
    return [_table(block, part) for block in blocks.values()]


def _table(models: Mapping[str, Group], part: str) -> Table:
    if part == "samples":
        models = dict(sorted(models.items(), key=lambda item: bool(copied_images(item[1]))))
    # The most frequent number of images first.
    frequent = Counter(group.measurement.n for group in models.values()).most_common()
    counts = [n for n, _ in frequent]
    rows = [Row(name, {}, group) for name, group in models.items()]
    for metric in _columns(part):
        # Costs do not depend on the number of images.
        cells = _cells(models, metric, counts if part == "cost" else counts[:1])
        for row in rows:
            row.cells.update({metric.heading: cells[row.name]} if row.name in cells else {})
    rows += _reference_rows(models, counts) if part == "samples" else []
    columns = [m for m in _columns(part) if any(m.heading in row.cells for row in rows)]
    first = next(iter(models.values())).first
    warnings = [*map(printable, _warnings(models))] if part == "samples" else []
    title, notes = _title(part, first, counts), [*map(printable, _remarks(part, models))]
    return Table(part, printable(title), columns, rows, notes, warnings)


def copied_images(group: Group | None) -> str:
    """Which images so many samples copy that the other metrics say little, in words; or nothing.

    They look copied from training images, or equal the held-out images that they are judged by. The
    shares are the largest of the seeds.
    """
    if group is None:
        return ""
    parts = [(item.get("samples") or {}, item.get("floor") or {}) for item in group.evaluations]
    samples, real = max((own.get("copied", 0), floor.get("copied", 0)) for own, floor in parts)
    held_out = max(own.get("copies", {}).get("share_in_held_out", 0) for own, _ in parts)
    if max(samples - real, held_out) <= max(MOST_COPIED, MIN_COPIES / group.measurement.n):
        return ""
    if held_out > samples - real:
        split, share = group.measurement.split, format_number(100 * held_out, 3)
        return f"{split} images: {share} % of its images are among those that it is judged by"
    share, of_real = format_number(100 * samples, 3), format_number(100 * real, 3)
    return f"training images: {share} % of its images look copied, of real images {of_real} %"


def _cells(models: Mapping[str, Group], metric: Metric, usual: Sequence[int]) -> dict[str, Cell]:
    """The cells of a column, by model.

    The best value is bold among those that share sample count and event type, and so are values
    that print like it. Bounds by importance samples, bounds by dequantization draws and estimates
    of them are ranked together, but not bounds with different numbers of any of these. Samples that
    are copies or too few are not ranked.

    Args:
        models: the rows.
        metric: the metric of the column.
        usual: sample counts that a cell does not show.
    """
    known = {name: mean for name, group in models.items() if (mean := group.statistic(metric))}
    is_likelihood, is_sampled = (metric.part in TABLES[part] for part in ("likelihood", "samples"))
    parts = {name: models[name].first["likelihood"] if is_likelihood else {} for name in known}
    depends = metric.key in ("nll", "bits_per_dim")
    settings = {name: _texts(parts[name] if depends else {})[:2] for name in known}
    alike = {name: (models[name].measurement.n, parts[name].get("events")) for name in known}
    ranked = [name for name in known if not (is_sampled and _is_unranked(models[name]))]
    texts = {name: format_number(mean.value, metric.digits) for name, mean in known.items()}
    printed = {name: metric.better * float(text) for name, text in texts.items()}
    cells = {}
    for name, statistic in known.items():
        n, members = models[name].measurement.n, models[name].evaluations
        notes = [] if n in usual else [count_text(n)]
        notes += [settings[name][1]] if len(set(settings.values())) > 1 else []
        count = sum(metric.value(evaluation) is not None for evaluation in members)
        notes += [f"{count} of {len(members)} seeds"] if count < len(members) else []
        rivals = [rival for rival in ranked if alike[rival] == alike[name]]
        values = {printed[rival] for rival in rivals}
        used = {settings[rival] for rival in rivals}
        is_ranked = name in rivals and len(values) > 1 and len(dict(used)) == len(used)
        is_best = is_ranked and printed[name] == max(values)
        cells[name] = Cell(*statistic, tuple(notes), is_best)
    return cells


def _is_unranked(group: Group) -> bool:
    """Whether samples are too few, or copies, so that their metrics are not ranked."""
    return group.measurement.n < LEAST_RANKED or bool(copied_images(group))


def _texts(likelihood: Mapping[str, Any]) -> tuple[str, str, str]:
    """The setting that a likelihood depends on: its name, its text in a cell and in a remark."""
    for name, (cell, remark) in _SETTINGS.items():
        if name in likelihood:
            return name, printable(cell.format(likelihood[name])), remark.format(likelihood[name])
    return "", "exact", "exact"


def _reference_rows(models: Mapping[str, Group], counts: Sequence[int]) -> list[Row]:
    """Real images and noise, for each number of images: equal in all evaluations that have them."""
    rows = []
    evaluations = [item for group in models.values() for item in group.evaluations]
    for count in counts:
        notes = () if count == counts[0] else (count_text(count),)
        for name, part in REFERENCES.items():
            measured = [{"samples": item.get(part)} for item in evaluations if item["n"] == count]
            cells = {
                metric.heading: Cell(value, metric.error(item), notes)
                for metric in _columns("samples")
                for item in reversed(measured)  # the first one has its way
                if (value := metric.value(item)) is not None
            }
            rows += [Row(name, cells)] if cells else []
    return rows


# --- words
# --------------------------------------------------------------------------------------------


def count_text(n: int) -> str:
    """A sample count as cells and titles show it: `n = 10 000`."""
    return f"n = {n:,}".replace(",", " ")


def _title(part: str, first: Mapping[str, Any], counts: Sequence[int]) -> str:
    """What a table shows; `counts` are sample counts, the most frequent first."""
    images = f"the {first['dataset']['split']} images of {first['dataset']['name']}"
    number = count_text(counts[0]) + (" unless stated otherwise" if len(counts) > 1 else "")
    return {
        "samples": f"Samples against {images}, features of {features_text(first)}, {number}",
        "likelihood": f"Likelihood of {images}, {number}",
        "cost": "Cost",
    }[part]


def features_text(evaluation: Mapping[str, Any]) -> str:
    """The network that features come from, such as `classifier version 1`."""
    name, version = map(reading.extractor(evaluation).get, ("name", "version"))
    return str(name) if version is None else f"{name} version {version}"


def _feature_remarks(evaluation: Mapping[str, Any]) -> list[str]:
    """Remarks on the limits of an evaluation's features."""
    description = reading.extractor(evaluation)
    is_random = evaluation.get("features") and "range" not in description
    accuracy = 1.0 if description.get("accuracy") is None else description["accuracy"]
    remarks = {
        # A network of the user's own is described by the range of its pixels, too.
        "A fixed random network cannot tell what is shown; for labelled images, train a classifier "
        'with tfgen-train; see "The random network" in docs/judge.md': is_random,
        f"The classifier is weak: its accuracy on the real images is {accuracy:.1%}, so these "
        "metrics say little; compare with --features random": accuracy < WEAK_ACCURACY,
        "The classifier was trained on the validation images, too (--train-on all), which may "
        "change the row of real images": description.get("train_on") == "all",
    }
    return [text for text, applies in remarks.items() if applies]


def _remarks(part: str, models: Mapping[str, Group]) -> list[str]:
    """Sentences to read with a table."""
    seen = ", ".join(name for name, group in models.items() if group.first.get("train_on") == "all")
    remarks = [f"{seen}: trained on the validation images, too (--train-on all)"] * bool(seen)
    if part == "likelihood":
        texts: dict[str, list[str]] = {}
        for name, group in models.items():
            texts.setdefault(_likelihood_text(group.first["likelihood"]), []).append(name)
        return remarks + [f"{', '.join(names)}: {text}" for text, names in texts.items()]
    if part == "cost":
        return remarks + _training_remarks(models)
    remarks += _feature_remarks(next(iter(models.values())).first)
    for name, group in models.items():
        images, whole = (group.first.get(key) or {} for key in ("images", "all_images"))
        if images.get("resized"):
            number = f"{images['resized']} of {group.measurement.n} images"
            remarks.append(f"{name}: {number} were resized; {images['rule']}")
        if "fid" in whole:
            remarks.append(f"{name}: FID of all {whole['n']} images {whole['fid']:.4g}")
    return remarks


def _warnings(models: Mapping[str, Group]) -> list[str]:
    """Which models are not ranked by their samples, and why."""
    copied = {name: copied_images(group) for name, group in models.items()}
    warnings = [f"{name} copies {text}. It is not ranked." for name, text in copied.items() if text]
    if few := [name for name, group in models.items() if group.measurement.n < LEAST_RANKED]:
        text = f"Not ranked, with fewer than {LEAST_RANKED} images: "
        warnings.append(f"{text}{', '.join(few)}")
    return warnings


def _likelihood_text(likelihood: Mapping[str, Any]) -> str:
    """The units and the event type of a likelihood, and how it was estimated."""
    units = {"nll": "nats", "bits_per_dim": "bits/dim"}
    known = " and ".join(unit for key, unit in units.items() if key in likelihood)
    return f"{known} of {likelihood['events']}, {_texts(likelihood)[2]}"


def _training_remarks(models: Mapping[str, Group]) -> list[str]:
    """Remarks on the comparison of training costs."""
    costs = [evaluation["cost"] for group in models.values() for evaluation in group.evaluations]
    timed = [cost for cost in costs if "seconds_an_epoch" in cost]
    machines = {(cost.get("processor"), cost.get("cores")) for cost in timed}
    remarks = ["Training times come from different machines"] if len(machines) > 1 else []
    unfinished = [name for name, group in models.items() if not reading.is_finished(group.first)]
    text = f"Training did not reach its last epoch: {', '.join(unfinished)}"
    return remarks + [text] * bool(unfinished)


# --- JSON
# ---------------------------------------------------------------------------------------------


def to_json(tables: Sequence[Table]) -> dict[str, Any]:
    """A comparison for JSON."""
    return {"tables": [_table_json(table) for table in tables]}


def _table_json(table: Table) -> dict[str, Any]:
    result: dict[str, Any] = {"part": table.part, "title": table.title}
    first = next(row.group.first for row in table.rows if row.group)
    if table.part != "cost":
        result["dataset"] = first["dataset"]
    if table.part == "samples":
        result["features"] = reading.extractor(first)
    notes = [*table.warnings, *table.notes]
    return {**result, "rows": [_row_json(row) for row in table.rows], "notes": notes}


def _row_json(row: Row) -> dict[str, Any]:
    result: dict[str, Any] = {"name": row.name}
    if row.group is not None:
        first = row.group.first
        result |= {
            "evaluations": [member.argument for member in row.group.members],
            "family": first["family"],
            "preset": first["preset"],
            "seeds": [evaluation["seed"] for evaluation in row.group.evaluations],
            "n": row.group.measurement.n,
        }
    result["metrics"] = {
        name: {"mean": cell.mean, "error": cell.error, "notes": cell.notes, "best": cell.is_best}
        for name, cell in row.cells.items()
    }
    return result


def decode_picture(picture: str) -> np.ndarray:
    """The pixels of an evaluation's picture, `uint8[H, W]` or `uint8[H, W, 3]`."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
