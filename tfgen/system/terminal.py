"""Messages and progress bars on the terminal."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

# Imported where it is used, so that `--help` is fast.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def make_bar(console: "Console") -> "Progress":
    """A bar with the share done and the time left; disabled without a terminal."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        *Progress.get_default_columns()[1:],
        # Earlier versions of rich print a line even if the bar is disabled.
        console=console if console.is_terminal else Console(quiet=True),
        transient=True,
        disable=not console.is_terminal,
        # A bar on standard error is removed before an error is printed there in its one line.
        redirect_stderr=not console.stderr,
    )


@contextlib.contextmanager
def progress(
    console: "Console", title: str, total: int, completed: int = 0, has_rate: bool = False
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

    with bar:
        yield advance


def print_line(console: "Console", text: str) -> None:
    """Prints a line as it is: without markup, colours or wrapping, so that paths stay whole."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def format_value(value: float) -> str:
    """A logged value as messages have it: `0.3142`, `93.03`."""
    return f"{value:.4g}" if abs(value) < 10 else f"{value:.2f}"


def format_rate(rate: float) -> str:
    """A number of images per second: `3201 images/s`, `0.52 images/s`."""
    return f"{rate:.0f} images/s" if rate >= 10 else f"{rate:.2g} images/s"


def format_minutes(seconds: float) -> str:
    """A time in minutes and seconds: `4:05`."""
    return f"{max(0, int(seconds)) // 60}:{max(0, int(seconds)) % 60:02}"


def format_bytes(size: float) -> str:
    """A number of bytes: `1.52 GB`, `24.3 MB`."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def count_noun(count: int, noun: str) -> str:
    """A count with its noun: `1 epoch`, `2 epochs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
