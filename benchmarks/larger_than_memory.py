"""Compares training from the cache of decoded pixels with training from memory.

A data set is prepared in a temporary folder: smooth random images, a few thousand of them again and
again. tfgen-train trains a model on it twice, each time in a process of its own: from the cache and
from memory. A third training, on the few thousand images alone, shows what TensorFlow and the model
themselves take. Peak memory is that of a whole process, decoding included. The seconds of an epoch
are the median of all epochs but the first, in which TensorFlow compiles the training step.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser

from tfgen.data.memory import GIGABYTE
from tfgen.data.writing import Batch, png_encoder, write_batches
from tfgen.errors import UsageError, WorkError

PROG = "larger_than_memory"
NAME = "smooth"
# Images of the data set that shows what TensorFlow itself takes, and distinct images of either.
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


@dataclass(frozen=True)
class Training:
    """What a training took, and what came out.

    Attributes:
        rest: time outside of the epochs: starting, decoding, validating, writing [s].
        processor: processor time of the whole process [s].
        epochs: time of each epoch, as the run logs it [s].
        peak: peak memory of the process [bytes].
        weights: the arrays of the last checkpoint.
    """

    rest: float
    processor: float
    epochs: list[float]
    peak: int
    weights: dict[str, np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; its exit status does not depend on the times."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    arguments = parse(argv)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix=f"{PROG}-") as folder:
        report = measure(arguments, Path(folder))
    print_report(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments.

    Raises:
        UsageError: an argument is too small.
    """
    parser = Parser(PROG, __doc__)
    for name, default, text in (
        ("images", 250_000, "number of images"),
        ("side", 64, "height and width of an image in pixels"),
        ("hidden", 128, "width of the hidden layer of the VAE that is trained"),
        ("batch-size", 128, "images per step"),
        ("epochs", 3, "number of epochs"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{text} (default: {default})"
        )
    parser.add_argument(
        "--folder", type=Path, metavar="PATH", help="folder for the temporary files, about 6 GB"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file for all numbers")
    arguments = parser.parse(argv)
    for name, least in (("images", FEW), ("side", COARSE_SIDE), ("hidden", 1), ("epochs", 2)):
        value = getattr(arguments, name)
        if value < least:
            raise UsageError(f"--{name} {value} is too small; the least is {least}")
    return arguments


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Prepares the data, trains three times, and compares."""
    data, few = folder / "data", folder / "few"
    pixels = arguments.images * arguments.side**2 * 3
    print(f"writing {arguments.images} images, {pixels / GIGABYTE:.3g} GB of pixels", flush=True)
    write(data, arguments.images, arguments.side)
    write(few, FEW, arguments.side)
    alone = train(arguments, few, folder / "runs" / "few", pixels)
    print(f"few images   {describe(alone)}", flush=True)
    cached = train(arguments, data, folder / "runs" / "cache", 0)
    print(f"from cache   {describe(cached)}", flush=True)
    in_memory = train(arguments, data, folder / "runs" / "memory", pixels)
    print(f"from memory  {describe(in_memory)}", flush=True)
    seconds = {
        "cache": statistics.median(cached.epochs[1:]),
        "memory": statistics.median(in_memory.epochs[1:]),
    }
    is_equal = cached.weights.keys() == in_memory.weights.keys() and all(
        np.array_equal(array, in_memory.weights[name]) for name, array in cached.weights.items()
    )
    few_pixels = FEW * arguments.side**2 * 3
    return {
        "pixels": pixels,
        "tensorflow_peak": alone.peak - few_pixels,
        "peak": {"cache": cached.peak, "memory": in_memory.peak},
        "epochs": {"cache": cached.epochs, "memory": in_memory.epochs},
        "seconds": seconds,
        "processor": {"cache": cached.processor, "memory": in_memory.processor},
        "ratio": seconds["cache"] / seconds["memory"],
        "is_equal": is_equal,
    }


def print_report(report: dict) -> None:
    """Prints memory beside TensorFlow's own, seconds an epoch, and whether the weights agree."""
    own = report["tensorflow_peak"]
    print(f"pixels                      {report['pixels'] / GIGABYTE:8.2f} GB")
    print(f"TensorFlow and the model    {own / GIGABYTE:8.2f} GB")
    for name in ("memory", "cache"):
        peak, seconds = (report["peak"][name] - own) / GIGABYTE, report["seconds"][name]
        print(f"from {name:<8}beside that   {peak:8.2f} GB  {seconds:8.2f} s an epoch")
    print(f"epoch, cache / memory       {report['ratio']:8.3f}")
    print(f"weights are bit-equal       {'yes' if report['is_equal'] else 'NO':>8}")


# --- the data set -----------------------------------------------------------------------


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


# --- a training -------------------------------------------------------------------------


def train(arguments: argparse.Namespace, data: Path, run: Path, limit: int) -> Training:
    """Trains in a process that holds at most `limit` bytes of pixels in memory.

    Raises:
        WorkError: the training failed.
    """
    command = [sys.executable, "-c", TRAIN, str(limit), "vae", "--preset", "mlp"]
    command += ["--dataset", NAME, "--data-dir", str(data), "--run-dir", str(run), "--no-publish"]
    command += ["--hidden", str(arguments.hidden), "--epochs", str(arguments.epochs)]
    command += ["--batch-size", str(arguments.batch_size)]
    environment = {**os.environ, "TFGEN_CACHE": str(run.parent.parent / "cache")}
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise WorkError(f"the training failed: {text[-1000:]}")
    total = time.perf_counter() - start
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    epochs = [row["seconds"] for row in rows]
    # Linux counts in KiB, macOS in bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 2**10)
    rest, processor = total - math.fsum(epochs), usage.ru_utime + usage.ru_stime
    return Training(rest, processor, epochs, peak, last_weights(run))


def last_weights(run: Path) -> dict[str, np.ndarray]:
    """All arrays of the last checkpoint: weights, moments of the optimizer, the step."""
    folder = max((run / "checkpoints").glob("step-*"))
    arrays = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            arrays |= {f"{path.name}/{name}": file[name] for name in file.files}
    return arrays


def describe(training: Training) -> str:
    """One line about a training."""
    seconds = ", ".join(f"{seconds:.1f}" for seconds in training.epochs)
    return (
        f"peak {training.peak / GIGABYTE:.2f} GB, epochs of {seconds} s, {training.rest:.0f} s "
        f"besides, {training.processor:.0f} s of processor time"
    )


if __name__ == "__main__":
    sys.exit(main())
