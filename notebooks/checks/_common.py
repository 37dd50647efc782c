"""Checks that exercises of several notebooks share."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ._arrays import Generator, size
from ._compare import Answer, compare, compare_function, first, numbers, refuse, shifted


def compare_log_means(answer: Answer, rng: Generator, dtype: type, samples: str) -> None:
    """Checks a function that returns the log of a mean of exp(log_p) over the first axis.

    Args:
        answer: the function, of an array `[K, N]`.
        rng: source of the inputs.
        dtype: of the inputs.
        samples: what the first axis is, for messages.

    Raises:
        Mistake: the answer is wrong.
    """

    def outcomes(near: np.ndarray) -> dict[str, Any]:
        summed = np.logaddexp.reduce(near.astype(np.float64), axis=0)
        right = summed - np.log(len(near))
        over_images = np.logaddexp.reduce(near, axis=1) - np.log(near.shape[1])
        return {
            f"the result must be log((1/K) Σ_k exp(…)) over the K {samples} of each column": right,
            "1/K is missing: this is the log of the sum, not the log of the mean": summed,
            "this is the mean of the logs, not the log of the mean": near.mean(axis=0),
            f"the mean is over the images; take it over the {samples}": over_images,
            "all images are averaged together; return one for each": np.log(np.exp(near).mean()),
            "the maximum is subtracted, but not added again": right - near.max(axis=0),
            f"K is not the number of {samples}, the length of the first axis": shifted(right),
        }

    shapes = [(count, size(rng, 2, 4)) for count in rng.permutation(range(5, 10))[:2]]
    draws: list[Any] = [[rng.normal(size=shape, scale=2).astype(dtype)] for shape in shapes]
    compare_function(answer, draws, outcomes)
    many: np.ndarray = np.full((50_000, 2), -200, dtype)
    many[0] = 0
    right = np.full(2, -np.log(len(many)))
    compare([(answer(many)[0], right, {})], "a mean of 1/50 000 is lost: add nothing to it")
    (near,), underflow = draws[-1], "subtract the largest value before exp, and add it after log"
    columns = np.arange(1, near.shape[1] + 1)
    for shifts, sentence in (
        (-3000, f"exp of −3000 is 0; {underflow}"),
        (900, f"exp of 900 is infinite; {underflow}"),
        (-900.0 * np.arange(len(near))[:, None], "exp overflows; subtract the largest value"),
        (-2000.0 * columns, "one maximum of all images is subtracted; subtract each column's own"),
    ):
        far: np.ndarray = (near + shifts).astype(dtype)
        with np.errstate(all="ignore"):
            value, right = numbers(answer(far)[0]), first(outcomes(far))
        refuse({sentence: not np.isfinite(value).all()})
        sentence = "adding a constant to a column must add the same constant to the result"
        # float32 has a spacing of 5e-4 near 8000.
        compare([(value - right, 0 * right, {})], sentence, 4e-3)


def log_probs(rng: Generator, shape: Any) -> np.ndarray:
    """log p(x) of some images of a shape, or a number of dimensions, nats."""
    return -np.prod(shape) * rng.uniform(0.5, 5, size(rng, 2, 5))


def compare_bits(answer: Answer, draws: Iterable[Iterable[Any]], dimensions: str) -> None:
    """Checks a function that makes bits per dimension of log-probabilities.

    Args:
        answer: the function.
        draws: its inputs, log p(x) in nats and the images' shape, or number of dimensions.
        dimensions: what to call their number.

    Raises:
        Mistake: the answer is wrong.
    """

    def outcomes(log_prob: np.ndarray, shape: Any) -> dict[str, Any]:
        count, eight = np.prod(shape), "8 bits, as if of a density in 0…1; here log p is of bytes"
        bits = -log_prob / count / np.log(2)
        return {
            f"the result must be −log p / ({dimensions} · ln 2)": bits,
            "ln 2 is missing: these are nats per dimension; divide by ln 2": bits * np.log(2),
            "it multiplies by ln 2; a bit is ln 2 nats, so divide": bits * np.log(2) ** 2,
            "the sign is wrong: bits/dim is −log p, so that fewer are better": -bits,
            f"these are bits per image; divide by {dimensions}": bits * count,
            f"these are nats per image; divide by {dimensions} · ln 2": -log_prob,
            "it divides by the pixels; each channel is a dimension": bits * np.ravel(shape)[-1],
            f"it adds log₂ 256 = {eight}": bits + 8,
            "it averages over images; return one value for each image": bits.mean(),
        }

    compare_function(answer, draws, outcomes, tolerance=3e-6)
