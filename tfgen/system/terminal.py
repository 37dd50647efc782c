"""Messages and progress bars on the terminal."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

# Columns of a terminal below which a line has no room for the bar itself.
_WIDE = 60


class _TextColumn(ProgressColumn):
    """A text about a task, which is never wrapped."""

    def __init__(self, text_of: Callable[[Task], str]):
        super().__init__(Column(no_wrap=True))
        self._text_of = text_of

    def render(self, task: Task) -> Text:
        return Text(self._text_of(task))


def make_bar(console: Console) -> Progress:
    """A bar with the share done, the time taken and the time left; disabled without a terminal.

    A description has parts separated by two spaces. On a narrow terminal there is no bar, and the
    last parts are left out, so that the line fits and no number is cut.
    """
    columns: list[ProgressColumn] = [
        _TextColumn(lambda task: _first_parts(task, console.width)),
        BarColumn(),
        _TextColumn(lambda task: f"{task.percentage:3.0f}%"),
        _TextColumn(_times),
    ]
    if console.width < _WIDE:
        columns[1:] = [_TextColumn(_remaining)]
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # A bar on standard error is removed before an error is printed there in its one line.
        redirect_stderr=not console.stderr,
    )


def _first_parts(task: Task, width: int) -> str:
    """The description without the last parts that do not fit beside the other columns."""
    room = width - len(_times(task) + " 100% ━ " if width >= _WIDE else _remaining(task) + " ")
    text = task.description
    while len(text) > room and "  " in text:
        text = text.rpartition("  ")[0]
    return text


def _times(task: Task) -> str:
    elapsed = f"elapsed {format_seconds(task.elapsed or 0)}"
    return elapsed if task.time_remaining is None else f"{elapsed}, {_remaining(task)}"


def _remaining(task: Task) -> str:
    if task.time_remaining is None:
        return f"elapsed {format_seconds(task.elapsed or 0)}"
    return f"remaining {format_seconds(task.time_remaining)}"


def format_seconds(seconds: float) -> str:
    """A time in minutes and seconds, `0:06`, or in hours, minutes and seconds, `1:00:06`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def on_screen(bar: Progress) -> contextlib.AbstractContextManager[Any]:
    """A context in which the bar is on the terminal.

    Without a terminal it does nothing, where rich's own context would print an empty line.
    """
    return contextlib.nullcontext() if bar.disable else bar


@contextlib.contextmanager
def progress(
    console: Console, title: str, total: int, completed: int = 0, has_rate: bool = False
) -> Iterator[Callable[[int], None]]:
    """Shows the progress over images; yields a function that takes the number just finished.

    Args:
        console: where the bar is, if it is a terminal.
        title: what is done.
        total: number of images.
        completed: images that were finished before.
        has_rate: whether the images per second are shown.
    """
    bar = make_bar(console)
    task = bar.add_task(title, total=total, completed=completed)
    start, count = time.perf_counter(), 0

    def advance(images: int) -> None:
        nonlocal count
        count += images
        rate = f"  {format_rate(count / (time.perf_counter() - start))}" if has_rate else ""
        bar.update(task, advance=images, description=f"{title}{rate}")

    with on_screen(bar):
        yield advance


def print_line(console: Console, text: str) -> None:
    """Prints a line as it is: without markup, colours or wrapping, so that paths stay whole."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_values(console: Console, parts: Sequence[str]) -> None:
    """Prints a line of values; on a terminal it is wrapped between two of them.

    Args:
        console: where to print; what is no terminal gets one line.
        parts: the first one starts the line; the lines after it are indented by its width if there
            is room for that.
    """
    room = console.width - max(map(len, parts[1:]), default=0)
    indent = " " * min(len(parts[0]) + 2, room)
    lines = [parts[0]]
    for part in parts[1:]:
        if console.is_terminal and len(f"{lines[-1]}  {part}") > console.width:
            lines.append(f"{indent}{part}")
        else:
            lines[-1] += f"  {part}"
    print_line(console, "\n".join(lines))


def format_value(value: float) -> str:
    """A logged value as messages have it: `0.3142`, `93.03`."""
    return f"{value:.4g}" if abs(value) < 10 else f"{value:.2f}"


def format_rate(rate: float) -> str:
    """A number of images per second: `3201 images/s`, `0.52 images/s`."""
    return f"{rate:.0f} images/s" if rate >= 10 else f"{rate:.2g} images/s"


def count_noun(count: int, noun: str) -> str:
    """A count with its noun: `1 epoch`, `2 epochs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
