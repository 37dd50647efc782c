"""What each CPU speed-up of tfgen gains: a training step or a batch of samples, with and without.

    python benchmarks/speedups.py [--only NAME …] [--rounds 15] [--out speedups.json]

Each speed-up is measured alone on shipped presets, in turns with the same computation without it. A
ratio is the median time without, divided by the median time with: below 1.05, the code can go.
`wall` needs an idle machine; `cpu` is the processor time of all threads. Set
`ONEDNN_MAX_CPU_ISA=AVX2` in the environment to measure a processor without AVX-512.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tfgen import registry
from tfgen.models import export
from tfgen.nn import cores, cpu


def plain(function: Callable, noise: Any, *batches: Any) -> Any:
    """The function of the whole batch."""
    return function(noise, *batches)


# What takes the place of each speed-up, what is measured, and with which of the shipped presets.
SPEEDUPS: dict[str, tuple[tuple[Any, str, Any], str, tuple[str, ...]]] = {
    "side_by_side": (
        (cpu, "side_by_side", plain),
        "train",
        ("vae/conv", "vae/hierarchical", "flow/deep"),
    ),
    "Adam": (
        (cpu.Adam, "update_step", keras.optimizers.Adam.update_step),
        "train",
        ("vae/conv", "gan/packed", "flow/deep"),
    ),
    "upsample": (
        (cpu, "has_fast_upsampling", lambda *_: False),
        "sample",
        ("vae/conv", "gan/packed"),
    ),
    "PartedFunction": (
        (cores, "_concurrent_parts", 1),
        "sample",
        ("vae/conv", "vae/hierarchical", "gan/packed", "flow/deep"),
    ),
}
SAMPLES = 250


def computation(preset: str, kind: str) -> Callable[[], Any]:
    """A training step, or 250 samples as a command draws them, traced and warmed up."""
    family = registry.family(preset.partition("/")[0])
    settings = family.preset(preset.partition("/")[2])
    model = registry.load_class(family.name)(settings.model)
    if kind == "train":
        model.compile(**model.default_optimizers(settings.learning_rate))
        shape = (settings.batch_size, *settings.model.image_shape)
        images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        step = tf.function(model.train_step).get_concrete_function(images)
        run = lambda: step(images)  # noqa: E731
    else:
        function, inputs = export.trace(model, ["sample"])["sample"]
        specs = {spec.name: spec for spec in inputs}
        parted = cores.PartedFunction(function, specs, most_rows=64)
        run = lambda: parted(seed=np.arange(SAMPLES, dtype=np.int32))  # noqa: E731
    run()
    return run


def measure(name: str, preset: str, rounds: int) -> dict[str, Any]:
    """The ratios of one speed-up with one preset."""
    replacement, kind, _ = SPEEDUPS[name]
    fast = computation(preset, kind)
    with mock.patch.object(*replacement):
        slow = computation(preset, kind)
    seconds = np.zeros((rounds, 2, 2))  # [round, with or without, wall clock or processor]
    for row in seconds:
        for index, run in enumerate((fast, slow)):
            start = time.perf_counter(), time.process_time()
            with mock.patch.object(*replacement) if index else mock.MagicMock():
                run()
            row[index] = np.subtract((time.perf_counter(), time.process_time()), start)
    with_it, without = np.median(seconds, axis=0)
    wall, cpu_time = np.round(without / with_it, 3).tolist()
    return {"speed-up": name, "preset": preset, "what": kind, "wall": wall, "cpu": cpu_time}


def main() -> None:
    """Measures the speed-ups and prints their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=SPEEDUPS, default=list(SPEEDUPS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cores.share_cores()
    rows = []
    for name in options.only:
        for preset in SPEEDUPS[name][2]:
            rows.append(measure(name, preset, options.rounds))
            print(json.dumps(rows[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
