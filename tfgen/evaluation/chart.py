"""The figure of a comparison: bars of the main metrics, and samples of each model."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from tfgen import figures
from tfgen.evaluation.compare import Row, Table, copied_images, decode_picture
from tfgen.evaluation.distances import Estimate
from tfgen.evaluation.metrics import METRICS, format_number
from tfgen.evaluation.reading import Group

_PANELS = ("fid", "recall", "coverage", "seconds_an_epoch")
# As far as a model has them.
PANELS = [metric for metric in METRICS if metric.key in _PANELS]
# Inches: width of the figure, height of a bar, of a panel's title and axis, of a grid of samples
# with its title. Then the grids in one row, and letters in one line of a name.
_WIDTH, _BAR, _AXIS, _GRID = 12.8, 0.42, 1.3, 2.6
_GRIDS_IN_ROW, _LETTERS = 5, 26


def draw(tables: Sequence[Table]) -> "figures.Figure | None":
    """Quality, coverage and cost as bars, and samples; None if no model has metrics of samples.

    Each table of samples has a part of its own, since the metrics of two tables do not compare.
    """
    tables = [table for table in tables if table.part == "samples"]
    if not tables:
        return None
    pictures = [_pictures(table) for table in tables]
    heights = [
        [_AXIS + _BAR * len(_models(table)), *[_GRID] * math.ceil(len(grids) / _GRIDS_IN_ROW)]
        for table, grids in zip(tables, pictures, strict=True)
    ]
    sums = [sum(of_table) + 0.4 for of_table in heights]
    figure = figures.new_figure(_WIDTH, sum(sums))
    parts = figure.subfigures(len(tables), 1, height_ratios=sums, squeeze=False)[:, 0]
    for part, table, grids, ratios in zip(parts, tables, pictures, heights, strict=True):
        part.suptitle(_wrap(table.title, 110), fontsize=11)
        rows = part.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
        _draw_panels(rows[0], table)
        _draw_grids(rows[1:], grids)
    return figure


def _models(table: Table) -> list[tuple[Row, Group]]:
    return [(row, row.group) for row in table.rows if row.group is not None]


def _pictures(table: Table) -> list[tuple[str, Any]]:
    """The name of each model that has a grid of samples, and the grid."""
    pictures = [(row.name, group.first.get("picture")) for row, group in _models(table)]
    return [(name, decode_picture(picture)) for name, picture in pictures if picture]


def _draw_grids(parts: Sequence[Any], pictures: list[tuple[str, Any]]) -> None:
    """Draw grids of samples, a row of them in each part."""
    columns = _GRIDS_IN_ROW if len(parts) > 1 else len(pictures)
    panels = [axes for part in parts for axes in part.subplots(1, columns, squeeze=False)[0]]
    for axes in panels:
        axes.set_axis_off()
    for axes, (name, picture) in zip(panels, pictures, strict=False):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(_wrap(f"samples of {name}"), fontsize=9)


def _draw_panels(part: Any, table: Table) -> None:
    """Draw a bar for each model in each panel; panels without a value are left out."""
    groups = [group for _, group in _models(table)]
    names = [_wrap(_label(row)) for row, _ in _models(table)]
    statistics = {metric: [group.statistic(metric) for group in groups] for metric in PANELS}
    panels = [metric for metric, values in statistics.items() if any(values)]
    real = next((row.cells for row in table.rows if row.group is None), {})
    all_axes, lines = part.subplots(1, len(panels), sharey=True, squeeze=False)[0], []
    for axes, metric in zip(all_axes, panels, strict=True):
        _draw_bars(axes, statistics[metric], groups)
        axes.set(title=metric.name, xlabel=_wrap(metric.caption, 40))
        if cell := real.get(metric.heading):
            style: Any = {"color": figures.REAL_COLOUR, "linestyle": ":", "linewidth": 1}
            lines.append(axes.axvline(cell.mean, **style))
    if lines:
        words = ["real images"]
        part.legend(lines[:1], words, loc="outside upper right", fontsize=9, frameon=False)
    all_axes[0].set_yticks(range(len(names)), names, fontsize=8)
    all_axes[0].set_ylim(len(names) - 0.4, -0.6)  # the first model at the top


def _draw_bars(axes: Any, statistics: Sequence[Estimate | None], groups: Sequence[Group]) -> None:
    """Draw a bar with its error and its value for each model that has one."""
    means, errors = zip(*((math.nan, 0.0) if s is None else s for s in statistics), strict=True)
    colours = [figures.family_colour(group.first["family"]) for group in groups]
    bars = axes.barh(range(len(means)), means, xerr=errors, color=colours)
    texts = ["" if s is None else format_number(s.value, 3) for s in statistics]
    # On white, where a line crosses them.
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.bar_label(bars, texts, padding=4, fontsize=8, bbox=white)
    for place, statistic in enumerate(statistics):
        if statistic is None:
            axes.text(0, place, " not known", fontsize=8, color=figures.NEUTRAL_COLOUR, va="center")
    axes.margins(x=0.2)


def _label(row: Row) -> str:
    """The name of a model, whether it copies, and its number of images if it is another one."""
    notes = {note for cell in row.cells.values() for note in cell.notes if note.startswith("n ")}
    texts = [*notes, *["copies"] * bool(copied_images(row.group))]
    return f"{row.name} ({', '.join(texts)})" if texts else row.name


def _wrap(text: str, letters: int = _LETTERS) -> str:
    """A text on several lines; matplotlib takes no part of it for a formula."""
    return textwrap.fill(text, letters).replace("$", r"\$")
