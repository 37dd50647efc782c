"""Bits/dim of a trained flow on the test images, and of images that are none of these.

A flow's likelihood of bytes is a bound, by one draw of the dequantization; more draws, averaged as
probabilities (Burda et al. 2015), bring it nearer to the value itself. A model of digits must find
real ones likelier than the same pixels inverted, shuffled, or drawn at random.

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
from tfgen.publishing.versions import Sampler

# Of images, uint8[B, H, W, C], and the seeds of their dequantization, int32[B]: log p in nats,
# float[B].
LogProb = Callable[[np.ndarray, np.ndarray], np.ndarray]

CHUNK = 500
# Of the images that are no digits.
OTHERS = 1000


def density(path: Path) -> tuple[LogProb, tuple[int, ...]]:
    """The log-probability that a run, a `.keras` file or a published version gives, and its images'
    shape.

    Raises:
        UsageError: it is none of these, or no flow.
    """
    opened = tfgen.load(path)
    if isinstance(opened, tfgen.Flow):
        log_prob = tf.function(opened.log_prob)
        return lambda images, seeds: log_prob(images, seeds).numpy(), opened.config.image_shape
    if isinstance(opened, Sampler) and opened.manifest.get("family") == "flow":
        shape = opened.manifest["signatures"]["log_prob"]["inputs"]["images"]["shape"]
        return lambda images, seeds: opened.call("log_prob", images=images, seed=seeds)[
            "log_prob"
        ], (*shape[1:],)
    raise UsageError(f"{path} holds no flow")


def bits_per_dim(log_prob: LogProb, images: np.ndarray, dequantizations: int) -> np.ndarray:
    """Of each image, `float64[N]`."""
    seeds = np.arange(len(images), dtype=np.int32)
    chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]
    parts = [
        likelihood.dequantized_log_prob(log_prob, images[chunk], seeds[chunk], dequantizations)
        for chunk in chunks
    ]
    return likelihood.bits_per_dim(np.concatenate(parts), images[0].size)


def others(images: np.ndarray) -> dict[str, np.ndarray]:
    """Images with something of digits, and with nothing."""
    rng = np.random.default_rng(0)
    pixels = images.reshape(len(images), -1)
    return {
        "inverted digits": 255 - images,
        "shuffled pixels": rng.permuted(pixels, axis=1).reshape(images.shape),
        "uniform noise": rng.integers(0, 256, images.shape).astype(np.uint8),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each kind of image."""
    parser = argparse.ArgumentParser(description="Bits/dim of a flow on test images and on others.")
    parser.add_argument(
        "run", type=Path, help="of a flow: run directory, .keras file or published version"
    )
    parser.add_argument("--dequantizations", type=int, default=8, help="draws for each image")
    parser.add_argument("--n", type=int, default=10_000, help="test images")
    parser.add_argument("--dataset", default="mnist", help="its name")
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
    for k in sorted({1, args.dequantizations}):
        begun = time.perf_counter()
        bits = bits_per_dim(log_prob, images, k)
        error = bits.std(ddof=1) / np.sqrt(len(bits))
        drawn = f"{k} dequantization{'s' if k > 1 else ''} each"
        seconds = time.perf_counter() - begun
        print(
            f"{len(images)} test images, {drawn}: {bits.mean():.4f} ± {error:.4f} bits/dim ({seconds:.0f} s)"
        )
    for name, made in others(images[:OTHERS]).items():
        print(f"{len(made)} {name}: {bits_per_dim(log_prob, made, 1).mean():.2f} bits/dim")


if __name__ == "__main__":
    main()
