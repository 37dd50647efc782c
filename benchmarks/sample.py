"""Compares the sampling rates of published versions with PyTorch.

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
has all cores for each operation. Everything runs on the CPU, on all cores.

Rates do not include compilation, whose time in the first round is printed in a column of its own.
The first compilation of a run takes longer, because it also compiles headers that the others share.
PyTorch is in the extra [bench].
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
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
import twins

from tfgen.errors import TfgenError, WorkError
from tfgen.publishing.versions import SHIPPED, Version, find, names, read_manifest, shipped_folder
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system.quiet import import_quietly

BATCHES = (1, 64, 1024)
# What is compared: a published version, its peer in eager PyTorch, and under `torch.compile`.
SIDES = ("export", "eager", "compiled")
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
# What was measured of a version at a batch size, by name, as `json.dump` takes it.
Cell = dict[str, Any]


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--names", nargs="+", help="versions (default: all that generate images)")
    folder_help = "folder whose newest versions are compared (default: the shipped versions)"
    add("--saved-models", type=Path, help=folder_help)
    batches_help = f"images a call (default: {' '.join(map(str, BATCHES))})"
    add("--batches", nargs="+", type=int, default=BATCHES, help=batches_help)
    rounds_help = "rounds, each in a process of its own (default: %(default)s)"
    add("--rounds", type=int, default=5, help=rounds_help)
    add("--json", type=Path, help="JSON file for all numbers")
    return parser.parse_args()


def main() -> None:
    """Measures all rounds and reports."""
    arguments = parse()
    versions = find_versions(arguments.names, arguments.saved_models)
    # Compiled anew in each run, lest a cache make compilation look quick.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        rounds = []
        for number in range(1, arguments.rounds + 1):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                measured = pool.submit(measure_round, versions, arguments.batches, number)
                rounds.append(measured.result())
    report = {
        **measuring.environment(),
        "run": {"rounds": arguments.rounds, "turns": TURNS, "least_seconds": LEAST_SECONDS},
        "cells": merge(rounds),
    }
    for cell in report["cells"]:
        cell["summary"] = summary(cell)
    print_report(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def find_versions(wanted: Sequence[str] | None, saved_models: Path | None) -> list[Version]:
    """The versions to compare.

    Args:
        wanted: names of the published models; None takes all that generate images.
        saved_models: folder whose newest versions are compared; None takes the shipped versions.

    Raises:
        UsageError: there is no such name.
    """
    folder, number = (shipped_folder(), SHIPPED) if saved_models is None else (saved_models, None)
    versions = [find(name, folder, number) for name in wanted or names(folder)]
    return [v for v in versions if wanted or "decode" in read_manifest(v.path)["signatures"]]


def measure_round(versions: Sequence[Version], batches: Sequence[int], number: int) -> list[Cell]:
    """Measures all versions at all batch sizes, in a process that does nothing else.

    Raises:
        WorkError: PyTorch's images differ from those of a version.
    """
    tf, cores, _ = import_quietly("tfgen.nn.cores", "tfgen.training.run")
    # PyTorch computes on the CPU.
    tf.config.set_visible_devices([], "GPU")
    # What users of tfgen-sample get.
    cores.share_cores()
    torch.set_num_threads(measuring.usable_cores())
    opening = importlib.import_module("tfgen.publishing.opening")
    cells = []
    for version in versions:
        sampler = opening.Sampler(version)
        family = read_manifest(version.path)["run"]["family"]
        model = opening.exported_model(version.path)
        twin = twins.make(RunConfig(family, model.config, TrainingOptions())).eval()
        # An export has the EMA of the weights, if there is one.
        with model.averaged():
            twin.load(model)
        for batch in batches:
            cell = {"name": version.name, "family": family, "batch": batch}
            cells.append({**cell, **measure(cell, sampler, twin, number)})
    return cells


def merge(rounds: Sequence[list[Cell]]) -> list[Cell]:
    """The cells of the first round, with the measurements of all rounds."""
    cells, *others = rounds
    for later in others:
        for cell, more in zip(cells, later, strict=True):
            for side in SIDES:
                cell["rates"][side] += more["rates"][side]
            cell["others"] += more["others"]
    return cells


def measure(cell: Cell, sampler: Any, twin: twins.Twin, number: int) -> Cell:
    """What the round of this number adds to a cell: first calls, agreement and rates of all sides.

    Raises:
        WorkError: the images of the sides differ.
    """
    seeds = np.arange(cell["batch"], dtype=np.int32)
    latents = sampler.call("latents", seed=seeds)["latents"]
    # What was compiled for other batch sizes would be looked at in each call.
    torch.compiler.reset()
    sides: dict[str, Decode] = {
        "export": lambda latents: sampler.call("decode", latents=latents)["images"],
        "eager": on_arrays(twin.decode),
        "compiled": on_arrays(torch.compile(twin.decode, dynamic=False)),
    }
    first, images, rates, others = {}, {}, {side: [] for side in SIDES}, []
    for side, decode in sides.items():
        first[side], images[side], _ = measuring.timed(lambda decode=decode: decode(latents))
    agreed = {side: agreement(cell, images["export"], images[side]) for side in SIDES[1:]}
    for _ in range(TURNS):
        for side, decode in sides.items():
            # A thread prepares an operation when it first runs it, and some only after many calls.
            repeat(decode, latents)
            seconds, calls, share = measuring.timed(lambda decode=decode: repeat(decode, latents))
            rates[side].append(calls * len(latents) / seconds)
            others.append(share)
            label = f"{cell['name']:<5} batch {cell['batch']:<5} round {number:<3} {side:<9}"
            print(f"{label}{rates[side][-1]:12.1f} images/s, others {share:6.1%}", flush=True)
    return {"first_seconds": first, "agreement": agreed, "rates": rates, "others": others}


def on_arrays(decode: Callable[[torch.Tensor], torch.Tensor]) -> Decode:
    """A function of tensors as a function of arrays."""

    def decode_array(latents: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            images: np.ndarray = decode(torch.from_numpy(latents)).numpy()
            return images

    return decode_array


def agreement(cell: Cell, ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """The largest difference of two arrays of images, and the share of pixels that are equal.

    Raises:
        WorkError: they are not the same images.
    """
    difference = np.abs(ours - theirs)
    largest, equal = float(difference.max()), float((difference < LEVEL / 2).mean())
    bytes_agree = equal >= LEAST_EQUAL and largest < 1.5 * LEVEL
    if not (bytes_agree if cell["family"] == "flow" else largest <= TOLERANCE):
        raise WorkError(
            f"PyTorch gives other images than {cell['name']}: pixels differ by up to "
            f"{largest:.6f}, {equal:.3%} are within half a level"
        )
    return {"largest": largest, "equal": equal}


def repeat(decode: Decode, latents: np.ndarray) -> int:
    """Calls a side until `LEAST_SECONDS` have passed; returns the number of calls."""
    calls, end = 0, time.perf_counter() + LEAST_SECONDS
    while calls == 0 or time.perf_counter() < end:
        decode(latents)
        calls += 1
    return calls


# --- the report -----------------------------------------------------------------------------------


def summary(cell: Cell) -> dict[str, Any]:
    """Medians, what they are relative to the export, and the time of compilation."""
    median = {side: statistics.median(rates) for side, rates in cell["rates"].items()}
    return {
        "images_per_second": median,
        "export_to": {side: median["export"] / median[side] for side in SIDES[1:]},
        # A call of a compiled function takes little beside its compilation.
        "compile_seconds": cell["first_seconds"]["compiled"] - cell["batch"] / median["compiled"],
    }


def print_report(report: dict[str, Any]) -> None:
    """The medians as a table."""
    measuring.print_environment(report)
    rounds = report["run"]["rounds"]
    print(f"images/s, medians of {rounds} rounds; a ratio above 1: the export is faster\n")
    head = "export | batch | export | eager | compiled | export / eager | export / compiled"
    print(f"| {head} | compilation [s] |\n|{'---|' * 8}")
    for cell in report["cells"]:
        medians = cell["summary"]
        numbers = [
            *(f"{medians['images_per_second'][side]:.1f}" for side in SIDES),
            *(f"{medians['export_to'][side]:.2f}" for side in SIDES[1:]),
            f"{medians['compile_seconds']:.1f}",
        ]
        print(f"| {cell['name']} | {cell['batch']} | {' | '.join(numbers)} |")
    measuring.print_void(max(share for cell in report["cells"] for share in cell["others"]))


if __name__ == "__main__":
    try:
        main()
    except TfgenError as error:
        raise SystemExit(f"sample: {error}") from None
