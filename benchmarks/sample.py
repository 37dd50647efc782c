"""Compares the sampling rates of the shipped versions with PyTorch and with a matrix product.

In one run, the script alternates between the signature `decode` of each version and the same
network in eager PyTorch and under `torch.compile`, so that other work on the machine slows all of
them. All get the same latents and return NumPy arrays. Before they are timed, their images must
agree: to 1e-4 where pixels are real numbers, and to one level in 99.9 % of the pixels where they
are bytes.

The least time is what the matrix products and convolutions of a decode would take at the rate of a
large matrix product. For the flow, these are the convolutions of the conditioners and the 1 × 1
convolutions, but not the elementwise work of the bisection. Everything runs on the CPU, on all
cores.

Rates do not include compilation, whose time is printed in a column of its own. The first
compilation of a run takes longer, because it also compiles headers that the others share.
"""

import argparse
import datetime
import importlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser
from train_epoch import PRODUCTS_A_ROUND, busy_seconds, product_flops, timed
from train_report import MAX_OTHERS, cpu_model, usable_cores

from tfgen import __version__
from tfgen.errors import UsageError, WorkError
from tfgen.publishing.versions import SHIPPED, find, shipped_folder
from tfgen.system.quiet import import_quietly

if TYPE_CHECKING:
    from tfgen.publishing.opening import Sampler

PROG = "sample"
NAMES = ("vae", "gan", "flow")
BATCHES = (1, 64, 1024)
# A measurement repeats its call until so many seconds have passed.
LEAST_SECONDS = 0.5
# Largest difference of pixels that are real numbers.
TOLERANCE = 1e-4
# Of bytes, the least share of equal ones; the others may be one level off. Rounding decides which
# side of a whole number a value falls on.
LEAST_EQUAL = 0.999
LEVEL = 1 / 255
SIDES = ("export", "eager", "compiled")

# Latents `float32[B, D]` to images `float32[B, H, W, C]`.
Decode = Callable[[np.ndarray], np.ndarray]


@dataclass
class Cell:
    """What was measured of one export at one batch size.

    Attributes:
        name: of the export.
        batch: images a call.
        flops: of the products and convolutions of one image, a multiply-add being two.
        first_seconds: of each side's first call, in which it is traced or compiled.
        agreement: of each of PyTorch's sides: `largest` difference of pixels from the export's, and
            share of `equal` ones.
        rates: images a second of each side, a number a round.
        others: share of the cores that other processes took, 0 … 1, in each measurement, in their
            order.
    """

    name: str
    batch: int
    flops: int
    first_seconds: dict[str, float] = field(default_factory=dict)
    agreement: dict[str, dict[str, float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    others: list[float] = field(default_factory=list)

    def summary(self, product: float) -> dict[str, Any]:
        """Medians, what they are relative to the export, and their share of the product's rate.

        Args:
            product: rate of the matrix product, FLOP/s.
        """
        median = {side: statistics.median(rates) for side, rates in self.rates.items()}
        floor = product / self.flops
        return {
            "images_per_second": median,
            "export_to": {side: median["export"] / median[side] for side in SIDES[1:]},
            "floor_images_per_second": floor,
            "percent_of_floor": {side: 100 * rate / floor for side, rate in median.items()},
            # A call of a compiled function takes little beside its compilation.
            "compile_seconds": self.first_seconds["compiled"] - self.batch / median["compiled"],
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark and returns its exit status, which does not depend on how fast anything
    was."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    arguments = parse(argv)
    tf, run = import_quietly("tfgen.training.run")
    # The peers compute on the CPU.
    tf.config.set_visible_devices([], "GPU")
    peers = import_peers()
    smallest = smallest_call(tf)
    print(f"the smallest tf.function: {1e6 * smallest:.0f} µs a call", flush=True)
    cells: list[Cell] = []
    products: list[float] = []
    # Compiled anew in each run, lest a cache make compilation look quick.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for name in arguments.names:
            sampler, peer = open_pair(name, peers)
            flops = count_flops(peer, sampler.latent_dim)
            for batch in arguments.batches:
                cells.append(measure(Cell(name, batch, flops), sampler, peer, arguments.rounds))
                products += product_flops(PRODUCTS_A_ROUND)
    report = describe(cells, products, arguments.rounds, run.package_versions())
    report["smallest_call_seconds"] = smallest
    print_report(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments.

    Raises:
        UsageError: one is wrong.
    """
    parser = Parser(PROG, __doc__)
    parser.add_argument(
        "--names",
        nargs="+",
        choices=NAMES,
        default=NAMES,
        metavar="NAME",
        help="exports (default: all)",
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
        "--rounds", type=int, default=5, metavar="K", help="measurements of each side (default: 5)"
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


# --- both sides
# ------------------------------------------------------------------------------------------


def open_pair(name: str, peers: ModuleType) -> tuple["Sampler", Any]:
    """The shipped export of that name and its peer, which has the export's weights."""
    opening = importlib.import_module("tfgen.publishing.opening")
    version = find(name, shipped_folder(), SHIPPED)
    model = opening.exported_model(version.path)
    # An export has the EMA of the weights, if there is one.
    with model.averaged():
        return opening.Sampler(version), peers.PEERS[name](model).eval()


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


def measure(cell: Cell, sampler: "Sampler", peer: Any, rounds: int) -> Cell:
    """Fills a cell: first calls, whether their images agree, and so many rounds of measurements in
    turns.

    Raises:
        WorkError: they do not agree.
    """
    latents = sampler.call("latents", seed=np.arange(cell.batch, dtype=np.int32))["latents"]
    sides = decoders(sampler, peer)
    images = {}
    for side, decode in sides.items():
        cell.first_seconds[side], images[side] = timed(lambda decode=decode: decode(latents))
    for side in SIDES[1:]:
        cell.agreement[side] = agreement(cell.name, side, images["export"], images[side])
    for number in range(1, rounds + 1):
        for side, decode in sides.items():
            rate, others = images_per_second(decode, latents)
            cell.rates[side].append(rate)
            cell.others.append(others)
            told = f"{cell.name:<5} batch {cell.batch:<5} round {number:<3} {side:<9}"
            print(f"{told}{rate:12.1f} images/s, others {others:6.1%}", flush=True)
    return cell


def agreement(name: str, side: str, ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """The largest difference of two arrays of images, and the share of pixels that are equal.

    Raises:
        WorkError: they are not the same images.
    """
    difference = np.abs(ours - theirs)
    largest, equal = float(difference.max()), float((difference < LEVEL / 2).mean())
    bytes_agree = equal >= LEAST_EQUAL and largest < 1.5 * LEVEL
    agree = bytes_agree if name == "flow" else largest <= TOLERANCE
    if not agree:
        raise WorkError(
            f"{side} PyTorch gives other images than {name}: pixels differ by up to {largest:.6f}, "
            f"{equal:.3%} are within half a level"
        )
    return {"largest": largest, "equal": equal}


def images_per_second(decode: Decode, latents: np.ndarray) -> tuple[float, float]:
    """Rate of a side over `LEAST_SECONDS` or one call, and the share of the cores that others took
    in it."""
    decode(latents)  # wakes its threads, and lets those of the side before fall asleep
    calls, before, start = 0, busy_seconds(), time.perf_counter()
    seconds = 0.0
    while seconds < LEAST_SECONDS:
        decode(latents)
        calls += 1
        seconds = time.perf_counter() - start
    others = (busy_seconds() - before) / (seconds * (os.cpu_count() or 1))
    return calls * len(latents) / seconds, others


# --- what is told
# ----------------------------------------------------------------------------------------


def describe(
    cells: list[Cell], products: list[float], rounds: int, versions: dict[str, str]
) -> dict[str, Any]:
    """All numbers of the run, with what they depend on, as JSON takes them."""
    torch = importlib.import_module("torch")
    product = statistics.median(products)
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "machine": {
            "cpu": cpu_model(),
            "cores": usable_cores(),
            "torch_threads": torch.get_num_threads(),
        },
        "versions": {"tfgen": __version__, **versions, "torch": torch.__version__},
        "run": {"rounds": rounds, "least_seconds": LEAST_SECONDS, "version": SHIPPED},
        "product_flops_per_second": products,
        "cells": [{**asdict(cell), "summary": cell.summary(product)} for cell in cells],
        "void": max(share for cell in cells for share in cell.others) > MAX_OTHERS,
    }


def print_report(report: dict[str, Any]) -> None:
    """The medians as a table."""
    machine, versions = report["machine"], report["versions"]
    product = statistics.median(report["product_flops_per_second"])
    print(
        f"\n{machine['cpu']}, {machine['cores']} cores; product {product / 1e9:.1f} GFLOP/s\n"
        f"tensorflow {versions['tensorflow']}, keras {versions['keras']}, "
        f"torch {versions['torch']}\n"
        f"images/s, median of {report['run']['rounds']}; a ratio above 1: the export is faster\n"
    )
    print(
        "| export | batch | export | eager | compiled | export / eager | export / compiled "
        "| % of the product's rate: export | eager | compiled | MFLOP an image | compilation [s] |"
    )
    print("|" + "---|" * 12)
    for cell in report["cells"]:
        summary = cell["summary"]
        numbers = [
            *(f"{summary['images_per_second'][side]:.1f}" for side in SIDES),
            *(f"{summary['export_to'][side]:.2f}" for side in SIDES[1:]),
            *(f"{summary['percent_of_floor'][side]:.1f}" for side in SIDES),
            f"{cell['flops'] / 1e6:.2f}",
            f"{summary['compile_seconds']:.1f}",
        ]
        print(f"| {cell['name']} | {cell['batch']} | {' | '.join(numbers)} |")
    print()
    for cell in report["cells"]:
        told = [
            f"{side} {agreed['equal']:.4%} of the pixels within half a level, "
            f"largest {agreed['largest']:.1e}"
            for side, agreed in cell["agreement"].items()
        ]
        print(f"{cell['name']} batch {cell['batch']}: {'; '.join(told)}")
    if report["void"]:
        worst = max(share for cell in report["cells"] for share in cell["others"])
        print(
            f"\nvoid: other processes took up to {worst:.0%} of the cores; "
            "run it again on a quiet machine"
        )


if __name__ == "__main__":
    raise SystemExit(main())
