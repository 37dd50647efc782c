"""Compares a training step of presets with the same step in PyTorch.

For each preset, tfgen in float32 and in bfloat16 and the same network in PyTorch train in turns, so
that other work on the machine slows all of them. PyTorch trains in four ways: eager, with the
channels last, compiled by torch.compile, and with the channels last and autocast to bfloat16. It
starts with tfgen's weights, and has the same number of parameters, batches, losses, optimizers,
schedules and averages. Before anything is timed, the outputs of both must agree for the same
weights and noise.

A round trains each row for some steps. The time of an epoch is the median time of a step, times the
steps of an epoch of the data set. Everything runs on the CPU. torch.compile needs a C++ compiler;
without one, its row says why it is unavailable.

The preset `images` of a family is compared on random images of three channels, the others on MNIST.
PyTorch is in the extra [bench].
"""

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import twins

from tfgen import registry
from tfgen.data import load, on_host, steps_per_epoch, train_batches
from tfgen.errors import TfgenError
from tfgen.settings.training import RunConfig
from tfgen.system.quiet import import_quietly

# The presets of the shipped samplers; `dcgan` and `multiscale`, which `packed` and `deep` extend.
DEFAULTS = (
    *("vae/conv", "vae/hierarchical", "gan/dcgan", "gan/packed"),
    *("flow/multiscale", "flow/deep", "flow-matching/unet"),
)
# The preset that is compared on random images.
RANDOM_IMAGES = "images"
# Steps of a round: multiples of the steps that tfgen takes in a call into TensorFlow.
STEPS, IMAGE_STEPS = 256, 32
# Images that the twin and tfgen's model are compared on.
COMPARED = 4
# The precision of each of tfgen's rows.
PRECISIONS = {"tfgen": "float32", "tfgen bfloat16": "mixed_bfloat16"}
# The value whose mean both sides report, if it is not the loss.
LOGGED = {"gan": "discriminator_loss", "flow": "bits_per_dim"}
# The ratios of a preset, as the report names them.
RATIOS = {
    "ratio": "tfgen's fastest / PyTorch's fastest",
    "ratio_in_float32": "tfgen's float32 / PyTorch's fastest float32",
}

# Trains for a round; returns the mean of the value that is compared.
Train = Callable[[], float]


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    presets_help = f"presets to compare (default: {' '.join(DEFAULTS)})"
    add("presets", metavar="FAMILY/PRESET", nargs="*", help=presets_help)
    add("--float32", action="store_true", help="leave out bfloat16")
    add("--rounds", type=int, default=3, help="timed rounds (default: %(default)s)")
    steps_help = f"steps of a round (default: {STEPS}, with random images {IMAGE_STEPS})"
    add("--steps", type=int, help=steps_help)
    add("--data-dir", type=Path, help="TFDS root (default: the embedded MNIST)")
    add("--side", type=int, default=32, help="side of the random images (default: %(default)s)")
    add("--check", action="store_true", help="time nothing; only compare parameters and outputs")
    add("--json", type=Path, help="JSON file for all numbers")
    return parser.parse_args()


def main() -> None:
    """Measures all presets, one after the other, and reports."""
    arguments = parse()
    configs = [measuring.preset_config(name) for name in arguments.presets or DEFAULTS]
    tf, cores = import_quietly("tfgen.nn.cores")
    tf.config.set_visible_devices([], "GPU")
    if any(registry.family(config.family).shares_cores for config in configs):
        cores.share_cores()
    presets = {}
    with tempfile.TemporaryDirectory() as folder:
        # What an interrupted run left in PyTorch's own cache may be broken.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for config in configs:
            presets[f"{config.family}/{config.options.preset}"] = measure(config, arguments)
    if arguments.check:
        return
    report = {**measuring.environment(), "presets": presets}
    print_report(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def training_data(
    config: RunConfig, arguments: argparse.Namespace
) -> tuple[RunConfig, np.ndarray, int]:
    """The configuration with what the data decides, the images of a round, and steps an epoch."""
    batch_size = config.options.batch_size
    if config.options.preset == RANDOM_IMAGES:
        model = dataclasses.replace(config.model, image_shape=(arguments.side, arguments.side, 3))
        steps = arguments.steps or IMAGE_STEPS
        images = smooth_images(steps * batch_size, arguments.side)
        return dataclasses.replace(config, model=model), images, steps
    dataset = load(data_dir=arguments.data_dir)
    steps = steps_per_epoch(len(dataset.train), batch_size)
    images = dataset.train.images[: min(steps, arguments.steps or STEPS) * batch_size]
    return import_quietly("tfgen.training.plan")[1].with_data(config, dataset), images, steps


def smooth_images(n: int, side: int) -> np.ndarray:
    """Random colours on a grid of 9 × 9, interpolated linearly, `uint8[n, side, side, 3]`."""
    corners = np.random.default_rng(0).integers(0, 256, (n, 9, 9, 3)).astype(np.float32)
    places = np.linspace(0, 8, side)
    # [position, corner]: the weight of each corner along a side.
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(9))).astype(np.float32)
    return np.round(np.einsum("yi,xj,nijc->nyxc", weights, weights, corners)).astype(np.uint8)


def measure(config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Checks PyTorch's twin of a preset, and times rounds of each row in turns.

    Raises:
        WorkError: the twin is not the same as tfgen's model.
    """
    plan = import_quietly("tfgen.training.plan")[1]
    name = f"{config.family}/{config.options.preset}"
    config, images, epoch_steps = training_data(config, arguments)
    batch_size = config.options.batch_size
    model = plan.compiled_model(config, None, epoch_steps)
    error = twins.check(config, model, images[:COMPARED], epoch_steps)
    print(f"\n{name}: the outputs of both differ by {error:.1e}", flush=True)
    if arguments.check:
        return {}
    rows: dict[str, Train] = {}
    for row, precision in PRECISIONS.items():
        if arguments.float32 and precision != "float32":
            continue
        options = dataclasses.replace(config.options, precision=precision)
        own = dataclasses.replace(config, options=options)
        model = plan.compiled_model(own, None, epoch_steps)
        rows[row] = start_tfgen(model, own, images)
    for way in twins.WAYS:
        if arguments.float32 and way == "bfloat16":
            continue
        if reason := twins.why_unavailable(way):
            print(f"PyTorch {way} is unavailable: {reason}", flush=True)
        else:
            rows[f"PyTorch {way}"] = twins.start(config, images, way, model, epoch_steps)
    round_steps = len(images) // batch_size
    measured = take_turns(rows, arguments.rounds, round_steps)
    return {
        "image_shape": config.model.image_shape,
        "batch_size": batch_size,
        "steps_per_round": round_steps,
        "steps_per_epoch": epoch_steps,
        "output_error": error,
        **measured,
        **summary(measured, epoch_steps),
    }


def start_tfgen(model: Any, config: RunConfig, images: np.ndarray) -> Train:
    """Trains as `tfgen.training.run` does: `fit` once per epoch, with the batches of that epoch."""
    options, train_images, epoch = config.options, on_host(images), 0
    steps = steps_per_epoch(len(images), options.batch_size)

    def train() -> float:
        nonlocal epoch
        batches = train_batches(
            train_images, batch_size=options.batch_size, seed=options.seed, start_step=epoch * steps
        )
        history = model.fit(
            batches.take(steps), initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0
        )
        epoch += 1
        return float(history.history[LOGGED.get(config.family, "loss")][0])

    return train


def take_turns(rows: dict[str, Train], rounds: int, steps: int) -> dict[str, Any]:
    """A warm-up round of each row, then rounds of all rows."""
    seconds, others = {name: [] for name in rows}, []
    for name, train in rows.items():
        duration, value, _ = measuring.timed(train)
        print(f"warm-up   {name:<22}{duration:8.2f} s   {value:.3f}", flush=True)
    for number in range(1, rounds + 1):
        for name, train in rows.items():
            duration, value, share = measuring.timed(train)
            seconds[name].append(duration / steps)
            others.append(share)
            print(
                f"round {number:<4}{name:<22}{1000 * duration / steps:8.1f} ms a step, "
                f"others {share:6.1%}   {value:.3f}",
                flush=True,
            )
    return {"step_seconds": seconds, "others_share": others}


def summary(measured: dict[str, Any], epoch_steps: int) -> dict[str, Any]:
    """The median time of a step of each row [s], and what follows from the medians."""
    medians = {name: statistics.median(times) for name, times in measured["step_seconds"].items()}
    peers = [name for name in medians if name not in PRECISIONS]
    own = [name for name in medians if name in PRECISIONS]
    fastest = {"tfgen": min(own, key=medians.get), "PyTorch": min(peers, key=medians.get)}
    in_float32 = min(medians[name] for name in peers if "bfloat16" not in name)
    return {
        "median_step_seconds": medians,
        "fastest": fastest,
        "epoch_seconds": {side: epoch_steps * medians[name] for side, name in fastest.items()},
        "ratio": medians[fastest["tfgen"]] / medians[fastest["PyTorch"]],
        "ratio_in_float32": medians["tfgen"] / in_float32,
    }


def print_report(report: dict[str, Any]) -> None:
    """Prints a table in Markdown: a column for each preset, and one for the mean of the ratios."""
    measuring.print_environment(report)
    presets = report["presets"].values()
    print(_row("median time of a step", *report["presets"], "mean"))
    print("|---|" + "---:|" * (len(presets) + 1))
    for name in dict.fromkeys(name for preset in presets for name in preset["step_seconds"]):
        times = [preset["median_step_seconds"].get(name) for preset in presets]
        print(_row(name, *(f"{1000 * t:.1f} ms" if t else "unavailable" for t in times), "–"))
    for side in ("tfgen", "PyTorch"):
        epochs = (f"{preset['epoch_seconds'][side]:.1f} s" for preset in presets)
        print(_row(f"an epoch of {side}'s fastest row", *epochs, "–"))
    for name, text in RATIOS.items():
        ratios = [preset[name] for preset in presets]
        print(_row(text, *(f"{ratio:.2f}" for ratio in [*ratios, statistics.fmean(ratios)])))
    measuring.print_void(max(max(preset["others_share"]) for preset in presets))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        main()
    except TfgenError as error:
        raise SystemExit(f"train_presets: {error}") from None
