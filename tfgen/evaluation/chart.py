"""The figure of a comparison: bars of the main metrics, and samples of each model."""

import contextlib
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfgen.evaluation.compare import Cell, Comparison, Row, Table, decode_picture
from tfgen.evaluation.metrics import Metric, find_metric
from tfgen.evaluation.tables import format_number
from tfgen.figures import NEUTRAL_COLOUR, REAL_COLOUR, family_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The metrics of the panels, as far as a model has them.
_PANELS = (
    ("samples", "fid"),
    ("samples", "recall"),
    ("samples", "coverage"),
    ("cost", "seconds_an_epoch"),
)
PANELS = [metric for part, key in _PANELS if (metric := find_metric(part, key))]
# Inches: width of the figure, height of a bar, of a panel's title and axis, of a grid of samples
# with its title. Then the grids in one row, and letters in one line of a name.
_WIDTH, _BAR, _AXIS, _GRID = 12.8, 0.42, 1.3, 2.6
_GRIDS_IN_ROW, _LETTERS = 5, 26


def draw(comparison: Comparison) -> "Figure | None":
    """Quality, coverage and cost as bars, and samples; None if no model has metrics of samples.

    Each table of samples has a part of its own, since the metrics of two tables do not compare.
    """
    from matplotlib.figure import Figure

    tables = [table for table in comparison.tables if table.part == "samples"]
    if not tables:
        return None
    costs = {
        row.name: row for table in comparison.tables if table.part == "cost" for row in table.rows
    }
    contents = [(table, _models(table), _pictures(table)) for table in tables]
    heights = [
        [_AXIS + _BAR * len(models), *[_GRID] * math.ceil(len(pictures) / _GRIDS_IN_ROW)]
        for _, models, pictures in contents
    ]
    sums = [sum(of_table) + 0.4 for of_table in heights]
    figure = Figure(figsize=(_WIDTH, sum(sums)), layout="constrained")
    parts = figure.subfigures(len(tables), 1, height_ratios=sums, squeeze=False)[:, 0]
    for part, (table, models, pictures), of_table in zip(parts, contents, heights, strict=True):
        part.suptitle(_wrap(table.title, 110), fontsize=11)
        rows = part.subfigures(len(of_table), 1, height_ratios=of_table, squeeze=False)[:, 0]
        _draw_panels(rows[0], table, models, costs)
        _draw_grids(rows[1:], pictures)
    return figure


def _models(table: Table) -> list[Row]:
    return [row for row in table.rows if row.group is not None]


def _pictures(table: Table) -> dict[str, Any]:
    """A grid of samples for each model that has one, by the model's name."""
    pictures = {}
    for row in _models(table):
        text = row.group.first.get("picture") if row.group else None
        # A damaged picture is left out, as one that is missing.
        with contextlib.suppress(OSError, ValueError, TypeError):
            pictures[row.name] = decode_picture(text or "")
    return pictures


def _draw_grids(parts: Sequence[Any], pictures: Mapping[str, Any]) -> None:
    """Draw grids of samples, a row of them in each part."""
    left = list(pictures.items())
    columns = _GRIDS_IN_ROW if len(parts) > 1 else len(left)
    for part in parts:
        for axes in part.subplots(1, columns, squeeze=False)[0]:
            axes.set_axis_off()
            if left:
                name, picture = left.pop(0)
                axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set_title(_wrap(f"samples of {name}"), fontsize=9)


def _draw_panels(part: Any, table: Table, models: Sequence[Row], costs: Mapping[str, Row]) -> None:
    """Draw a bar for each model in each panel; panels without a value are left out."""

    def cells(metric: Metric) -> list[Cell | None]:
        rows = [{**_cells_of(costs.get(row.name)), **row.cells} for row in models]
        return [row.get(metric.heading) for row in rows]

    panels = [metric for metric in PANELS if any(cells(metric))]
    names = [_wrap(_label(row)) for row in models]
    colours = [family_colour(row.group.first["family"] if row.group else None) for row in models]
    real = _cells_of(next((row for row in table.rows if row.group is None), None))
    line = None
    all_axes = part.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, metric in zip(all_axes, panels, strict=True):
        _draw_bars(axes, cells(metric), colours)
        better = {1: " (higher is better)", -1: " (lower is better)"}.get(metric.better, "")
        axes.set(title=metric.name, xlabel=f"{metric.sentence}{better}")
        if metric.heading in real:
            value = real[metric.heading].statistic.mean
            line = axes.axvline(value, color=REAL_COLOUR, linestyle=":", linewidth=1)
    all_axes[0].set_yticks(range(len(names)), names, fontsize=8)
    all_axes[0].set_ylim(len(names) - 0.4, -0.6)  # the first model at the top
    if line is not None:
        part.legend([line], ["real images"], loc="outside upper right", fontsize=9, frameon=False)


def _cells_of(row: Row | None) -> dict[str, Cell]:
    return {} if row is None else row.cells


def _draw_bars(axes: Any, cells: Sequence[Cell | None], colours: Sequence[str]) -> None:
    """Draw a bar with its error and its value for each model that has one."""
    means = [math.nan if cell is None else cell.statistic.mean for cell in cells]
    errors = [0.0 if cell is None else cell.statistic.error for cell in cells]
    bars = axes.barh(range(len(cells)), means, xerr=errors, color=colours)
    texts = [format_number(mean, 3) if math.isfinite(mean) else "" for mean in means]
    # On white, where a line crosses them.
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.bar_label(bars, texts, padding=4, fontsize=8, bbox=white)
    for place, mean in enumerate(means):
        if not math.isfinite(mean):
            axes.text(0, place, " not known", fontsize=8, color=NEUTRAL_COLOUR, va="center")
    axes.margins(x=0.2)


def _label(row: Row) -> str:
    """The name of a model, and its number of images if that differs from others."""
    notes = {note for cell in row.cells.values() for note in cell.notes if note.startswith("n ")}
    return f"{row.name} ({', '.join(notes)})" if notes else row.name


def _wrap(text: str, letters: int = _LETTERS) -> str:
    """A text on several lines; matplotlib takes no part of it for a formula."""
    return textwrap.fill(text, letters).replace("$", r"\$")
