"""Compares a training step of the preset `images` of a family with the same step in PyTorch.

`train_epoch.py FAMILY --preset images` calls `compare`. tfgen in float32 and in bfloat16 and the
twin of twins.py in each of its ways train in turns, on random images. Before that, the twin must
have as many parameters as tfgen's model, and the same outputs with the same weights.
"""

import argparse
import dataclasses
import datetime
import importlib
import json
import os
import statistics
import tempfile
from typing import Any

import numpy as np
from larger_than_memory import smooth_images
from train_epoch import Epoch, busy_seconds, find_comparison, run_config, start_tfgen, timed
from train_report import MAX_OTHERS, cpu_model

from tfgen import __version__, registry
from tfgen.settings.training import RunConfig
from tfgen.system.quiet import import_quietly

# Steps of an epoch, twice as many as tfgen takes in a call into TensorFlow.
STEPS = 32
# Images that the twin and tfgen's model are compared on.
COMPARED = 4
# The precision of each of tfgen's rows.
PRECISIONS = {"tfgen": "float32", "tfgen bfloat16": "mixed_bfloat16"}


def compare(arguments: argparse.Namespace) -> None:
    """Measures and reports; the arguments are those of `train_epoch.parse`."""
    tf, cpu, plan = import_quietly("tfgen.nn.cpu", "tfgen.training.plan")
    tf.config.set_visible_devices([], "GPU")
    if registry.family(arguments.model).side_by_side:
        cpu.share_cores()
    config = run_config(arguments)
    shape = (arguments.side, arguments.side, 3)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, image_shape=shape))
    images = smooth_images(
        np.random.default_rng(0), STEPS * config.options.batch_size, arguments.side
    )
    with tempfile.TemporaryDirectory() as folder:
        # What an interrupted run left in PyTorch's own cache may be broken.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        report = describe(config, *measure(plan, config, images, arguments.epochs))
    print_report(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def make_trainers(
    plan: Any, config: RunConfig, images: np.ndarray, logged: str
) -> dict[str, Epoch]:
    """An epoch of each row; refuses a twin that is not the same as tfgen's model."""
    twins = importlib.import_module("twins")
    twins.check(config.family, config, plan.compiled_model(config, None, STEPS), images[:COMPARED])
    trainers: dict[str, Epoch] = {}
    for name, precision in PRECISIONS.items():
        options = dataclasses.replace(config.options, precision=precision)
        own = dataclasses.replace(config, options=options)
        model = plan.compiled_model(own, None, STEPS)
        trainers[name] = start_tfgen(model, own, images, logged)
    for way in twins.WAYS:
        trainers[f"PyTorch {way}"] = twins.start(config.family, config, images, way)
    return trainers


def measure(
    plan: Any, config: RunConfig, images: np.ndarray, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float], list[float]]:
    """A warm-up epoch of each row, then rounds of an epoch of each.

    Returns:
        The times of a step of each row [s], the time of its warm-up epoch [s], and the share of the
        cores that other processes took in each epoch.
    """
    logged = find_comparison(config.family).logged  # refuses a machine without PyTorch
    trainers = make_trainers(plan, config, images, logged)
    steps: dict[str, list[float]] = {name: [] for name in trainers}
    first, others = {}, []
    for name, train in trainers.items():
        first[name], value = timed(train)
        print(f"warm-up   {name:<22}{first[name]:8.2f} s   {value:.3f}", flush=True)
    for number in range(1, rounds + 1):
        for name, train in trainers.items():
            before = busy_seconds()
            seconds, value = timed(train)
            steps[name].append(seconds / STEPS)
            others.append((busy_seconds() - before) / (seconds * (os.cpu_count() or 1)))
            print(
                f"round {number:<4}{name:<22}{1000 * seconds / STEPS:8.1f} ms a step, "
                f"others {others[-1]:6.1%}   {value:.3f}",
                flush=True,
            )
    return steps, first, others


def describe(
    config: RunConfig,
    steps: dict[str, list[float]],
    first: dict[str, float],
    others: list[float],
) -> dict[str, Any]:
    """All numbers of the run and what they depend on, for `json.dump`."""
    run, torch = map(importlib.import_module, ("tfgen.training.run", "torch"))
    medians = {name: statistics.median(seconds) for name, seconds in steps.items()}
    twins = [name for name in medians if name not in PRECISIONS]
    single = [name for name in twins if "bfloat16" not in name]
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "machine": {"cpu": cpu_model(), "torch_threads": torch.get_num_threads()},
        "versions": {"tfgen": __version__, **run.package_versions(), "torch": torch.__version__},
        "run": {
            "family": config.family,
            "image_shape": config.model.image_shape,
            "batch_size": config.options.batch_size,
            "steps_per_epoch": STEPS,
        },
        "first_epoch_seconds": first,
        "step_seconds": steps,
        "others_share": others,
        "median_step_seconds": medians,
        "ratio_float32": medians["tfgen"] / min(medians[name] for name in single),
        "ratio": min(medians[name] for name in PRECISIONS) / min(medians[name] for name in twins),
        "void": max(others) > MAX_OTHERS,
    }


def print_report(report: dict[str, Any]) -> None:
    """Prints the medians, and tfgen relative to the fastest twin."""
    run, versions = report["run"], report["versions"]
    shape = " × ".join(map(str, run["image_shape"]))
    print(
        f"\n{run['family']} images, {shape}, batches of {run['batch_size']}\n"
        f"{report['machine']['cpu']}, tensorflow {versions['tensorflow']}, "
        f"torch {versions['torch']}\n"
    )
    for name, seconds in report["median_step_seconds"].items():
        first = report["first_epoch_seconds"][name]
        print(f"{name:<22}{1000 * seconds:8.1f} ms a step   first epoch {first:.1f} s")
    print(f"\nfloat32: tfgen / fastest of PyTorch     {report['ratio_float32']:.3f}")
    print(f"fastest of tfgen / fastest of PyTorch   {report['ratio']:.3f}, bound 1")
    if report["void"]:
        print(
            f"\nvoid: other processes took up to {max(report['others_share']):.0%} of the cores; "
            "run it again on an idle machine"
        )
