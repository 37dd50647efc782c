"""A comparison as text: Markdown, and tables that fit a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tfgen.evaluation.compare import Table
from tfgen.evaluation.metrics import format_number

if TYPE_CHECKING:
    from rich.console import Console

# What the errors in the tables are, and which values are bold.
ERRORS = (
    "± is the standard deviation over the seeds; for a single seed, the standard error of the "
    "estimate."
)
BEST = "Bold: the best model by this metric, among those measured alike."
# The columns of words, and the space between two columns of the terminal.
_WORDS, _GAP = ("model", "seeds"), 2


class _Text(NamedTuple):
    """A cell as text: its value, the style of it, and in brackets what follows it."""

    value: str
    style: Literal["", "bold"] = ""
    notes: str = ""

    @property
    def markdown(self) -> str:
        mark = "**" if self.style else ""
        return f"{mark}{_escape(self.value)}{mark}{self.notes}"


def cell_text(mean: float, error: float, digits: int) -> str:
    """A value, and its error if there is one, as a table shows them."""
    return format_number(mean, digits) + (f" ± {format_number(error, 2)}" if error else "")


def _columns(table: Table) -> dict[str, list[_Text]]:
    """The texts of each column, by its heading: names, seeds if a row has several, metrics."""
    columns = {"model": [_Text(row.name) for row in table.rows]}
    groups = [row.group.evaluations if row.group else [] for row in table.rows]
    if max(map(len, groups)) > 1:
        seeds = [[item["seed"] for item in group if item["seed"] is not None] for group in groups]
        columns["seeds"] = [_Text(", ".join(map(str, numbers))) for numbers in seeds]
    for metric in table.columns:
        texts = columns[metric.heading] = []
        for cell in (row.cells.get(metric.heading) for row in table.rows):
            if cell is None:
                texts.append(_Text("–"))
                continue
            notes = f" ({', '.join(cell.notes)})" if cell.notes else ""
            text = cell_text(cell.mean, cell.error, metric.digits)
            texts.append(_Text(text, "bold" if cell.is_best else "", notes))
    return columns


def _legend(tables: Sequence[Table]) -> list[str]:
    """What ± and bold mean, if there are any."""
    cells = [cell for table in tables for row in table.rows for cell in row.cells.values()]
    has_errors, has_best = any(cell.error for cell in cells), any(cell.is_best for cell in cells)
    return [ERRORS] * has_errors + [BEST] * has_best


def markdown(tables: Sequence[Table]) -> str:
    """All tables as Markdown."""
    parts = []
    for table in tables:
        columns = _columns(table)
        rules = ["---" if name in _WORDS else "---:" for name in columns]
        lines = [f"| {' | '.join(columns)} |", f"|{'|'.join(rules)}|"]
        rows = zip(*columns.values(), strict=True)
        lines += [f"| {' | '.join(text.markdown for text in row)} |" for row in rows]
        parts += [f"### {_escape(table.title)}", *map(_escape, table.warnings), "\n".join(lines)]
        parts += ["\n".join(f"- {_escape(note)}" for note in table.notes)] * bool(table.notes)
    return "\n\n".join([*parts, *_legend(tables)]) + "\n"


def _escape(text: str) -> str:
    """A text in which no name ends a cell or sets a style."""
    for letter in "|*`<":
        text = text.replace(letter, f"\\{letter}")
    return text


def print_comparison(tables: Sequence[Table], console: "Console") -> None:
    """Print all tables; one that is wider than the terminal in parts with all models."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    for table in tables:
        console.print(Text("\n".join([table.title, *table.warnings]), "bold"))
        columns = {name.replace(" [", "\n["): texts for name, texts in _columns(table).items()}
        for widths in _parts(columns, console.width):
            grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
            for name, width in widths.items():
                # On a very narrow terminal, cells are wrapped, so that no digit is cut.
                side: Any = "left" if name in _WORDS else "right"
                grid.add_column(Text(name), justify=side, max_width=width, overflow="fold")
            for row in zip(*(columns[name] for name in widths), strict=True):
                grid.add_row(*(Text.assemble((t.value, t.style), t.notes) for t in row))
            console.print(grid)
            console.print()
        for note in table.notes:
            console.print(Text(f"- {note}"))
        if table.notes:
            console.print()
    for line in _legend(tables):
        console.print(Text(line))


def _parts(columns: Mapping[str, list[_Text]], room: int) -> list[dict[str, int]]:
    """The widths of the columns in each part of a table; each part has the names."""
    from rich.cells import cell_len

    widths = {
        name: max(map(cell_len, [*name.split("\n"), *(t.value + t.notes for t in texts)]))
        for name, texts in columns.items()
    }
    widths["model"] = min(widths["model"], max(room // 3, 10))
    words = {name: width for name, width in widths.items() if name in _WORDS}
    parts: list[dict[str, int]] = []
    left = 0
    for name, width in widths.items():
        if name not in _WORDS and width + _GAP > left:
            parts.append(dict(words))
            left = room - sum(words.values()) - _GAP * (len(words) - 1)
        if name not in _WORDS:
            parts[-1][name] = width
            left -= width + _GAP
    return parts
