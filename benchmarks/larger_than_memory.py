"""Compares training from the cache of decoded pixels with training from memory.

    python benchmarks/larger_than_memory.py --hidden 32 --batch-size 256 --epochs 3

A data set is prepared in a temporary folder: smooth random images, a few thousand of them again and
again. tfgen-train trains a model on it twice, each time in a process of its own: from the cache and
from memory. Peak memory is that of a whole process, decoding included. The seconds of an epoch are
the median of all epochs but the first, in which TensorFlow compiles the training step.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfgen.data.cache import GIGABYTE
from tfgen.data.writing import Batch, png_encoder, write_batches

NAME = "smooth"
# Distinct images of the data set.
FEW = 2000
# Rows and columns of the small random image that a smooth one is enlarged from.
COARSE_SIDE = 8
# `tfgen-train`, with another limit on the pixels that are held in memory.
TRAIN = """
import sys
from tfgen.cli.train import main
from tfgen.data import cache
cache.MAX_IN_MEMORY = int(sys.argv[1])
raise SystemExit(main(sys.argv[2:]))
"""


def main() -> None:
    """Prints memory, seconds per epoch, and whether the weights agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("images", 250_000),
        ("side", 64),
        ("hidden", 128),
        ("batch-size", 128),
        ("epochs", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    options = parser.parse_args()
    pixels = options.images * options.side**2 * 3
    weights = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder / "data", options.images, options.side)
        print(f"{options.images} images, {pixels / GIGABYTE:.3g} GB of pixels", flush=True)
        for source, limit in (("cache", 0), ("memory", pixels)):
            run = folder / source
            peak = train(options, folder, run, limit)
            rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            seconds = statistics.median(row["seconds"] for row in rows[1:])
            print(f"from {source}: peak {peak / GIGABYTE:.2f} GB, {seconds:.2f} s an epoch")
            weights.append(last_weights(run))
    is_equal = all(np.array_equal(array, weights[1][name]) for name, array in weights[0].items())
    print(f"weights are bit-equal: {'yes' if is_equal else 'NO'}")


def write(root: Path, count: int, side: int) -> None:
    """Prepares a data set of `count` images."""
    rng = np.random.default_rng(0)
    encoded = png_encoder()(smooth_images(rng, FEW, side))

    def batches() -> Iterator[Batch]:
        for start in range(0, count, FEW):
            order = rng.permutation(FEW)[: count - start]
            yield [encoded[index] for index in order], None

    write_batches(NAME, {"train": batches()}, root, image_shape=(side, side, 3))


def smooth_images(rng: np.random.Generator, n: int, side: int) -> np.ndarray:
    """Random colours on a coarse grid, interpolated linearly, `uint8[n, side, side, 3]`."""
    coarse = rng.integers(0, 256, (n, COARSE_SIDE, COARSE_SIDE, 3)).astype(np.float32)
    position = np.linspace(0, COARSE_SIDE - 1, side)
    lower = np.minimum(position.astype(int), COARSE_SIDE - 2)
    weights = np.zeros((side, COARSE_SIDE), np.float32)
    weights[np.arange(side), lower] = 1 - (position - lower)
    weights[np.arange(side), lower + 1] = position - lower
    rows = np.tensordot(coarse, weights, (1, 1))  # [n, column, channel, row]
    pixels = np.tensordot(rows, weights, (1, 1))  # [n, channel, row, column]
    return np.round(pixels).astype(np.uint8).transpose(0, 2, 3, 1)


def train(options: argparse.Namespace, folder: Path, run: Path, limit: int) -> int:
    """Trains in a process that holds at most `limit` bytes of pixels; its peak memory [bytes]."""
    command = [sys.executable, "-c", TRAIN, str(limit), "vae", "--preset", "mlp", "--no-publish"]
    command += ["--dataset", NAME, "--data-dir", str(folder / "data"), "--run-dir", str(run)]
    command += ["--hidden", str(options.hidden), "--epochs", str(options.epochs)]
    command += ["--batch-size", str(options.batch_size)]
    process = subprocess.Popen(command, env={**os.environ, "TFGEN_CACHE": str(folder / "decoded")})
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("the training failed")
    # Linux counts in KiB, macOS in bytes.
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 2**10)


def last_weights(run: Path) -> dict[str, np.ndarray]:
    """All arrays of the last checkpoint: weights, moments of the optimizer, the step."""
    arrays = {}
    for path in max((run / "checkpoints").glob("step-*")).glob("*.npz"):
        with np.load(path) as file:
            arrays |= {f"{path.name}/{name}": file[name] for name in file.files}
    return arrays


if __name__ == "__main__":
    main()
