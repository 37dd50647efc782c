"""How images are sampled: what a live model, an opened version and a served one have in common.

The rules of a request stand here once: which seeds it has, which label each image gets, how many
images are computed at a time, and what is said of a wrong one. No TensorFlow here, so that a client
of a server needs none.
"""

import abc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.random import image_seeds

# Images computed at a time, or asked for in one request.
BATCH = 250


class ImageSampler(abc.ABC):
    """What samples images: `latents`, `decode` and `sample`, and `encode` and `log_prob` where
    there are such.

    An image is a function of its own seed: `sample` is `decode` of `latents`. Without labels, image
    i of a conditional model has the class i mod K, for every n and whatever the batches. A live
    model answers with tensors, an opened and a served version with numpy arrays of the same values.
    """

    @property
    @abc.abstractmethod
    def latent_dim(self) -> int:
        """Length of a latent vector, D."""

    @property
    @abc.abstractmethod
    def num_classes(self) -> int:
        """Number of classes of a conditional model, K; 0 of an unconditional one."""

    @abc.abstractmethod
    def latents(self, seeds: Any) -> Any:
        """Latents `float32[B, D]` of `seeds: int32[B]`; bit-equal for a seed in every batch and
        process."""

    @abc.abstractmethod
    def decode(self, latents: Any, labels: Any = None) -> Any:
        """Images `float32[B, H, W, C]` in 0…1.

        Args:
            latents: `float32[B, D]`.
            labels: classes of a conditional model, `int[B]` or one for all; None: i mod K.

        Raises:
            UsageError: a label is out of range, or the model takes none.
        """

    def sample(self, n: int = 25, *, seed: int = 0, seeds: Any = None, labels: Any = None) -> Any:
        """Sampled images, `float32[n, H, W, C]` in 0…1.

        Args:
            n: number of images.
            seed: of the whole request; the same seed gives the same images.
            seeds: one seed for each image, `int32[n]`, in place of `n` and `seed`.
            labels: classes of a conditional model, `int[n]` or one for all; None: i mod K.

        Raises:
            UsageError: a label is out of range, or the model takes none.
        """
        seeds = request_seeds(n, seed, seeds)
        labels = request_labels(len(seeds), self.num_classes, labels)

        def images(part: slice) -> Any:
            return self.decode(self.latents(seeds[part]), None if labels is None else labels[part])

        return self.joined([images(part) for part in batches(len(seeds))])

    def joined(self, parts: list[Any]) -> Any:
        """Batches put one after the other."""
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def batches(n: int, size: int = BATCH) -> Iterator[slice]:
    """Slices of n rows, `size` at a time; one empty slice where n is 0."""
    return (slice(start, min(start + size, n)) for start in range(0, max(n, 1), size))


def in_batches(
    function: Callable[..., Any],
    *arrays: Any,
    size: int = BATCH,
    track: Callable[..., Iterable] = iter,
) -> Any:
    """`function(*arrays)` computed `size` rows at a time.

    Args:
        function: of arrays with the batch first, to one such array.
        *arrays: with the batch first; None is passed on.
        size: rows at a time.
        track: wraps the list of slices, to show progress.
    """
    parts = list(batches(len(arrays[0]), size))
    results = [
        function(*(None if array is None else array[part] for array in arrays))
        for part in track(parts)
    ]
    return np.concatenate(results)


def request_seeds(n: int, seed: int, seeds: Any = None) -> np.ndarray:
    """The seed of each image of a request, `int32[n]`.

    Raises:
        UsageError: there is to be no image, or `seeds` is no list of 32-bit integers.
    """
    if seeds is None:
        if n < 0:
            raise UsageError(f"n = {n} is too small; the least is 0")
        return image_seeds(seed, n)
    array = np.asarray(seeds)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UsageError(
            f"seeds are {array.dtype}{list(array.shape)}; pass one integer for each image"
        )
    if array.size and not -(2**31) <= array.min() <= array.max() < 2**31:
        raise UsageError(
            f"seeds go from {array.min()} to {array.max()}; they must fit into 32 bits"
        )
    return array.astype(np.int32)


def request_labels(n: int, num_classes: int, labels: Any = None) -> np.ndarray | None:
    """The class of each of n images, `int32[n]`; None of an unconditional model.

    Args:
        n: number of images.
        num_classes: K; 0 of an unconditional model.
        labels: `int[n]`, or one for all; None: image i has the class i mod K.

    Raises:
        UsageError: a label is out of range, there are not n of them, or the model takes none.
    """
    if not num_classes:
        if labels is not None:
            raise UsageError("the model is not conditional: it takes no labels")
        return None
    if labels is None:
        return (np.arange(n) % num_classes).astype(np.int32)
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" or array.ndim > 1 or (array.ndim == 1 and len(array) != n):
        raise UsageError(
            f"labels are {array.dtype}{list(array.shape)}; pass {n} integers, or one for all"
        )
    check_labels(array, num_classes)
    return np.broadcast_to(array.astype(np.int32), (n,))


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Refuses labels that a model does not have.

    Raises:
        UsageError: one is out of range.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        there = (
            f"label {labels.min()} is"
            if labels.size == 1
            else f"labels {labels.min()}…{labels.max()} are"
        )
        raise UsageError(f"{there} out of range; the model has the classes 0…{num_classes - 1}")
