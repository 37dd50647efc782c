"""What the parts of an evaluation share."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from tfgen.data import Dataset, Split
from tfgen.errors import UsageError
from tfgen.evaluation.options import DEFAULT_N, EvaluateOptions
from tfgen.evaluation.progress import Advance, Kept
from tfgen.evaluation.subject import Subject
from tfgen.system.terminal import make_bar, on_screen


@dataclass(frozen=True)
class Work:
    """One evaluation under way.

    Attributes:
        subject: what is judged.
        dataset: whose held-out images it is judged by.
        options: how.
        partial: the beginning of the files that keep what is done: a path without an ending.
        console: where progress goes.
        kept: these files, to be removed once the result stands elsewhere.
    """

    subject: Subject
    dataset: Dataset
    options: EvaluateOptions
    partial: Path
    console: Console
    kept: list[Kept] = field(default_factory=list)

    @property
    def held_out(self) -> Split:
        """The images that decide."""
        split: Split = getattr(self.dataset, self.options.split)
        return split

    @property
    def n(self) -> int:
        """How many samples, and how many of the held-out images.

        Raises:
            UsageError: there are not so many.
        """
        there = len(self.held_out)
        n = min(DEFAULT_N, there) if self.options.n is None else self.options.n
        if n > there:
            raise UsageError(
                f"n = {n} is too large; the {self.options.split} split has {there} images"
            )
        return n

    def keep(self, name: str, settings: dict[str, Any]) -> Kept:
        """Where an estimate's values are kept; `settings` decide them beside the weights and the
        data."""
        data = [self.dataset.fingerprint, self.options.split, self.n]
        key = {
            "weights": self.subject.fingerprint(),
            "data": data,
            "seed": self.options.seed,
            **settings,
        }
        kept = Kept(self.partial.with_name(f"{self.partial.name}-{name}.npz"), key)
        self.kept.append(kept)
        return kept

    @contextlib.contextmanager
    def phase(self, name: str, total: int) -> Iterator[Advance]:
        """Shows a part as a bar with the time left, and at its end as a line with the time
        taken."""
        begun, bar = time.perf_counter(), make_bar(self.console)
        task = bar.add_task(name, total=total)
        with on_screen(bar):
            yield lambda done: bar.advance(task, done)
        took = time.perf_counter() - begun
        self.console.print(f"{name}: {took:.1f} s", highlight=False, soft_wrap=True)


Part = Callable[[Work], dict[str, Any]]
