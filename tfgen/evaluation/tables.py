"""A comparison as text: Markdown, and tables that fit a terminal."""

import math
import textwrap
from typing import TYPE_CHECKING

from tfgen.evaluation.compare import Cell, Comparison, Row, Table
from tfgen.evaluation.metrics import Metric

if TYPE_CHECKING:
    from rich.console import Console

# What the errors in the tables are, and which values are bold.
ERRORS = (
    "± is the standard deviation over the seeds; for a single seed, the standard error of the "
    "estimate."
)
BEST = "Bold: the best model by this metric, among those measured alike."
# Columns of the terminal between two columns of a table, and its share that names take at most.
_GAP, _NAME_SHARE = 2, 3


def cell_text(mean: float, error: float, digits: int) -> str:
    """A value, and its error if there is one, as a table shows them."""
    return format_number(mean, digits) + (f" ± {format_number(error, 2)}" if error else "")


def format_number(value: float, digits: int) -> str:
    """The number with so many significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def _words(cell: Cell | None, metric: Metric) -> tuple[str, str]:
    """The value of a cell, and in brackets what was measured differently; a dash for no value."""
    if cell is None:
        return "–", ""
    return cell_text(*cell.statistic, metric.digits), (
        f" ({', '.join(cell.notes)})" if cell.notes else ""
    )


def _seeds(row: Row) -> str:
    seeds = [evaluation["seed"] for evaluation in row.group.evaluations] if row.group else []
    return ", ".join(str(seed) for seed in seeds if seed is not None)


def _has_seeds(table: Table) -> bool:
    """Whether a row is of several seeds, so that the table names them."""
    return any(row.group and len(row.group.members) > 1 for row in table.rows)


def _legend(comparison: Comparison) -> list[str]:
    """What ± and bold mean, if there are any."""
    rows = [row for table in comparison.tables for row in table.rows]
    cells = [cell for row in rows for cell in row.cells.values()]
    has_errors = any(cell.statistic.error for cell in cells)
    return [ERRORS] * has_errors + [BEST] * any(cell.is_best for cell in cells)


# --- Markdown
# ---------------------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """All tables as Markdown."""
    parts = []
    for table in comparison.tables:
        parts += [f"### {_escape(table.title)}", _markdown_table(table)]
        parts += ["\n".join(f"- {_escape(note)}" for note in table.notes)] * bool(table.notes)
    parts += [*_legend(comparison), *map(_escape, comparison.notes)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    has_seeds = _has_seeds(table)
    headings = ["model", *(["seeds"] if has_seeds else [])]
    lines = [
        f"| {' | '.join([*headings, *(metric.heading for metric in table.columns)])} |",
        "|" + "---|" * len(headings) + "---:|" * len(table.columns),
    ]
    for row in table.rows:
        cells = [_escape(row.name), *([_seeds(row)] if has_seeds else [])]
        for metric in table.columns:
            cell = row.cells.get(metric.heading)
            value, notes = _words(cell, metric)
            cells.append((f"**{value}**" if cell and cell.is_best else value) + notes)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _escape(text: str) -> str:
    """A text in which no name ends a cell or sets a style."""
    for letter in "|*`<":
        text = text.replace(letter, f"\\{letter}")
    return text


# --- terminal
# ---------------------------------------------------------------------------------------------


def print_comparison(comparison: Comparison, console: "Console") -> None:
    """Print all tables as wide as the terminal."""
    from rich.text import Text

    def print_text(text: str, style: str = "") -> None:
        lines = textwrap.wrap(text, console.width, subsequent_indent="  ", break_on_hyphens=False)
        console.print(Text("\n".join(lines), style), soft_wrap=True)

    for table in comparison.tables:
        print_text(table.title, "bold")
        _print_table(table, console)
        for note in table.notes:
            print_text(note)
        if table.notes:
            console.print()
    for line in (*_legend(comparison), *comparison.notes):
        print_text(line)


def _print_table(table: Table, console: "Console") -> None:
    """Print a table; one that is wider than the terminal in several parts with all models."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table as RichTable
    from rich.text import Text

    def width(*texts: str) -> int:
        return max(cell_len(line) for text in texts for line in text.split("\n"))

    names = min(width(*(row.name for row in table.rows)), max(console.width // _NAME_SHARE, 10))
    room = console.width - names
    if has_seeds := _has_seeds(table):
        room -= _GAP + width("seeds", *map(_seeds, table.rows))
    # The columns of each part, and what is left of the terminal's width.
    parts: list[list[Metric]] = []
    left = 0
    for metric in table.columns:
        column = ["".join(_words(row.cells.get(metric.heading), metric)) for row in table.rows]
        needed = _GAP + width(_heading(metric), *column)
        if needed > left:
            parts, left = [*parts, []], room
        parts[-1].append(metric)
        left -= needed
    for columns in parts:
        grid = RichTable(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0)
        )
        grid.add_column("model", max_width=names, overflow="fold")
        if has_seeds:
            grid.add_column("seeds", overflow="fold")
        for metric in columns:
            # On a very narrow terminal, cells are wrapped, so that no digit is cut.
            grid.add_column(Text(_heading(metric)), justify="right", overflow="fold")
        for row in table.rows:
            texts = [Text(row.name), *([Text(_seeds(row))] if has_seeds else [])]
            for metric in columns:
                cell = row.cells.get(metric.heading)
                value, notes = _words(cell, metric)
                texts.append(Text.assemble((value, "bold" if cell and cell.is_best else ""), notes))
            grid.add_row(*texts)
        console.print(grid)
        console.print()


def _heading(metric: Metric) -> str:
    """The name of a column, with its unit on a second line."""
    return metric.heading.replace(" [", "\n[")
