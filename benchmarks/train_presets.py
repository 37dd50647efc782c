"""Compares a training step of convolutional presets with the same step in PyTorch.

For each preset, tfgen in float32 and in bfloat16 and the same network in PyTorch train in turns, so
that other work on the machine slows all of them. PyTorch trains in four ways: eager, with the
channels last, compiled by torch.compile, and with the channels last and autocast to bfloat16. It
starts with tfgen's weights, and has the same number of parameters, losses, optimizers, schedules
and averages. Before anything is timed, the outputs of both must agree for the same weights and
noise.

A round trains each row for some steps. The time of an epoch is the median time of a step, times the
steps of an epoch of the data set. Everything runs on the CPU. torch.compile needs a C++ compiler;
without one, its row says why it is unavailable.

The preset `images` of a family is compared on random images of three channels, the others on MNIST.
"""

import dataclasses
import importlib
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from larger_than_memory import smooth_images
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser
from train_epoch import (
    RANDOM_IMAGES,
    Epoch,
    add_data_flags,
    busy_seconds,
    find_comparison,
    preset_config,
    start_tfgen,
    timed,
)
from train_report import MAX_OTHERS, environment

from tfgen import registry
from tfgen.data import load, steps_per_epoch
from tfgen.errors import UsageError
from tfgen.settings.training import RunConfig
from tfgen.system.quiet import import_quietly

PROG = "train_presets"
# The presets of the shipped samplers; `dcgan` and `multiscale`, which `packed` and `deep` extend.
DEFAULTS = (
    *("vae/conv", "vae/hierarchical", "gan/dcgan", "gan/packed"),
    *("flow/multiscale", "flow/deep"),
)
# Steps of a round: multiples of the steps that tfgen takes in a call into TensorFlow.
STEPS, IMAGE_STEPS = 256, 32
# Images that the twin and tfgen's model are compared on.
COMPARED = 4
# The precision of each of tfgen's rows.
PRECISIONS = {"tfgen": "float32", "tfgen bfloat16": "mixed_bfloat16"}
# The project's bounds on the time of tfgen relative to the fastest of PyTorch: of a preset, and of
# the mean over presets.
MAX_RATIO, MAX_MEAN = 1.0, 0.85


@dataclasses.dataclass
class Measurements:
    """What was measured of a preset.

    Attributes:
        config: the run's configuration.
        round_steps: steps of a round.
        epoch_steps: steps of an epoch.
        error: relative difference of the outputs of tfgen and PyTorch with the same weights.
        seconds: times of a step of each row, one for each round [s].
        first: time of the warm-up round of each row [s].
        others: share of the cores that other processes took in each round of each row.
        unavailable: for each way that PyTorch cannot train in, the reason.
    """

    config: RunConfig
    round_steps: int
    epoch_steps: int
    error: float
    seconds: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    first: dict[str, float] = dataclasses.field(default_factory=dict)
    others: list[float] = dataclasses.field(default_factory=list)
    unavailable: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """`FAMILY/PRESET`."""
        return f"{self.config.family}/{self.config.options.preset}"

    def summary(self) -> dict[str, Any]:
        """The median time of a step of each row [s], and ratios of medians."""
        medians = {name: statistics.median(times) for name, times in self.seconds.items()}
        twins = {name: time for name, time in medians.items() if name not in PRECISIONS}
        single = [time for name, time in twins.items() if "bfloat16" not in name]
        fastest = min(twins.values())
        return {
            "median_step_seconds": medians,
            "epoch_seconds": {name: self.epoch_steps * time for name, time in medians.items()},
            "fastest_peer": min(twins, key=lambda name: twins[name]),
            "ratio": min(medians[name] for name in PRECISIONS) / fastest,
            "ratio_of_float32": medians["tfgen"] / fastest,
            "ratio_in_float32": medians["tfgen"] / min(single),
            "bfloat16_to_float32": medians["tfgen bfloat16"] / medians["tfgen"],
        }


# The ratios of a summary, as the report names them.
RATIOS = {
    "ratio": "fastest of tfgen / fastest of PyTorch",
    "ratio_of_float32": "tfgen float32 / fastest of PyTorch",
    "ratio_in_float32": "tfgen float32 / fastest of PyTorch in float32",
    "bfloat16_to_float32": "tfgen bfloat16 / tfgen float32",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How presets are compared.

    Attributes:
        rounds: timed rounds.
        steps: steps of a round; None takes the default.
        side: height and width of the random images.
        data_dir: TFDS root of MNIST; None takes the embedded data.
        json: file for all numbers.
        check: whether nothing is timed.
    """

    rounds: int
    steps: int | None
    side: int
    data_dir: Path | None
    json: Path | None
    check: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; its exit status does not depend on the times."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    names, settings = parse(argv)
    compare([preset_config(*name.split("/")) for name in names], settings)


def parse(argv: list[str]) -> tuple[list[str], Settings]:
    """The presets, and how they are compared.

    Raises:
        UsageError: an argument is wrong.
    """
    parser = Parser(PROG, __doc__)
    parser.add_argument(
        "presets",
        metavar="FAMILY/PRESET",
        nargs="*",
        default=DEFAULTS,
        help=f"presets to compare (default: {' '.join(DEFAULTS)})",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="timed rounds (default: 3)"
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="steps of a round, a multiple of 16; more than an epoch has: an epoch (default: "
        f"{STEPS}, with random images {IMAGE_STEPS})",
    )
    add_data_flags(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="time nothing; only check that tfgen and PyTorch have the same parameters and outputs",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file for all numbers")
    arguments = vars(parser.parse(argv))
    names = arguments.pop("presets")
    for name in names:
        family, separator, preset = name.partition("/")
        if not separator:
            raise UsageError(f"{name!r} is not FAMILY/PRESET, such as {DEFAULTS[0]}")
        registry.family(family).preset(preset)
    for name in ("rounds", "steps"):
        if arguments[name] is not None and arguments[name] < 1:
            raise UsageError(f"--{name} {arguments[name]} is too small; the least is 1")
    return names, Settings(**arguments)


def compare(configs: Sequence[RunConfig], settings: Settings) -> None:
    """Measures presets and reports; each configuration is as `tfgen-train` would use it."""
    tf, cores = import_quietly("tfgen.nn.cores")
    tf.config.set_visible_devices([], "GPU")
    if any(registry.family(config.family).side_by_side for config in configs):
        cores.share_cores()
    with tempfile.TemporaryDirectory() as folder:
        # What an interrupted run left in PyTorch's own cache may be broken.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        measured = [measure(config, settings) for config in configs]
    if settings.check:
        return
    report = describe(measured)
    print_report(report)
    if settings.json is not None:
        settings.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def training_data(config: RunConfig, settings: Settings) -> tuple[RunConfig, np.ndarray, int]:
    """The configuration with what the data decides, the images of a round, and steps an epoch."""
    batch_size = config.options.batch_size
    if config.options.preset == RANDOM_IMAGES:
        shape = (settings.side, settings.side, 3)
        model = dataclasses.replace(config.model, image_shape=shape)
        steps = settings.steps or IMAGE_STEPS
        images = smooth_images(np.random.default_rng(0), steps * batch_size, settings.side)
        return dataclasses.replace(config, model=model), images, steps
    plan = importlib.import_module("tfgen.training.plan")
    dataset = load(data_dir=settings.data_dir)
    steps = steps_per_epoch(len(dataset.train), batch_size)
    images = dataset.train.images[: min(steps, settings.steps or STEPS) * batch_size]
    return plan.with_data(config, dataset), images, steps


def measure(config: RunConfig, settings: Settings) -> Measurements:
    """Checks PyTorch's twin, and measures a warm-up round of each row, and rounds of each in turns.

    Raises:
        WorkError: the twin is not the same as tfgen's model.
    """
    logged = find_comparison(config.family).logged  # refuses a machine without PyTorch
    twins, plan = map(importlib.import_module, ("twins", "tfgen.training.plan"))
    config, images, epoch_steps = training_data(config, settings)
    round_steps = len(images) // config.options.batch_size
    model = plan.compiled_model(config, None, epoch_steps)
    error = twins.check(config, model, images[:COMPARED], epoch_steps)
    measured = Measurements(config, round_steps, epoch_steps, error)
    print(f"\n{measured.name}: the outputs of both differ by {error:.1e}", flush=True)
    if settings.check:
        return measured
    trainers: dict[str, Epoch] = {}
    for name, precision in PRECISIONS.items():
        options = dataclasses.replace(config.options, precision=precision)
        own = dataclasses.replace(config, options=options)
        model = plan.compiled_model(own, None, epoch_steps)
        trainers[name] = start_tfgen(model, own, images, logged)
    # What was compiled for another preset would be looked at in each call.
    twins.torch.compiler.reset()
    model = plan.compiled_model(config, None, epoch_steps)
    for way in twins.WAYS:
        if reason := twins.why_unavailable(way):
            measured.unavailable[f"PyTorch {way}"] = reason
            print(f"PyTorch {way} is unavailable: {reason}", flush=True)
        else:
            trainers[f"PyTorch {way}"] = twins.start(config, images, way, model, epoch_steps)
    take_turns(measured, trainers, settings.rounds)
    return measured


def take_turns(measured: Measurements, trainers: dict[str, Epoch], rounds: int) -> None:
    """A warm-up round of each row, then rounds of all rows."""
    steps = measured.round_steps
    for name, train in trainers.items():
        measured.first[name], value = timed(train)
        measured.seconds[name] = []
        print(f"warm-up   {name:<22}{measured.first[name]:8.2f} s   {value:.3f}", flush=True)
    for number in range(1, rounds + 1):
        for name, train in trainers.items():
            before = busy_seconds()
            seconds, value = timed(train)
            measured.seconds[name].append(seconds / steps)
            others = (busy_seconds() - before) / (seconds * (os.cpu_count() or 1))
            measured.others.append(others)
            print(
                f"round {number:<4}{name:<22}{1000 * seconds / steps:8.1f} ms a step, "
                f"others {others:6.1%}   {value:.3f}",
                flush=True,
            )


# --- the report -------------------------------------------------------------------------


def describe(measured: Sequence[Measurements]) -> dict[str, Any]:
    """All numbers of the run and what they depend on, for `json.dump`."""
    presets = {}
    for preset in measured:
        presets[preset.name] = {
            "image_shape": preset.config.model.image_shape,
            "batch_size": preset.config.options.batch_size,
            "steps_per_round": preset.round_steps,
            "steps_per_epoch": preset.epoch_steps,
            "output_error": preset.error,
            "unavailable": preset.unavailable,
            "first_round_seconds": preset.first,
            "step_seconds": preset.seconds,
            "others_share": preset.others,
            **preset.summary(),
        }
    return {
        **environment(),
        "presets": presets,
        "mean": {
            name: statistics.fmean(preset[name] for preset in presets.values()) for name in RATIOS
        },
        "bounds": {"ratio": MAX_RATIO, "mean_ratio": MAX_MEAN},
        "void": max(max(preset.others) for preset in measured) > MAX_OTHERS,
    }


def print_report(report: dict[str, Any]) -> None:
    """Prints a table in Markdown: a column for each preset, and one for the mean of the ratios."""
    machine, versions, presets = report["machine"], report["versions"], report["presets"]
    print(
        f"\n{machine['cpu']}, {machine['cores']} cores; tensorflow {versions['tensorflow']}, "
        f"keras {versions['keras']}, torch {versions['torch']}; {report['date']}\n"
    )
    print(_row("median time of a step", *presets, "mean"))
    print("|---|" + "---:|" * (len(presets) + 1))
    rows = dict.fromkeys(name for preset in presets.values() for name in preset["step_seconds"])
    for name in rows:
        print(_row(name, *(_milliseconds(preset, name) for preset in presets.values()), "–"))
    for name in PRECISIONS:
        epochs = (f"{preset['epoch_seconds'][name]:.1f} s" for preset in presets.values())
        print(_row(f"an epoch of {name}", *epochs, "–"))
    peers = [preset["fastest_peer"] for preset in presets.values()]
    times = [preset["epoch_seconds"][preset["fastest_peer"]] for preset in presets.values()]
    print(_row("an epoch of the fastest of PyTorch", *(f"{time:.1f} s" for time in times), "–"))
    print(_row("the fastest of PyTorch", *(peer.partition(" ")[2] for peer in peers), "–"))
    for name, text in RATIOS.items():
        ratios = (preset[name] for preset in (*presets.values(), report["mean"]))
        print(_row(text, *(f"{ratio:.2f}" for ratio in ratios)))
    bounds, largest = report["bounds"], max(preset["ratio"] for preset in presets.values())
    print(
        f"\nbound of the first ratio {bounds['ratio']}: largest {largest:.3f}; "
        f"of its mean {bounds['mean_ratio']}: {report['mean']['ratio']:.3f}"
    )
    for preset, numbers in presets.items():
        for way, reason in numbers["unavailable"].items():
            print(f"{preset}: {way} is unavailable: {reason}")
    if report["void"]:
        worst = max(max(preset["others_share"]) for preset in presets.values())
        print(
            f"\nvoid: other processes took up to {worst:.0%} of the cores; "
            "run it again on an idle machine"
        )


def _milliseconds(preset: dict[str, Any], name: str) -> str:
    seconds = preset["median_step_seconds"].get(name)
    return "unavailable" if seconds is None else f"{1000 * seconds:.1f} ms"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
