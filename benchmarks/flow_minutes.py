"""Measures what a flow reaches in a given training time on the CPU.

`below`: the time in which the preset `multiscale` reaches a value of bits/dim on validation images,
compared with three epochs of the dense template in eager PyTorch, in one run. `ablation`: bits/dim
after equal times, with and without mixture couplings and learned dequantization. `larger`: the
same for flows that are larger than `multiscale`, most of them in one respect.
"""

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser
from train_epoch import find_comparison, timed

from tfgen import registry
from tfgen.data import Dataset, load, on_host, train_batches
from tfgen.errors import UsageError, WorkError
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system.quiet import import_quietly

PROG = "flow_minutes"
# Steps between two measurements.
CHUNK = 64
# Time after which `below` gives up [s].
MAX_SECONDS = 3600.0
# Number of validation images that bits/dim is estimated from.
HELD_OUT = 2000
# A stronger flow of the learned noise.
NOISE = {
    "dequantization_couplings": 4,
    "dequantization_channels": 32,
    "dequantization_components": 4,
}
# For each measurement, its variants: the fields in which they differ from the preset `multiscale`.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "ablation": {
        "affine, uniform": {"components": 0, "dequantization": "uniform"},
        "mixture, uniform": {"dequantization": "uniform"},
        "affine, variational": {"components": 0},
        "mixture, variational": {},
    },
    "larger": {
        "multiscale": {},
        "4 mixture couplings of noise": NOISE,
        "8 components": {"components": 8},
        "48, 96 channels": {"scale_channels": (48, 96)},
        "8, 8 steps": {"scale_steps": (8, 8)},
        "all but the channels": {"scale_steps": (8, 8), "components": 8, **NOISE},
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; its exit status does not depend on the times."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(PROG, __doc__)
    parser.add_argument(
        "what",
        metavar="{below,ablation,larger}",
        choices=("below", *VARIANTS),
        help="what is measured",
    )
    parser.add_argument(
        "--bits",
        type=float,
        default=1.85,
        metavar="X",
        help="below: bits/dim to reach (default: 1.85)",
    )
    parser.add_argument(
        "--peer-epochs",
        type=int,
        default=3,
        metavar="N",
        help="below: epochs of the template (default: 3)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=5.0,
        metavar="X",
        help="ablation, larger: training time of each variant (default: 5)",
    )
    arguments = parser.parse(argv)
    if arguments.peer_epochs < 1 or arguments.minutes <= 0:
        raise UsageError("--peer-epochs and --minutes must be more than 0")
    tf, cores = import_quietly("tfgen.nn.cores")
    tf.config.set_visible_devices([], "GPU")
    cores.share_cores()
    dataset = load()
    if arguments.what == "below":
        below(dataset, arguments.bits, arguments.peer_epochs)
    else:
        compare_variants(VARIANTS[arguments.what], dataset, 60 * arguments.minutes)


def below(dataset: Dataset, bits: float, peer_epochs: int) -> None:
    """Prints both times; tfgen's includes everything but the import, evaluations too."""
    start = time.perf_counter()
    for seconds, reached in measure_progress(preset_config({}), dataset):
        print(f"multiscale  {seconds:7.1f} s of steps, {reached:.3f} bits/dim", flush=True)
        if reached < bits:
            break
        if not math.isfinite(reached) or seconds > MAX_SECONDS:
            raise WorkError(f"{reached:.3f} bits/dim after {seconds:.0f} s; the goal is {bits}")
    tfgen_seconds = time.perf_counter() - start
    config = preset_config({}, "mlp")
    train_epoch = find_comparison("flow").peer(config, dataset.train.images)
    peer_seconds = 0.0
    for number in range(peer_epochs):
        seconds, value = timed(train_epoch)
        peer_seconds += seconds
        print(
            f"template    epoch {number + 1}: {seconds:7.1f} s, {value:.3f} bits/dim in training",
            flush=True,
        )
    print(f"multiscale, in total, to less than {bits} bits/dim: {tfgen_seconds:.1f} s")
    print(
        f"template, {peer_epochs} epochs in eager PyTorch: {peer_seconds:.1f} s; "
        f"ratio {tfgen_seconds / peer_seconds:.2f}"
    )


def compare_variants(variants: dict[str, dict[str, Any]], dataset: Dataset, budget: float) -> None:
    """Prints a line for each variant: steps within the time budget [s], and bits/dim after it."""
    for name, fields in variants.items():
        measurements = list(measure_progress(preset_config(fields), dataset, budget))
        seconds, bits = measurements[-1]
        steps = len(measurements) * CHUNK
        print(f"{name:<30}{seconds:7.1f} s, {steps:6} steps, {bits:.3f} bits/dim", flush=True)


def preset_config(fields: dict[str, Any], name: str = "multiscale") -> RunConfig:
    """A preset with some fields of its model changed.

    Its learning rate is constant, because the number of steps is not known in advance.
    """
    preset = registry.family("flow").preset(name)
    options = TrainingOptions(**{**preset.training(), "schedule": "constant", "preset": name})
    return RunConfig("flow", dataclasses.replace(preset.model, **fields), options)


def measure_progress(
    config: RunConfig, dataset: Dataset, budget: float | None = None
) -> Iterator[tuple[float, float]]:
    """Trains, and measures after each chunk of steps.

    Args:
        config: configuration of the run.
        dataset: the data.
        budget: training time after which it ends [s]; None never ends. With a budget, bits/dim is
            NaN before the end.

    Yields:
        Training time so far [s], which includes tracing, and bits/dim.
    """
    plan = import_quietly("tfgen.training.plan")[1]
    options, images = config.options, on_host(dataset.train.images)
    held_out = dataset.validation.images[:HELD_OUT]
    model = plan.compiled_model(config, None, len(dataset.train) // options.batch_size)
    spent, steps = 0.0, 0
    while budget is None or spent < budget:
        batches = train_batches(
            images, batch_size=options.batch_size, seed=options.seed, start_step=steps
        ).take(CHUNK)
        seconds, _ = timed(lambda batches=batches: model.fit(batches, shuffle=False, verbose=0))
        spent, steps = spent + seconds, steps + CHUNK
        is_due = budget is None or spent >= budget
        yield spent, _bits_per_dim(model, held_out) if is_due else float("nan")


def _bits_per_dim(model: Any, images: np.ndarray) -> float:
    logs = model.evaluate(images, batch_size=500, verbose=0, return_dict=True)
    return float(logs["bits_per_dim"])


if __name__ == "__main__":
    raise SystemExit(main())
