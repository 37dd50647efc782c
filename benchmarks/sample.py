"""Compares the sampling rates of published versions with PyTorch and with a matrix product.

By default, these are the shipped samplers. `--saved-models` compares the newest versions of another
folder, such as those of hierarchical VAEs that `tfgen-train` has published.

In one run, the script alternates between the signature `decode` of each version and the same
network in eager PyTorch and under `torch.compile`, so that other work on the machine slows all of
them. All get the same latents and return NumPy arrays. Before they are timed, their images must
agree: to 1e-4 where pixels are real numbers, and to one level in 99.9 % of the pixels where they
are bytes.

Each round is a process of its own. Rates agree to a few percent within a process, but may differ by
a third between processes.

As in `tfgen-sample`, parts of a batch are decoded side by side, each by half of the cores. PyTorch
has all cores for each operation.

The least time is what the matrix products and convolutions of a decode would take at the rate of a
large matrix product. For the flow, these are the convolutions of the conditioners and the 1 × 1
convolutions, but not the elementwise work of inverting the mixtures. Everything runs on the CPU, on
all cores.

Rates do not include compilation, whose time in the first round is printed in a column of its own.
The first compilation of a run takes longer, because it also compiles headers that the others share.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from sample_report import SIDES, describe, print_report
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser
from train_epoch import PRODUCTS_A_ROUND, busy_seconds, product_flops, timed
from train_report import usable_cores

from tfgen.errors import UsageError, WorkError
from tfgen.publishing.versions import SHIPPED, Version, find, read_manifest, shipped_folder
from tfgen.publishing.versions import names as published_names
from tfgen.system.quiet import import_quietly

if TYPE_CHECKING:
    from tfgen.publishing.opening import Sampler

PROG = "sample"
BATCHES = (1, 64, 1024)
# Shortest measurement in seconds; an equally long warm-up precedes it.
LEAST_SECONDS = 0.5
# Measurements of each side per round.
TURNS = 2
# Largest difference of pixels that are real numbers.
TOLERANCE = 1e-4
# Of bytes, the least share of equal ones; the others may be one level off. Rounding decides which
# side of a whole number a value falls on.
LEAST_EQUAL = 0.999
LEVEL = 1 / 255

# Latents `float32[B, D]` to images `float32[B, H, W, C]`.
Decode = Callable[[np.ndarray], np.ndarray]


@dataclass
class Cell:
    """What was measured of one export at one batch size.

    Attributes:
        name: of the export.
        family: of its model.
        batch: images a call.
        flops: of the products and convolutions of one image, a multiply-add being two.
        first_seconds: of each side's first call, in which it is traced or compiled, in the first
            round.
        agreement: of each of PyTorch's sides: `largest` difference of pixels from the export's, and
            share of `equal` ones, in the first round.
        rates: images a second of each side, `TURNS` numbers a round.
        others: share of the cores that other processes took, 0 … 1, in each measurement, in their
            order.
    """

    name: str
    family: str
    batch: int
    flops: int
    first_seconds: dict[str, float] = field(default_factory=dict)
    agreement: dict[str, dict[str, float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    others: list[float] = field(default_factory=list)

    def summary(self, product: float, smallest: float) -> dict[str, Any]:
        """Medians, what they are relative to the export, and their share of the product's rate.

        Args:
            product: rate of the matrix product, FLOP/s.
            smallest: seconds of the smallest call of a `tf.function`.
        """
        median = {side: statistics.median(rates) for side, rates in self.rates.items()}
        floor = product / self.flops
        calls = {side: self.batch / rate for side, rate in median.items()}
        return {
            "images_per_second": median,
            "export_to": {side: median["export"] / median[side] for side in SIDES[1:]},
            "floor_images_per_second": floor,
            "percent_of_floor": {side: 100 * rate / floor for side, rate in median.items()},
            # A call of a compiled function takes little beside its compilation.
            "compile_seconds": self.first_seconds["compiled"] - calls["compiled"],
            "call_seconds": calls,
            "call_ratio": calls["export"] / (smallest + min(calls["eager"], calls["compiled"])),
        }


@dataclass
class Round:
    """What one process measured.

    Attributes:
        smallest: seconds of the smallest call of a `tf.function`.
        cells: one for each version and batch size.
        products: rates of the matrix product [FLOP/s].
    """

    smallest: float
    cells: list[Cell] = field(default_factory=list)
    products: list[float] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark and returns its exit status, which does not depend on how fast anything
    was."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    arguments = parse(argv)
    versions = find_versions(arguments.names, arguments.saved_models)
    # Compiled anew in each run, lest a cache make compilation look quick.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        rounds = []
        for number in range(1, arguments.rounds + 1):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                measured = pool.submit(measure_round, versions, arguments.batches, number)
                rounds.append(measured.result())
    report = describe(
        merge(rounds),
        [product for measured in rounds for product in measured.products],
        statistics.median(measured.smallest for measured in rounds),
        {"rounds": arguments.rounds, "turns": TURNS, "least_seconds": LEAST_SECONDS},
    )
    print_report(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def measure_round(versions: Sequence[Version], batches: Sequence[int], number: int) -> Round:
    """Measures all versions at all batch sizes, in a process that does nothing else.

    Raises:
        WorkError: PyTorch is not installed, or its images differ from the export's.
    """
    tf, cores, _ = import_quietly("tfgen.nn.cores", "tfgen.training.run")
    # The peers compute on the CPU.
    tf.config.set_visible_devices([], "GPU")
    # What users of tfgen-sample get.
    cores.share_cores()
    peers = import_peers()
    measured = Round(smallest_call(tf))
    for version in versions:
        family, sampler, peer = open_pair(version, peers)
        flops = count_flops(peer, sampler.latent_dim)
        for batch in batches:
            cell = Cell(version.name, family, batch, flops)
            measured.cells.append(measure(cell, sampler, peer, number))
        measured.products += product_flops(PRODUCTS_A_ROUND)
    return measured


def merge(rounds: Sequence[Round]) -> list[Cell]:
    """The cells of the first round, with the measurements of all rounds."""
    cells = rounds[0].cells
    for later in rounds[1:]:
        for cell, more in zip(cells, later.cells, strict=True):
            for side in SIDES:
                cell.rates[side] += more.rates[side]
            cell.others += more.others
    return cells


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments.

    Raises:
        UsageError: one is wrong.
    """
    parser = Parser(PROG, __doc__)
    parser.add_argument(
        "--names",
        nargs="+",
        metavar="NAME",
        help="exports (default: all that have a peer)",
    )
    parser.add_argument(
        "--saved-models",
        type=Path,
        metavar="PATH",
        help="folder of published models, whose newest versions are compared (default: the shipped "
        "versions)",
    )
    parser.add_argument(
        "--batches",
        nargs="+",
        type=int,
        default=BATCHES,
        metavar="N",
        help="images a call (default: 1 64 1024)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        metavar="K",
        help="rounds, each in a process of its own (default: 5)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all numbers there (default: nowhere)"
    )
    arguments = parser.parse(argv)
    if arguments.rounds < 1:
        raise UsageError(f"--rounds {arguments.rounds} is too small; the least is 1")
    if min(arguments.batches) < 1:
        raise UsageError(f"--batches {min(arguments.batches)} is too small; the least is 1")
    return arguments


def import_peers() -> ModuleType:
    """`sample_peers.py`, PyTorch having as many threads as there are cores.

    Raises:
        WorkError: PyTorch is not installed.
    """
    try:
        peers = importlib.import_module("sample_peers")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise WorkError(
            "the peers need PyTorch, the [bench] extra: pip install '.[bench]'"
        ) from None
    peers.torch.set_num_threads(usable_cores())
    return peers


def smallest_call(tf: Any) -> float:
    """Seconds that TensorFlow takes to call a function of one addition; no export can take less."""
    add = tf.function(lambda x: x + 1).get_concrete_function(tf.TensorSpec([None], tf.float32))
    one = tf.constant([1.0])
    return statistics.median(timed(lambda: add(one))[0] for _ in range(1000))


# --- both sides -------------------------------------------------------------------------


def find_versions(names: Sequence[str] | None, saved_models: Path | None) -> list[Version]:
    """The versions to compare.

    Args:
        names: of the published models; None takes all that generate images.
        saved_models: folder whose newest versions are compared; None takes the shipped versions.

    Raises:
        UsageError: there is no such name, or it generates no images.
    """
    folder, number = (shipped_folder(), SHIPPED) if saved_models is None else (saved_models, None)
    versions = [find(name, folder, number) for name in names or published_names(folder)]
    generating = [v for v in versions if "decode" in read_manifest(v.path)["signatures"]]
    if names and len(generating) < len(versions):
        raise UsageError(f"{' '.join(names)}: not all of these generate images; leave out the rest")
    return generating


def open_pair(version: Version, peers: ModuleType) -> tuple[str, "Sampler", Any]:
    """The family of a version, the version itself, and its peer, which has the same weights."""
    opening = importlib.import_module("tfgen.publishing.opening")
    family = read_manifest(version.path)["run"]["family"]
    model = opening.exported_model(version.path)
    # An export has the EMA of the weights, if there is one.
    with model.averaged():
        return family, opening.Sampler(version), peers.PEERS[family](model).eval()


def count_flops(peer: Any, latent_dim: int) -> int:
    """FLOP of the matrix products and convolutions of one image; borders count in full."""
    torch, counter = (
        importlib.import_module(name) for name in ("torch", "torch.utils.flop_counter")
    )
    with torch.no_grad(), counter.FlopCounterMode(display=False) as counted:
        peer(torch.zeros(1, latent_dim))
    return int(counted.get_total_flops())


def decoders(sampler: "Sampler", peer: Any) -> dict[str, Decode]:
    """Each side as a function of arrays, the compiled one for the one batch size that it will
    see."""
    torch = importlib.import_module("torch")
    # What was compiled for other batch sizes would be looked at in each call.
    torch.compiler.reset()
    compiled = torch.compile(peer, dynamic=False)

    def of(module: Any) -> Decode:
        def decode(latents: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                images: np.ndarray = module(torch.from_numpy(latents)).numpy()
                return images

        return decode

    return {
        "export": lambda latents: sampler.call("decode", latents=latents)["images"],
        "eager": of(peer),
        "compiled": of(compiled),
    }


def measure(cell: Cell, sampler: "Sampler", peer: Any, number: int) -> Cell:
    """Fills a cell in the round of this number: first calls, whether their images agree, and the
    measurements of all sides in turns.

    Raises:
        WorkError: they do not agree.
    """
    latents = sampler.call("latents", seed=np.arange(cell.batch, dtype=np.int32))["latents"]
    sides = decoders(sampler, peer)
    images = {}
    for side, decode in sides.items():
        cell.first_seconds[side], images[side] = timed(lambda decode=decode: decode(latents))
    for side in SIDES[1:]:
        cell.agreement[side] = agreement(cell, side, images["export"], images[side])
    for _ in range(TURNS):
        for side, decode in sides.items():
            rate, others = images_per_second(decode, latents)
            cell.rates[side].append(rate)
            cell.others.append(others)
            told = f"{cell.name:<5} batch {cell.batch:<5} round {number:<3} {side:<9}"
            print(f"{told}{rate:12.1f} images/s, others {others:6.1%}", flush=True)
    return cell


def agreement(cell: Cell, side: str, ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """The largest difference of two arrays of images, and the share of pixels that are equal.

    Raises:
        WorkError: they are not the same images.
    """
    difference = np.abs(ours - theirs)
    largest, equal = float(difference.max()), float((difference < LEVEL / 2).mean())
    bytes_agree = equal >= LEAST_EQUAL and largest < 1.5 * LEVEL
    agree = bytes_agree if cell.family == "flow" else largest <= TOLERANCE
    if not agree:
        raise WorkError(
            f"{side} PyTorch gives other images than {cell.name}: pixels differ by up to "
            f"{largest:.6f}, {equal:.3%} are within half a level"
        )
    return {"largest": largest, "equal": equal}


def images_per_second(decode: Decode, latents: np.ndarray) -> tuple[float, float]:
    """Rate of a side over `LEAST_SECONDS` or one call, and the share of the cores that others took
    in it."""
    # A thread prepares an operation when it first runs it, and some do so only after many calls.
    repeat(decode, latents)
    before = busy_seconds()
    calls, seconds = repeat(decode, latents)
    others = (busy_seconds() - before) / (seconds * (os.cpu_count() or 1))
    return calls * len(latents) / seconds, others


def repeat(decode: Decode, latents: np.ndarray) -> tuple[int, float]:
    """Calls a side until `LEAST_SECONDS` have passed; returns the number of calls and seconds."""
    calls, seconds, start = 0, 0.0, time.perf_counter()
    while seconds < LEAST_SECONDS:
        decode(latents)
        calls += 1
        seconds = time.perf_counter() - start
    return calls, seconds


if __name__ == "__main__":
    raise SystemExit(main())
