"""Bits/dim of a trained flow on the test images, and on images that are no digits.

With one draw of the dequantization, a flow's log-likelihood of bytes is a lower bound in
expectation. With several draws, averaged as probabilities (Burda et al. 2015), the bound is
tighter. A model of digits must assign a higher likelihood to digits than to the same pixels
inverted or shuffled, or to noise.

    python examples/bits_per_dim.py runs/flow-… [--dequantizations 8] [--n 10000]
    python examples/bits_per_dim.py saved_models/flow/1
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

import tfgen
from tfgen.data import load
from tfgen.errors import UsageError, WorkError
from tfgen.evaluation import likelihood
from tfgen.publishing.opening import Sampler
from tfgen.sampling import batches

# log p in nats, float[B], of images uint8[B, H, W, C] and of the seeds of their dequantization,
# int32[B].
LogProb = Callable[[np.ndarray, np.ndarray], np.ndarray]

BATCH = 500
# Number of images of each kind that are no digits.
N_NOT_DIGITS = 1000


def density(path: Path) -> tuple[LogProb, tuple[int, ...]]:
    """The log-probability of a flow, and the shape of its images.

    Args:
        path: a run, a `.keras` file or a published version.

    Raises:
        UsageError: it is none of these, or not of a flow.
    """
    opened = tfgen.load(path)
    if isinstance(opened, tfgen.Flow):
        log_prob = tf.function(opened.log_prob)
        return lambda images, seeds: log_prob(images, seeds).numpy(), opened.config.image_shape
    if isinstance(opened, Sampler) and opened.manifest.get("family") == "flow":
        shape = tuple(opened.manifest["signatures"]["log_prob"]["inputs"]["images"]["shape"][1:])

        def call(images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
            return opened.call("log_prob", images=images, seed=seeds)["log_prob"]

        return call, shape
    raise UsageError(f"{path} holds no flow")


def bits_per_dim(log_prob: LogProb, images: np.ndarray, dequantizations: int) -> np.ndarray:
    """Bits/dim of images `uint8[N, H, W, C]`, `float64[N]`."""
    seeds = np.arange(len(images), dtype=np.int32)
    values = [
        likelihood.dequantized_log_prob(log_prob, images[part], seeds[part], dequantizations)
        for part in batches(len(images), BATCH)
    ]
    return likelihood.bits_per_dim(np.concatenate(values), images[0].size)


def no_digits(images: np.ndarray) -> dict[str, np.ndarray]:
    """Images that share something with digits, or nothing, by their names."""
    rng = np.random.default_rng(0)
    pixels = images.reshape(len(images), -1)
    return {
        "inverted digits": 255 - images,
        "shuffled pixels": rng.permuted(pixels, axis=1).reshape(images.shape),
        "uniform noise": rng.integers(0, 256, images.shape).astype(np.uint8),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each kind of image."""
    parser = argparse.ArgumentParser(
        description="Bits/dim of a flow on test images, and on images that are no digits."
    )
    parser.add_argument(
        "run", type=Path, help="run directory, .keras file or published version of a flow"
    )
    parser.add_argument(
        "--dequantizations", type=int, default=8, help="dequantization draws per image"
    )
    parser.add_argument("--n", type=int, default=10_000, help="number of test images")
    parser.add_argument("--dataset", default="mnist", help="name of the data set")
    parser.add_argument("--data-dir", type=Path, help="folder of prepared data sets")
    args = parser.parse_args(arguments)
    if args.dequantizations < 1 or args.n < 2:
        parser.error("--dequantizations must be 1 or more, and --n 2 or more")
    try:
        log_prob, shape = density(args.run)
        images = load(args.dataset, args.data_dir).test.images[: args.n]
    except (UsageError, WorkError) as error:
        parser.error(str(error))
    if images.shape[1:] != shape:
        parser.error(f"--dataset {args.dataset} has images of {images.shape[1:]}, not {shape}")
    for draws in sorted({1, args.dequantizations}):
        start = time.perf_counter()
        bits = bits_per_dim(log_prob, images, draws)
        error = bits.std(ddof=1) / np.sqrt(len(bits))
        seconds = time.perf_counter() - start
        print(
            f"{len(images)} test images, {draws} dequantization draw{'s' if draws > 1 else ''} "
            f"each: {bits.mean():.4f} ± {error:.4f} bits/dim ({seconds:.0f} s)"
        )
    for name, pixels in no_digits(images[:N_NOT_DIGITS]).items():
        print(f"{len(pixels)} {name}: {bits_per_dim(log_prob, pixels, 1).mean():.2f} bits/dim")


if __name__ == "__main__":
    main()
