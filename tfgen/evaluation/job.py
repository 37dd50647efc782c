"""What an evaluation is asked for, and progress while it runs.

No TensorFlow here, so that `--help` answers at once.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from tfgen.errors import UsageError, size_text
from tfgen.settings.fields import Config, option

if TYPE_CHECKING:
    from rich.console import Console

    from tfgen.data import Dataset

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
        None, f"number of samples (default: size of the split, at most {DEFAULT_N})", minimum=2
    )
    importance_samples: int = option(500, "importance samples of z per image", minimum=1)
    dequantizations: int = option(8, "draws of dequantization noise per image", minimum=1)
    seed: int = option(0, "seed of samples, subsets of images and all other noise", minimum=0)


def check_data_set(
    dataset: "Dataset", split: str, title: str, shape: tuple[int, ...], num_classes: int
) -> None:
    """Refuse a data set that does not suit a model.

    Args:
        dataset: to measure the model by.
        split: whose images and labels are used.
        title: what messages call the model.
        shape: height, width and channels of its images.
        num_classes: of a conditional model; 0 of an unconditional one.

    Raises:
        UsageError: images have another shape, or labels are missing or out of range.
    """
    labels, fault = getattr(dataset, split).labels, ""
    if tuple(dataset.image_shape) != shape:
        size, wrong = size_text(shape), size_text(dataset.image_shape)
        fault = f"the images of {title} are {size}, but those of {dataset.name} are {wrong}"
    elif num_classes and (labels is None or labels.max() >= num_classes):
        available = "no labels" if labels is None else f"labels up to {labels.max()}"
        fault = f"{title} has {num_classes} classes, {dataset.name} has {available}"
    if fault:
        raise UsageError(f"{fault}; name the data set of its training with --dataset")


def count_images(dataset: "Dataset", request: EvaluationRequest) -> int:
    """The number of samples that a request asks for, and of held-out images of a data set.

    Args:
        dataset: to measure the model by.
        request: its split and its number of samples.

    Raises:
        UsageError: the split has fewer images.
    """
    size = len(getattr(dataset, request.split))
    n = min(DEFAULT_N, size) if request.n is None else request.n
    if n > size:
        raise UsageError(f"n = {n} is too large; the {request.split} split has {size} images")
    return n


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
