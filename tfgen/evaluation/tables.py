"""A comparison as text: Markdown, and tables that fit a terminal."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfgen.evaluation.claims import NAMES, pairs_in_words
from tfgen.evaluation.compare import Cell, Column, Comparison, Row, Table

if TYPE_CHECKING:
    from rich.console import Console

# What the errors in the tables are, and which values are bold.
ERRORS = (
    "± is the standard deviation over the seeds; for a single seed, the standard error of the "
    "estimate."
)
BEST = "Bold: the best model by this metric, among those measured alike."
CLAIMS_TITLE = "Claims of the report that docs/reproduction.md follows"
# Columns of the terminal between two columns of a table.
_GAP = 2
# Share of the terminal's width that the names of models take at most.
_NAME_SHARE = 3


# --- cells
# ------------------------------------------------------------------------------------------------


def cell_text(value: Sequence[float] | None, digits: int) -> str:
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


def _words(cell: Cell | None, column: Column) -> tuple[str, str]:
    """The value of a cell, and in brackets what was measured differently; a dash for no value."""
    if cell is None:
        return "–", ""
    value = cell_text((cell.statistic.mean, cell.statistic.error), column.digits)
    return value, f" ({', '.join(cell.notes)})" if cell.notes else ""


def _seeds(row: Row) -> str:
    seeds = [evaluation["seed"] for evaluation in row.group.evaluations] if row.group else []
    return ", ".join(str(seed) for seed in seeds if seed is not None)


def _has_seeds(table: Table) -> bool:
    """Whether a row is of several seeds, so that the table names them."""
    return any(row.group and len(row.group.evaluations) > 1 for row in table.rows)


def _legend(comparison: Comparison) -> list[str]:
    """What ± and bold mean, if there are any."""
    cells = [
        cell for table in comparison.tables for row in table.rows for cell in row.cells.values()
    ]
    has_errors = any(cell.statistic.error for cell in cells)
    return [ERRORS] * has_errors + [BEST] * any(cell.is_best for cell in cells)


# --- Markdown
# ---------------------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """All tables and verdicts as Markdown."""
    parts = []
    for table in comparison.tables:
        parts += [f"### {_escape(table.title)}", _markdown_table(table)]
        parts += ["\n".join(f"- {_escape(note)}" for note in table.notes)] * bool(table.notes)
    if comparison.claims:
        parts += [f"### {CLAIMS_TITLE}", claims_table(comparison.claims, with_means=True)]
    parts += [*_legend(comparison), *map(_escape, comparison.notes)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    has_seeds = _has_seeds(table)
    headings = ["model", *(["seeds"] if has_seeds else [])]
    lines = [
        f"| {' | '.join([*headings, *(column.name for column in table.columns)])} |",
        "|" + "---|" * len(headings) + "---:|" * len(table.columns),
    ]
    for row in table.rows:
        cells = [_escape(row.name), *([_seeds(row)] if has_seeds else [])]
        for column in table.columns:
            cell = row.cells.get(column.name)
            value, notes = _words(cell, column)
            cells.append((f"**{value}**" if cell and cell.is_best else value) + notes)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _escape(text: str) -> str:
    """A text in which no name ends a cell or sets a style."""
    for letter in "|*`<":
        text = text.replace(letter, f"\\{letter}")
    return text


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
        words.append(f"{name} –" if value is None else f"{name} {cell_text(value, 3)}{count}")
    return ", ".join(words)


# --- terminal
# ---------------------------------------------------------------------------------------------


def print_comparison(comparison: Comparison, console: "Console") -> None:
    """Print all tables and verdicts as wide as the terminal."""
    from rich.text import Text

    def print_text(text: str, style: str = "", indent: str = "") -> None:
        lines = textwrap.wrap(text, console.width, subsequent_indent=indent, break_on_hyphens=False)
        console.print(Text("\n".join(lines), style), soft_wrap=True)

    for table in comparison.tables:
        print_text(table.title, "bold")
        _print_table(table, console)
        for note in table.notes:
            print_text(note, indent="  ")
        if table.notes:
            console.print()
    if comparison.claims:
        print_text(CLAIMS_TITLE, "bold")
        for decision in comparison.claims:
            pairs = pairs_in_words(decision)
            print_text(f"{decision['claim']}, by {decision['by']}: {decision['verdict']}")
            for line in filter(None, (_means_in_words(decision), pairs)):
                print_text(f"  {line}", indent="  ")
        console.print()
    for line in (*_legend(comparison), *comparison.notes):
        print_text(line, indent="  ")


def _print_table(table: Table, console: "Console") -> None:
    """Print a table; one that is wider than the terminal in several parts with all models."""
    from rich.cells import cell_len

    def width(texts: Sequence[str]) -> int:
        return max(cell_len(line) for text in texts for line in text.split("\n"))

    names = min(width([row.name for row in table.rows]), max(console.width // _NAME_SHARE, 10))
    room = console.width - names
    if has_seeds := _has_seeds(table):
        room -= _GAP + width(["seeds", *map(_seeds, table.rows)])
    widths = [
        width(
            [
                _heading(column),
                *("".join(_words(r.cells.get(column.name), column)) for r in table.rows),
            ]
        )
        for column in table.columns
    ]
    for start, stop in _split(widths, room):
        _print_columns(table, table.columns[start:stop], names, has_seeds, console)
        console.print()


def _split(widths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Columns in as few parts as fit into the room, all about as wide."""

    def parts(limit: int) -> list[tuple[int, int]]:
        starts, used = [0], 0
        for index, width in enumerate(widths):
            used += width + _GAP
            if used > limit and index > starts[-1]:
                starts.append(index)
                used = width + _GAP
        return list(zip(starts, [*starts[1:], len(widths)], strict=True))

    fewest = len(parts(room))
    limits = range(max(room, 0) + 1)
    return next(split for limit in limits if len(split := parts(limit)) == fewest)


def _heading(column: Column) -> str:
    """The name of a column, with its unit on a second line."""
    return column.name.replace(" [", "\n[")


def _print_columns(
    table: Table, columns: Sequence[Column], names: int, has_seeds: bool, console: "Console"
) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0)
    )
    grid.add_column("model", max_width=names, overflow="fold")
    if has_seeds:
        grid.add_column("seeds", overflow="fold")
    for column in columns:
        # On a very narrow terminal, cells are wrapped, so that no digit is cut.
        grid.add_column(Text(_heading(column)), justify="right", overflow="fold")
    for row in table.rows:
        texts = [Text(row.name), *([Text(_seeds(row))] if has_seeds else [])]
        for column in columns:
            cell = row.cells.get(column.name)
            value, notes = _words(cell, column)
            texts.append(Text.assemble((value, "bold" if cell and cell.is_best else ""), notes))
        grid.add_row(*texts)
    console.print(grid)
