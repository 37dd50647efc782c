"""Messages and progress bars on the terminal."""

import contextlib
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def make_bar(console: Console) -> Progress:
    """A bar with the share done, the time taken and the time left; disabled without a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def on_screen(bar: Progress) -> contextlib.AbstractContextManager[Any]:
    """A context in which the bar is on the terminal.

    Without a terminal it does nothing, where rich's own context would print an empty line.
    """
    return contextlib.nullcontext() if bar.disable else bar


def print_line(console: Console, text: str) -> None:
    """Prints a line as it is: without markup, colours or wrapping, so that paths stay whole."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def count_noun(count: int, noun: str) -> str:
    """A count with its noun: `1 epoch`, `2 epochs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
