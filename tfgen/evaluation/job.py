"""What an evaluation is asked for; values on disk and progress while it runs.

No TensorFlow here, so that `--help` answers at once.
"""

import contextlib
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from tfgen.system.atomic import write_arrays

if TYPE_CHECKING:
    from rich.console import Console

# Called with the number of images that were just finished.
Advance: TypeAlias = Callable[[int], None]
# Samples by default: as many as MNIST has test images.
DEFAULT_N = 10_000
# Seconds between two writes of intermediate values.
_WRITE_EVERY = 15.0


def silent(images: int) -> None:
    """Shows no progress."""


@dataclass(frozen=True)
class EvaluationRequest:
    """How a model is evaluated.

    Attributes:
        split: the held-out images that samples and likelihood are measured by.
        n: number of samples, and of held-out images; None: the size of the split, at most
            `DEFAULT_N`.
        seed: of samples, binarization, dequantization and importance samples.
        importance_samples: per image, of a model with latent variables.
        dequantizations: draws per image, of a model with an exact density.
    """

    split: Literal["test", "validation"] = "test"
    n: int | None = None
    seed: int = 0
    importance_samples: int = 500
    dequantizations: int = 8


class PartialValues:
    """Values of images on disk, with which an interrupted estimate continues.

    Args:
        path: the file, NPZ.
        key: all that decides the values; a file with another key is ignored.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]):
        self.path, self.key = path, json.dumps(key, sort_keys=True)
        self._written = time.monotonic()

    def read(self, n: int) -> np.ndarray:
        """`float64[n]`, NaN where a value is missing; a broken file holds no values."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                if str(stored["key"]) == self.key and stored["values"].shape == (n,):
                    values: np.ndarray = stored["values"].astype(np.float64)
                    return values
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass
        return np.full(n, np.nan)

    def write(self, values: np.ndarray, now: bool = False) -> None:
        """Write the values, unless the last write was a moment ago.

        Args:
            values: `float64[n]`, NaN where a value is missing.
            now: write in any case.
        """
        if now or time.monotonic() - self._written > _WRITE_EVERY:
            # On a full disk the estimate continues, without a file.
            with contextlib.suppress(OSError):
                write_arrays(self.path, {"key": np.array(self.key), "values": values})
            self._written = time.monotonic()

    def remove(self) -> None:
        """Remove the file, once the result is written."""
        self.path.unlink(missing_ok=True)


def per_image(
    estimate: Callable[[slice], np.ndarray],
    n: int,
    batch: int,
    partial: PartialValues | None = None,
    advance: Advance = silent,
) -> np.ndarray:
    """The values of n images, a batch at a time.

    Args:
        estimate: values `[B]` of the images of a slice; must not depend on the slices before.
        n: number of images.
        batch: images at a time.
        partial: where values are stored on the way; values that are there are not computed again.
        advance: called after each batch.

    Returns:
        `float64[n]`.
    """
    values = np.full(n, np.nan) if partial is None else partial.read(n)
    try:
        for start in range(0, n, batch):
            part = slice(start, min(start + batch, n))
            if np.isnan(values[part]).any():
                values[part] = estimate(part)
                if partial is not None:
                    partial.write(values)
            advance(part.stop - part.start)
    except BaseException:
        if partial is not None:
            partial.write(values, now=True)
        raise
    return values


@contextlib.contextmanager
def phase(console: "Console", name: str, total: int, has_rate: bool = False) -> Iterator[Advance]:
    """Show a step as a bar with the time left, and at its end as a line with its time.

    Args:
        console: where it is shown.
        name: of the step.
        total: number of images.
        has_rate: whether the images per second are shown, too.
    """
    from tfgen.system.terminal import format_rate, print_line, progress

    start = time.perf_counter()
    with progress(console, name, total, has_rate=has_rate) as advance:
        yield advance
    seconds = time.perf_counter() - start
    rate = f", {format_rate(total / seconds)}" if has_rate else ""
    print_line(console, f"{name}: {seconds:.1f} s{rate}")
