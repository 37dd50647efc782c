"""The sampling interface: what a live model, an opened version and a served version share.

The rules of a request stand here once: the seed and the label of each image, the number of images
per batch, and the error texts. No TensorFlow here, so that a client of a server needs none.
"""

import abc
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import numpy as np

from tfgen.errors import UsageError
from tfgen.random import image_seeds

# Default number of images that are computed at once, or requested from a server at once.
BATCH = 250

Arrays: TypeAlias = dict[str, np.ndarray]
# Labels `int[B]`; None of an unconditional model.
Labels: TypeAlias = np.ndarray | None
# Shows progress: takes the slices of the batches and a title, and gives the slices to go through.
Track: TypeAlias = Callable[[Sequence[slice], str], AbstractContextManager[Iterable[slice]]]


class ImageSampler(abc.ABC):
    """A sampler of images: `latents`, `decode` and `sample`.

    An image is a function of its own seed: `sample` is `decode` of `latents`. Without labels, image
    i of a conditional model has the class i mod K, for every n and any batch size. A live model
    returns tensors, an opened and a served version numpy arrays with the same values. Some
    families also have `encode` and `log_prob`.

    Attributes:
        batch_size: number of images that `sample` computes at once.
    """

    batch_size = BATCH

    @property
    @abc.abstractmethod
    def latent_dim(self) -> int:
        """Length of a latent vector, D."""

    @property
    @abc.abstractmethod
    def num_classes(self) -> int:
        """Number of classes of a conditional model, K; 0 of an unconditional model."""

    @abc.abstractmethod
    def latents(self, seeds: Any) -> Any:
        """Latents `float32[B, D]` of `seeds: int32[B]`.

        The latents of a seed are bit-equal in every batch and process.
        """

    @abc.abstractmethod
    def decode(self, latents: Any, labels: Any = None) -> Any:
        """Images `float32[B, H, W, C]` in 0…1 of latents.

        Args:
            latents: `float32[B, D]`.
            labels: classes of a conditional model, `int[B]`, or one class for all images; None:
                image i has the class i mod K.

        Raises:
            UsageError: a label is out of range, there are not B labels, or the model is not
                conditional.
        """

    def sample(self, n: int = 25, *, seed: int = 0, seeds: Any = None, labels: Any = None) -> Any:
        """Sampled images, `float32[n, H, W, C]` in 0…1.

        Args:
            n: number of images.
            seed: seed of the whole request; it determines the seed of each image.
            seeds: one seed for each image, `int32[n]`; replaces `n` and `seed`.
            labels: classes of a conditional model, `int[n]`, or one class for all images; None:
                image i has the class i mod K.

        Raises:
            UsageError: n or seed is negative, `seeds` are not a list of 32-bit integers, a label is
                out of range, there are not n labels, or the model is not conditional.
        """
        seeds = request_seeds(n, seed, seeds)
        labels = request_labels(len(seeds), self.num_classes, labels)
        parts = batches(len(seeds), self.batch_size)
        rows = [seeds] if labels is None else [seeds, labels]
        return self.joined([self._sample_batch(*(row[part] for row in rows)) for part in parts])

    def _sample_batch(self, seeds: np.ndarray, labels: np.ndarray | None = None) -> Any:
        return self.decode(self.latents(seeds), labels)

    def joined(self, parts: list[Any]) -> Any:
        """Concatenates `parts`, the batches of one request."""
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def batches(n: int, size: int = BATCH) -> Iterator[slice]:
    """Slices of n rows, `size` rows each; one empty slice if n is 0."""
    return (slice(start, min(start + size, n)) for start in range(0, max(n, 1), size))


def no_progress(parts: Sequence[slice], title: str) -> AbstractContextManager[Iterable[slice]]:
    """The `Track` that shows nothing: yields `parts`, without the `title`."""
    return nullcontext(parts)


def request_seeds(n: int, seed: int, seeds: Any = None) -> np.ndarray:
    """The seed of each image of a request, `int32[n]`.

    Args:
        n: number of images.
        seed: seed of the whole request.
        seeds: one seed for each image, signed or unsigned; replaces `n` and `seed`.

    Raises:
        UsageError: n or seed is negative, or `seeds` are not a list of 32-bit integers.
    """
    if seeds is None:
        for name, value in {"n": n, "seed": seed}.items():
            if value < 0:
                raise UsageError(f"{name} = {value} is too small; the least is 0")
        return image_seeds(seed, n)
    array = _array(seeds)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        shape = f"{array.dtype}{list(array.shape)}"
        raise UsageError(f"seeds are {shape}; pass one integer for each image")
    if array.size and not -(2**31) <= array.min() <= array.max() < 2**32:
        span = f"from {array.min()} to {array.max()}"
        raise UsageError(f"seeds range {span}; they must fit into 32 bits")
    return array.astype(np.int32)


def request_labels(n: int, num_classes: int, labels: Any, first: int = 0) -> np.ndarray | None:
    """The class of each of n images to sample, `int32[n]`; None for an unconditional model.

    Args:
        n: number of images.
        num_classes: K; 0 for an unconditional model.
        labels: `int[n]`, or one class for all images; None: image i has the class i mod K.
        first: index i of the first of these images.

    Raises:
        UsageError: a label is out of range, there are not n labels, or the model is not
            conditional.
    """
    if not num_classes:
        if labels is not None:
            raise UsageError("the model is not conditional: it takes no labels")
        return None
    if labels is None:
        return (np.arange(first, first + n) % num_classes).astype(np.int32)
    array = _array(labels)
    if array.dtype.kind not in "iu" or array.ndim > 1 or (array.ndim == 1 and len(array) != n):
        shape = f"{array.dtype}{list(array.shape)}"
        raise UsageError(f"labels are {shape}; pass {n} integers, or one for all")
    check_labels(array, num_classes)
    return np.broadcast_to(array.astype(np.int32), (n,))


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Checks that labels, `int[…]`, are classes of a model of `num_classes`.

    Raises:
        UsageError: a label is out of range.
    """
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if wrong.size:
        classes = f"0…{num_classes - 1}"
        raise UsageError(f"label {wrong[0]} is out of range; the model has the classes {classes}")


def _array(values: Any) -> np.ndarray:
    # numpy makes float64 of an empty list.
    return np.asarray(values, None if np.size(values) else np.int32)


def byte_pixels(images: np.ndarray) -> np.ndarray:
    """`images`, `[…]` in 0…1, as the bytes that files store, `uint8[…]`: 255 · x, rounded."""
    return np.round(255 * images).astype(np.uint8)


def noise_seeds(n: int, seeds: Any = None) -> np.ndarray:
    """The seed of the noise for each of n images to encode or judge, `int32[n]`.

    Args:
        n: number of images.
        seeds: `int32[n]`; None: 0, 1, 2, ….

    Raises:
        UsageError: there are not n seeds, or they are not 32-bit integers.
    """
    array = request_seeds(0, 0, np.arange(n) if seeds is None else seeds)
    if len(array) != n:
        raise UsageError(f"there are {len(array)} seeds for {n} images; pass one for each image")
    return array


def image_labels(n: int, num_classes: int, labels: Any = None) -> np.ndarray | None:
    """The class of each of n images to encode or judge, `int32[n]`; None if unconditional.

    Args:
        n: number of images.
        num_classes: K; 0 for an unconditional model.
        labels: `int[n]`, or one class for all images. An image has its own class, so a conditional
            model needs them.

    Raises:
        UsageError: labels are missing, out of range, not n, or the model is not conditional.
    """
    if labels is None and num_classes:
        text = f"the model is conditional: pass labels 0…{num_classes - 1}"
        raise UsageError(f"{text}, in fit as (images, labels)")
    return request_labels(n, num_classes, labels)


# What to do, by the channels of images, which may be missing, and those of the model, if known.
_CONVERSIONS: dict[tuple[int | None, ...], str] = {
    **dict.fromkeys([(), (1,)], " (grey images: images[..., None])"),
    (3, 1): " (the model takes grey images: images.mean(-1, keepdims=True).astype('uint8'))",
    (1, 3): " (the model takes RGB images: images.repeat(3, -1))",
}


def wrong_shape(shape: Sequence[int | None], image_shape: Sequence[int | None]) -> str:
    """What is wrong with images of a `shape`, for a model that takes `[B, *image_shape]`."""
    expected = ["[B, H, W, C]"] if len(image_shape) in (0, 3) else []
    expected += [str(["B", *image_shape]).replace("'", "")] if image_shape else []
    advice = _CONVERSIONS.get((*shape[3:4], *image_shape[-1:]), "")
    return f"images have shape {list(shape)}; pass {' = '.join(expected)}{advice}"


def check_image_bytes(
    dtype: str, shape: Sequence[int | None], image_shape: Sequence[int | None] = ()
) -> None:
    """Checks that an array has images of bytes, `uint8[B, H, W, C]`.

    A model of 0…255 that gets 0…1 computes void likelihoods silently, so floats are an error.

    Args:
        dtype: name of the array's dtype.
        shape: shape of the array.
        image_shape: height, width and channels that the model takes; empty: any.

    Raises:
        UsageError: the dtype is not `uint8`, or the images have another shape.
    """
    if dtype != "uint8":
        advice = "convert floats in 0…1 by (images * 255).round().astype('uint8')"
        text = f"images are {dtype}; pass uint8 images of 0…255, shape [B, H, W, C]"
        raise UsageError(f"{text} ({advice})")
    sides = zip(shape[1:], image_shape, strict=False)
    if len(shape) != 4 or any(None not in pair and pair[0] != pair[1] for pair in sides):
        raise UsageError(wrong_shape(shape, image_shape))


def complete(
    sampler: Any,
    images: Any,
    mask: Any,
    n: int = 8,
    *,
    rounds: int = 20,
    seed: int = 0,
    labels: Any = None,
    advance: Callable[[int], object] = lambda count: None,
) -> np.ndarray:
    """Samples the unknown pixels of images with any sampler that encodes.

    An annealed form of the Markov chain of Rezende, Mohamed & Wierstra 2014, "Stochastic
    backpropagation and approximate inference in deep generative models", section on missing data.
    It starts from latents of the prior. Each round restores the known pixels in the decoded images,
    encodes them as e and adds noise: z = √(1 − s²) e + s ε with ε ~ N(0, I). s falls linearly from
    1 to 0.

    Args:
        sampler: a live model, an opened or a served version.
        images: `uint8[N, H, W, C]`.
        mask: true where a pixel is unknown, `bool[H, W]` for all images or `bool[N, H, W]`.
        n: number of results for each image.
        rounds: number of rounds.
        seed: of the whole request. The noise is `sampler.latents` of its image seeds, so it is the
            same for a live model and for its versions; further images leave that of the first.
        labels: classes of the images for a conditional model, `int[N]`, or one class for all.
        advance: called after each decoding with its number of images; `rounds` + 1 times for each.

    Returns:
        The results of each image, `uint8[N, n, H, W, C]`.

    Raises:
        UsageError: the sampler has no encoder, the mask marks nothing or has another shape, or an
            argument is out of range or does not suit the model.
    """
    images, mask = np.asarray(images), np.asarray(mask, bool)
    check_image_bytes(images.dtype.name, images.shape)
    if mask.shape not in (images.shape[1:3], images.shape[:3]):
        raise UsageError(f"the mask has shape {list(mask.shape)}; pass {list(images.shape[1:3])}")
    if not mask.any():
        raise UsageError("the mask marks no pixel as unknown; in a picture, paint these white")
    if min(n, rounds) < 1:
        raise UsageError(f"n = {n}, rounds = {rounds}: pass 1 or more")
    count, steps = len(images) * n, rounds + 1
    seeds = request_seeds(count * steps, seed).reshape(count, steps)
    labels = image_labels(len(images), sampler.num_classes, labels)
    classes = None if labels is None else labels.repeat(n)
    unknown = np.broadcast_to(mask[..., None], images.shape).repeat(n, axis=0)
    results = images.repeat(n, axis=0)
    for part in batches(count, sampler.batch_size):
        of_part = None if classes is None else classes[part]
        encoded: Any = 0.0
        for step in range(steps):
            s = 1 - step / rounds
            noise = np.asarray(sampler.latents(seeds[part, step]))
            latents = math.sqrt(1 - s * s) * encoded + s * noise
            decoded = byte_pixels(np.asarray(sampler.decode(latents, of_part)))
            results[part] = np.where(unknown[part], decoded, results[part])
            if step < rounds:
                encoded = np.asarray(
                    sampler.encode(results[part], seeds=seeds[part, step], labels=of_part)
                )
            advance(part.stop - part.start)
    return results.reshape(len(images), n, *images.shape[1:])
