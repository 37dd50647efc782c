"""Compares a training epoch with one in eager PyTorch and with the rate of a matrix product.

tfgen and the peer in PyTorch train in turns, so that other work on the machine slows both. The
least time is what the epoch's dense layers would take at the rate of a large matrix product,
which is measured right before and right after each epoch of tfgen. Everything runs on the CPU.

A step of a convolutional preset is compared with four ways to take the same step in PyTorch, as
`train_presets.py` does for several presets.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser
from train_report import describe, print_report

from tfgen import registry
from tfgen.data import Dataset, load, on_host, steps_per_epoch, train_batches
from tfgen.errors import UsageError, WorkError
from tfgen.settings.fields import hint
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system.quiet import import_quietly

PROG = "train_epoch"
# Rows and columns of the two matrices of the product.
PRODUCT_SIZE = 2048
PRODUCTS_A_ROUND = 5
# The preset that is compared on random images.
RANDOM_IMAGES = "images"
# How often imports and decoding are timed.
START_REPEATS = 3

Epoch = Callable[[], float]


@dataclass
class Measurements:
    """The measurements of one run; `tfgen` and `peer` are the keys.

    Attributes:
        flops_per_epoch: floating-point operations of the dense layers; a multiply-add counts as 2.
        import_seconds: time to import TensorFlow and the model class, in fresh processes.
        decode_seconds: time to decode the whole data set.
        first: time of the warm-up epoch [s].
        epochs: times of the epochs after it [s].
        others: share of the cores that other processes took in each epoch, 0 … 1, in time order.
        loss: mean loss of the last epoch.
        product_flops: rates of the matrix products around each epoch of tfgen [FLOP/s].
    """

    flops_per_epoch: int
    import_seconds: list[float]
    decode_seconds: list[float]
    first: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, list[float]] = field(default_factory=lambda: {"tfgen": [], "peer": []})
    others: list[float] = field(default_factory=list)
    loss: dict[str, float] = field(default_factory=dict)
    product_flops: list[list[float]] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """The summary, in seconds unless the name says something else."""
        tfgen, peer = (statistics.median(self.epochs[name]) for name in ("tfgen", "peer"))
        # Each epoch is compared with the products next to it, because the speed of a shared machine
        # changes.
        floors = [self.flops_per_epoch / statistics.median(rates) for rates in self.product_flops]
        shares = [
            floor / seconds for floor, seconds in zip(floors, self.epochs["tfgen"], strict=True)
        ]
        return {
            "tfgen_median": tfgen,
            "peer_median": peer,
            "floor": statistics.median(floors),
            "ratio": tfgen / peer,
            "percent_of_product": 100 * statistics.median(shares),
            "import": statistics.median(self.import_seconds),
            "decode": statistics.median(self.decode_seconds),
            "compile": self.first["tfgen"] - tfgen,
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; its exit status does not depend on the times."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    arguments = parse(argv)
    config = preset_config(arguments.model, arguments.preset, arguments.batch_size)
    if is_convolutional(config):
        presets = importlib.import_module("train_presets")
        settings = presets.Settings(
            arguments.epochs, None, arguments.side, arguments.data_dir, arguments.json
        )
        presets.compare([config], settings)
        return
    comparison = find_comparison(arguments.model)
    import_seconds = [time_import(arguments.model) for _ in range(START_REPEATS)]
    tf, cores, plan = import_quietly("tfgen.nn.cores", "tfgen.training.plan")
    # The peer computes on the CPU.
    tf.config.set_visible_devices([], "GPU")
    if registry.family(arguments.model).side_by_side:
        cores.share_cores()
    decodes = [timed(lambda: load(data_dir=arguments.data_dir)) for _ in range(START_REPEATS)]
    dataset: Dataset = decodes[-1][1]
    config = plan.with_data(config, dataset)
    images = dataset.train.images
    steps = steps_per_epoch(len(images), config.options.batch_size)
    model = plan.compiled_model(config, None, steps)
    measured = Measurements(
        flops_per_epoch=steps * comparison.flops(model, config.options.batch_size),
        import_seconds=import_seconds,
        decode_seconds=[seconds for seconds, _ in decodes],
    )
    trainers = {
        "tfgen": start_tfgen(model, config, images, comparison.logged),
        "peer": comparison.peer(config, images),
    }
    measure(measured, trainers, arguments.epochs)
    report = describe(config, steps, measured, comparison)
    print_report(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; `preset` and `batch_size` are filled in from the registry.

    Raises:
        UsageError: an argument is wrong.
    """
    parser = Parser(PROG, __doc__)
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        default="vae",
        help="family of the model (default: vae)",
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="named setting (default: the family's first)"
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=3,
        metavar="N",
        help="timed epochs; convolutional presets: timed rounds of some steps (default: 3)",
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="images per step (default: the preset's)"
    )
    add_data_flags(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file for all numbers")
    arguments = parser.parse(argv)
    entry = registry.family(arguments.model)
    arguments.preset = arguments.preset or entry.default_preset
    preset = entry.preset(arguments.preset)
    if arguments.batch_size is None:
        arguments.batch_size = preset.batch_size
    if arguments.preset == RANDOM_IMAGES and arguments.data_dir is not None:
        raise UsageError(
            f"--data-dir {arguments.data_dir} has no effect with --preset {RANDOM_IMAGES}, which "
            "trains on random images; leave it out"
        )
    if arguments.epochs < 1:
        raise UsageError(f"--epochs {arguments.epochs} is too small; the least is 1")
    return arguments


def add_data_flags(parser: Parser) -> None:
    """Adds the flags that say what is trained on."""
    parser.add_argument(
        "--data-dir", type=Path, metavar="PATH", help="TFDS root (default: the embedded MNIST)"
    )
    parser.add_argument(
        "--side",
        type=int,
        default=32,
        metavar="N",
        help="preset images: height and width of the random colour images (default: 32)",
    )


def preset_config(family: str, name: str, batch_size: int | None = None) -> RunConfig:
    """The configuration that `tfgen-train` would use; `batch_size` replaces the preset's."""
    preset = registry.family(family).preset(name)
    values = {**preset.training(), "preset": name}
    if batch_size is not None:
        values["batch_size"] = batch_size
    return RunConfig(family, preset.model, TrainingOptions(**values))


def is_convolutional(config: RunConfig) -> bool:
    """Whether the networks are convolutional: then `peers.py` has no peer."""
    return getattr(config.model, "architecture", "dense") != "dense"


def find_comparison(family: str) -> Any:
    """The family's entry in `peers.py`.

    Raises:
        WorkError: PyTorch is not installed.
        UsageError: the family has no peer.
    """
    try:
        comparisons = importlib.import_module("peers").COMPARISONS
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise WorkError(
            "the peer needs PyTorch, the [bench] extra: pip install '.[bench]'"
        ) from None
    if family not in comparisons:
        raise UsageError(f"{family!r} has no peer{hint(family, comparisons)}")
    return comparisons[family]


# --- measurements -----------------------------------------------------------------------


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """The time of a call [s], and its value."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def time_import(family: str) -> float:
    """Time in which a fresh process imports TensorFlow, tfgen and the model class [s]."""
    code = (
        "import time; start = time.perf_counter()\n"
        "import tensorflow, tfgen.registry\n"
        f"tfgen.registry.family({family!r}).load_class()\n"
        "print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def start_tfgen(model: Any, config: RunConfig, images: np.ndarray, logged: str) -> Epoch:
    """Trains as `tfgen.training.run` does: `fit` once per epoch, with the batches of that epoch."""
    options = config.options
    steps = steps_per_epoch(len(images), options.batch_size)
    train_images, epoch = on_host(images), 0

    def train_epoch() -> float:
        nonlocal epoch
        batches = train_batches(
            train_images, batch_size=options.batch_size, seed=options.seed, start_step=epoch * steps
        )
        history = model.fit(
            batches.take(steps), initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0
        )
        epoch += 1
        return float(history.history[logged][0])

    return train_epoch


def product_flops(times: int) -> list[float]:
    """Rates of float32 products of square matrices in TensorFlow, on all cores [FLOP/s].

    It uses a process of its own, because this one may give an operation half of the cores only.
    """
    code = (
        "import time, tensorflow as tf\n"
        "generator = tf.random.Generator.from_seed(0)\n"
        f"left, right = (generator.normal([{PRODUCT_SIZE}, {PRODUCT_SIZE}]) for _ in range(2))\n"
        f"for _ in range({times + 1}):\n"
        "    start = time.perf_counter()\n"
        "    tf.matmul(left, right).numpy()\n"
        "    print(time.perf_counter() - start)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The first product is the warm-up.
    return [2 * PRODUCT_SIZE**3 / float(seconds) for seconds in done.stdout.split()[1:]]


def measure(measured: Measurements, trainers: dict[str, Epoch], epochs: int) -> None:
    """A warm-up epoch of both, then rounds: an epoch of both, with products around tfgen's."""
    for name, train in trainers.items():
        measured.first[name], _ = timed(train)
        print(f"warm-up   {name:<6}{measured.first[name]:8.3f} s", flush=True)
    for number in range(1, epochs + 1):
        for name, train in trainers.items():
            products = product_flops(PRODUCTS_A_ROUND) if name == "tfgen" else []
            before = busy_seconds()
            seconds, measured.loss[name] = timed(train)
            measured.epochs[name].append(seconds)
            others = (busy_seconds() - before) / (seconds * (os.cpu_count() or 1))
            measured.others.append(others)
            print(f"epoch {number:<4}{name:<6}{seconds:8.3f} s, others {others:6.1%}", flush=True)
            if name == "tfgen":
                measured.product_flops.append(products + product_flops(PRODUCTS_A_ROUND))


def busy_seconds() -> float:
    """CPU time of all other processes since the machine started [s]; 0 without `/proc/stat`."""
    counters = Path("/proc/stat")
    if not counters.is_file():
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, counters.read_text().split()[1:9]
    )
    own = os.times()
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK") - own.user - own.system


if __name__ == "__main__":
    raise SystemExit(main())
