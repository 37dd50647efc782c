"""What an evaluation is asked for, and progress while it runs.

No TensorFlow here, so that `--help` answers at once.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from tfgen.settings.fields import Config, option
from tfgen.settings.training import MAX_SEED

if TYPE_CHECKING:
    from rich.console import Console

# Called with the number of images that were just finished.
Advance: TypeAlias = Callable[[int], None]
# Pixels that a network for features takes: the values of black and of white.
Range: TypeAlias = Literal["0,1", "-1,1", "0,255"]
# Samples by default: as many as MNIST has test images.
DEFAULT_N = 10_000
# With fewer images, samples are not ranked: the random network lacks features, and metrics of noise
# come close to those of real images; docs/judge.md has numbers.
LEAST_RANKED = 256


def silent(images: int) -> None:
    """Shows no progress."""


@dataclass(frozen=True)
class EvaluationRequest(Config):
    """How a model is evaluated; each field is also a flag of `tfgen-evaluate`."""

    split: Literal["test", "validation"] = option("test", "held-out images to compare with")
    n: int | None = option(
        None,
        "number of samples, and of held-out images "
        f"(default: the size of the split, at most {DEFAULT_N})",
        minimum=2,
    )
    importance_samples: int = option(
        500, "importance samples per image, for a model with latent variables", minimum=1
    )
    dequantizations: int = option(
        8, "dequantization draws per image, for a model of dequantized bytes", minimum=1
    )
    seed: int = option(
        0,
        "seed for samples, random subsets of images, binarization, dequantization and importance "
        "samples",
        minimum=0,
        maximum=MAX_SEED,
    )


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
