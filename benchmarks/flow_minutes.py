"""What a minute of training buys a flow, on the CPU.

`below`: the seconds in which preset `multiscale` comes below a bits/dim on validation images,
beside those of three epochs of the dense template in eager PyTorch, in one run. `ablation`:
bits/dim after equal minutes of the same couplings, with and without mixtures and learned
dequantization.
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
# Steps between two looks at the clock.
CHUNK = 64
# `below` gives up after so many seconds.
LONGEST = 3600.0
# Validation images that bits/dim are of.
HELD_OUT = 2000
# Of each variant: whether couplings are mixtures, and dequantization is learned.
VARIANTS = {
    "affine, uniform": (False, False),
    "mixture, uniform": (True, False),
    "affine, variational": (False, True),
    "mixture, variational": (True, True),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark and returns its exit status, which does not depend on how fast anything
    was."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(PROG, __doc__)
    parser.add_argument("what", choices=("below", "ablation"), help="what is measured")
    parser.add_argument(
        "--bits", type=float, default=1.85, help="below: bits/dim to reach (default: 1.85)"
    )
    parser.add_argument(
        "--peer-epochs", type=int, default=3, help="below: of the template (default: 3)"
    )
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="ablation: of each variant (default: 5)"
    )
    arguments = parser.parse(argv)
    if arguments.peer_epochs < 1 or arguments.minutes <= 0:
        raise UsageError("--peer-epochs and --minutes must be more than 0")
    (tf, run) = import_quietly("tfgen.training.run")
    tf.config.set_visible_devices([], "GPU")
    run.share_cores("flow")
    dataset = load()
    if arguments.what == "below":
        below(dataset, arguments.bits, arguments.peer_epochs)
    else:
        ablation(dataset, 60 * arguments.minutes)


def below(dataset: Dataset, bits: float, peer_epochs: int) -> None:
    """Prints both times; tfgen's has everything in it but the import: tracing, adapting,
    looking."""
    start = time.perf_counter()
    for seconds, reached in progress(preset_config({}), dataset):
        print(f"multiscale  {seconds:7.1f} s of steps, {reached:.3f} bits/dim", flush=True)
        if reached < bits:
            break
        if not math.isfinite(reached) or seconds > LONGEST:
            raise WorkError(f"{reached:.3f} bits/dim after {seconds:.0f} s: {bits} are not reached")
    ours = time.perf_counter() - start
    config = preset_config({}, "mlp")
    epoch = find_comparison("flow").peer(config, dataset.train.images)
    peers = []
    for number in range(peer_epochs):
        seconds, value = timed(epoch)
        peers.append(seconds)
        print(
            f"template    epoch {number + 1}: {seconds:7.1f} s, {value:.3f} bits/dim in training",
            flush=True,
        )
    print(f"multiscale, all of it, below {bits} bits/dim: {ours:.1f} s")
    print(
        f"template, {peer_epochs} epochs in eager PyTorch: {sum(peers):.1f} s; ratio {ours / sum(peers):.2f}"
    )


def ablation(dataset: Dataset, budget: float) -> None:
    """Prints a line for each variant: steps that fitted into the time, and bits/dim after it."""
    for name, (mixture, variational) in VARIANTS.items():
        fields: dict[str, Any] = {"dequantization": "variational" if variational else "uniform"}
        if not mixture:
            fields["components"] = 0
        config = preset_config(fields)
        looks = list(progress(config, dataset, until=budget))
        seconds, bits = looks[-1]
        steps = len(looks) * CHUNK
        print(f"{name:<22}{seconds:7.1f} s, {steps:6} steps, {bits:.3f} bits/dim", flush=True)


def preset_config(fields: dict[str, Any], name: str = "multiscale") -> RunConfig:
    """A preset with some fields of its model changed; its step size does not fall, the time being
    open."""
    preset = registry.family("flow").preset(name)
    options = TrainingOptions(**{**preset.training(), "schedule": "constant", "preset": name})
    return RunConfig("flow", dataclasses.replace(preset.model, **fields), options)


def progress(
    config: RunConfig, dataset: Dataset, until: float | None = None
) -> Iterator[tuple[float, float]]:
    """Trains; after each chunk of steps gives the seconds that steps have taken and the bits/dim
    reached.

    The first chunk's time has the tracing in it. With `until` it ends after so many seconds, and
    looks at the bits/dim then alone.
    """
    run = import_quietly("tfgen.training.run")[1]
    options, images = config.options, on_host(dataset.train.images)
    held_out = dataset.validation.images[:HELD_OUT]
    model = run.compiled_model(config, None, len(dataset.train.images) // options.batch_size)
    spent, done = 0.0, 0
    while until is None or spent < until:
        batches = train_batches(
            images, batch_size=options.batch_size, seed=options.seed, start_step=done
        ).take(CHUNK)
        seconds, _ = timed(lambda batches=batches: model.fit(batches, shuffle=False, verbose=0))
        spent, done = spent + seconds, done + CHUNK
        last = until is not None and spent >= until
        yield spent, _bits(model, held_out) if until is None or last else float("nan")


def _bits(model: Any, images: np.ndarray) -> float:
    return float(
        model.evaluate(images, batch_size=500, verbose=0, return_dict=True)["bits_per_dim"]
    )


if __name__ == "__main__":
    raise SystemExit(main())
