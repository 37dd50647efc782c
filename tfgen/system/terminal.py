"""What long work shows on a terminal."""

import contextlib
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def make_bar(console: Console) -> Progress:
    """A bar with the share done, the time taken and the time left; disabled where there is no
    terminal."""
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
    """While it is entered the bar is on the terminal; rich's own would leave an empty line
    elsewhere."""
    return contextlib.nullcontext() if bar.disable else bar
