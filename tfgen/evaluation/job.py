"""One evaluation under way: what its steps share."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from tfgen.data import Dataset, Split
from tfgen.errors import UsageError
from tfgen.evaluation.progress import Advance, PartialValues
from tfgen.evaluation.request import DEFAULT_N, EvaluationRequest
from tfgen.evaluation.subject import Subject
from tfgen.system.terminal import format_rate, print_line, progress


@dataclass(frozen=True)
class Job:
    """One evaluation under way.

    Attributes:
        subject: what is evaluated.
        dataset: its held-out images are the reference.
        request: what is measured.
        partial_path: beginning of the paths of the files with intermediate values, without an
            extension.
        console: where progress is shown.
        partial_values: these files, to be removed once the result is written.
    """

    subject: Subject
    dataset: Dataset
    request: EvaluationRequest
    partial_path: Path
    console: Console
    partial_values: list[PartialValues] = field(default_factory=list)

    @property
    def held_out(self) -> Split:
        """The first n images of the split that the request names."""
        return self._split.take(0, self.n)

    @property
    def trained_on(self) -> Split:
        """The images among which copies are searched: those that the model was trained on."""
        return self.subject.training_split(self.dataset)

    @property
    def _split(self) -> Split:
        split: Split = getattr(self.dataset, self.request.split)
        return split

    @property
    def n(self) -> int:
        """Number of samples, and of held-out images.

        Raises:
            UsageError: the split has fewer images.
        """
        size = len(self._split)
        n = min(DEFAULT_N, size) if self.request.n is None else self.request.n
        if n > size:
            raise UsageError(
                f"n = {n} is too large; the {self.request.split} split has {size} images"
            )
        return n

    def open_partial(self, name: str, settings: dict[str, Any]) -> PartialValues:
        """The file for an estimate's intermediate values.

        Args:
            name: of the estimate.
            settings: what decides the values, besides the weights and the data.
        """
        key = {
            "weights": self.subject.weights_sha256,
            "data": [self.dataset.fingerprint, self.request.split, self.n],
            "seed": self.request.seed,
            **settings,
        }
        path = self.partial_path.with_name(f"{self.partial_path.name}-{name}.npz")
        partial = PartialValues(path, key)
        self.partial_values.append(partial)
        return partial

    def phase(
        self, name: str, total: int, has_rate: bool = False
    ) -> contextlib.AbstractContextManager[Advance]:
        """Show a step as a bar with the time left, and at its end as a line with its time."""
        return phase(self.console, name, total, has_rate)


@contextlib.contextmanager
def phase(console: Console, name: str, total: int, has_rate: bool = False) -> Iterator[Advance]:
    """Show a step as a bar with the time left, and at its end as a line with its time.

    Args:
        console: where it is shown.
        name: of the step.
        total: number of images.
        has_rate: whether the images per second are shown, too.
    """
    start = time.perf_counter()
    with progress(console, name, total, has_rate=has_rate) as advance:
        yield advance
    seconds = time.perf_counter() - start
    rate = f", {format_rate(total / seconds)}" if has_rate else ""
    print_line(console, f"{name}: {seconds:.1f} s{rate}")
