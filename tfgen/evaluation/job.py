"""What an evaluation is asked for, and progress while it runs.

No TensorFlow here, so that `--help` answers at once.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console

# Called with the number of images that were just finished.
Advance: TypeAlias = Callable[[int], None]
# Samples by default: as many as MNIST has test images.
DEFAULT_N = 10_000
# With fewer images, samples are not ranked: the random network lacks features, and metrics of noise
# come close to those of real images; docs/judge.md has numbers.
LEAST_RANKED = 256


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
        dequantizations: draws per image, of a model of dequantized bytes.
    """

    split: Literal["test", "validation"] = "test"
    n: int | None = None
    seed: int = 0
    importance_samples: int = 500
    dequantizations: int = 8


@contextlib.contextmanager
def phase(console: "Console", name: str, total: int) -> Iterator[Advance]:
    """Show a step as a bar with the time left, and at its end as a line with its time.

    Args:
        console: where it is shown.
        name: of the step.
        total: number of images.
    """
    from tfgen.system.terminal import print_line, progress

    start = time.perf_counter()
    with progress(console, name, total) as advance:
        yield advance
    print_line(console, f"{name}: {time.perf_counter() - start:.1f} s")
