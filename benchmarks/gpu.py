"""Measures training steps on a GPU beside PyTorch, and compares their results with the CPU's.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --presets vae/mlp --batches 32 --seconds 0.2    # a small try

Each preset trains in each precision with each batch size: tfgen by XLA, and the same network in
PyTorch under torch.compile, in float16 without loss scaling. The precision `tf32` is float32 whose
products and convolutions round their inputs to TF32. With the first batch size, there are also:

- the largest relative difference of the values that the first step logs from those of the CPU in
  float32, with the same weights, noise and images;
- the samples per second of the exported functions, copied to the host;
- the time of a step beside another process that draws samples, relative to that of a step alone;
- the bytes that differ after a flow has encoded and decoded the images of a batch;
- for the first precision, the time of a step in `fit` relative to that of the step alone.

TensorFlow and PyTorch have processes of their own, since each takes the GPU's memory for itself.
PyTorch is in the extra [bench]. Cells that fail, for lack of memory or of a GPU build of PyTorch,
say so. Without a GPU, both sides run on the CPU, without peak memory and differences.
"""

import argparse
import functools
import gc
import itertools
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import measuring
import numpy as np

from tfgen.data import load, on_host, train_batches
from tfgen.system.quiet import import_quietly

PRESETS = ("vae/mlp", "gan/packed", "flow/multiscale", "flow-matching/unet")
PRECISIONS = ("tf32", "float32", "mixed_bfloat16", "mixed_float16")
# Steps that are timed together.
ROUND = 16
# What another process does meanwhile.
SAMPLER = "import tfgen; s = tfgen.Sampler('gan')\nwhile 1: print(len(s.sample(999)), flush=True)"
COLUMNS = (
    *("preset", "batch", "precision", "side", "first_call_s", "step_ms", "images_per_s", "peak_gb"),
    *("cpu_difference", "samples_per_s", "different_bytes", "fit_to_step", "beside_sampler"),
    "error",
)

# Names and values of what was measured.
Measured = Iterator[tuple[str, Any]]


def main() -> None:
    """Measures all cells, and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--presets", metavar="FAMILY/PRESET", nargs="+", default=PRESETS)
    add("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    add("--batches", nargs="+", type=int, default=(128, 512, 2048), help="images per step")
    add("--seconds", type=float, default=1.0, help="least time of a measurement (default: 1)")
    add("--minutes", type=float, default=10.0, help="start no cell after this time (default: 10)")
    add("--out", type=Path, default=Path("gpu.json"), help="JSON file (default: gpu.json)")
    options = parser.parse_args()
    begin, cells, environment = time.time(), [], dict(apart(measuring.environment))
    ends = [apart(train_deterministically, options) for _ in range(2)]
    print(f"| {' | '.join(COLUMNS).replace('_', ' ')} |\n{'|---' * len(COLUMNS)}|", flush=True)
    for side, share in (("tfgen", 0.5), ("PyTorch", 1.0)):
        options.end = begin + share * 60 * options.minutes
        cells += apart(measure_cells, side, options)
    equal = {name: a == b for name, a, b in zip(options.presets, *ends, strict=False)}
    report = {**environment, "is_deterministic": equal, "cells": cells}
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    gpus = next((cell["machine"].get("gpus") for cell in cells if "machine" in cell), None)
    print(f"{gpus or 'no GPU'}; deterministic runs are bit-equal: {equal}")


def apart(function: Callable[..., list[Any]], *arguments: Any) -> list[Any]:
    """The result of a function in a process of its own; an empty list if it fails."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except Exception as error:  # of any library, or the end of the process
            print(f"{function.__name__} failed: {error}", flush=True)
            return []


def train_deterministically(options: argparse.Namespace) -> list[bytes]:
    """The weights of each preset after a round of deterministic steps."""
    (_, plan), weights = import_quietly("tfgen.training.plan"), []
    size = options.batches[0]
    for preset in options.presets:
        config = measuring.preset_config(preset, batch_size=size, deterministic=True)
        plan.prepare_devices(config.options, config.family)
        model = plan.compiled_model(config, None, ROUND)
        model.fit(round_of_batches(size), shuffle=False, verbose=0)
        weights.append(b"".join(weight.numpy().tobytes() for weight in model.weights))
    return weights


def round_of_batches(size: int) -> Any:
    """The batches of a round for `fit`."""
    images = on_host(load().train.images[: ROUND * size])
    return train_batches(images, batch_size=size, seed=0).take(ROUND)


def measure_cells(side: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What was measured with each batch size, preset and precision, and what failed."""
    measure, cells = {"tfgen": measure_tfgen, "PyTorch": measure_torch}[side], []
    chosen = options.batches, options.presets, options.precisions
    for size, preset, precision in itertools.product(*chosen):
        cell = {"preset": preset, "batch": size, "precision": precision, "side": side}
        try:
            if time.time() > options.end:
                raise TimeoutError("the minutes are over")
            cell.update(measure(preset, size, precision, options))
        except Exception as error:  # of any library; often there is too little memory
            cell["error"] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        values = [cell.get(name, "–") for name in COLUMNS]
        texts = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
        print(f"| {' | '.join(texts)} |", flush=True)
        cells.append(cell)
        gc.collect()
    return cells


def seconds_of(call: Callable[[], Any], options: argparse.Namespace) -> float:
    """Median time of a call after a first one, which is not timed [s]."""
    call()
    times: list[float] = []
    while sum(times) < options.seconds:
        times.append(measuring.timed(call)[0])
    return float(np.median(times))


def measure_tfgen(preset: str, size: int, precision: str, options: argparse.Namespace) -> Measured:
    """Measures tfgen in this process."""
    tf, export, gpu = import_quietly("tfgen.models.export", "tfgen.nn.gpu")
    settings, gpus = tf.config.experimental, tf.config.list_physical_devices("GPU")
    settings.enable_tensor_float_32_execution(precision != "float32")
    policy = precision if "mixed" in precision else "float32"
    model, step, logs, first = start(preset, size, policy)
    yield from (("first_call_s", first), ("logs", logs), ("machine", gpu.hardware_record()))
    if gpus:
        settings.reset_memory_stats("GPU:0")
    # The value of the last step is there once all are done.
    name = model.logged[0]

    def steps() -> float:
        return float([step()[name] for _ in range(ROUND)][-1])

    seconds = seconds_of(steps, options) / ROUND
    yield from (("step_ms", 1000 * seconds), ("images_per_s", size / seconds))
    if gpus:
        yield "peak_gb", settings.get_memory_info("GPU:0")["peak"] / 1e9
    if size != options.batches[0]:
        return
    if gpus:
        pairs = [(logs[name], value) for name, value in logs_of_cpu(preset, size).items()]
        yield "cpu_difference", max(abs(a - b) / max(1, abs(b)) for a, b in pairs)
    functions = export.trace(export.in_float32(model), ["sample", "encode", "decode"])
    sample, seeds = functions["sample"][0], tf.range(size)
    sampling_seconds = seconds_of(lambda: sample(seed=seeds)["images"].numpy(), options)
    yield "samples_per_s", size / sampling_seconds
    if preset.startswith("flow/"):
        images = load().train.images[:size]
        latents = functions["encode"][0](images=tf.constant(images), seed=seeds)
        decoded = functions["decode"][0](**latents)["images"].numpy()
        yield "different_bytes", int((np.rint(255 * decoded) != images).sum())
    with subprocess.Popen([sys.executable, "-c", SAMPLER], stdout=subprocess.PIPE) as sampler:
        is_ready = sampler.stdout.readline() != b""
        yield "beside_sampler", is_ready and seconds_of(steps, options) / ROUND / seconds
        sampler.kill()
    if precision == options.precisions[0]:
        fit = functools.partial(model.fit, round_of_batches(size), shuffle=False, verbose=0)
        yield "fit_to_step", seconds_of(fit, options) / ROUND / seconds


def start(preset: str, size: int, policy: str, device: str | None = None) -> tuple[Any, ...]:
    """A model, its step, the values that the first one logs, and the time of that [s]."""
    tf, plan = import_quietly("tfgen.training.plan")
    config = measuring.preset_config(preset, batch_size=size, precision=policy)
    with tf.device(device):
        model = plan.compiled_model(config, None, ROUND)
        model.jit_compile = True
        images = tf.constant(load().train.images[:size])
        model.before_fit(images, None)
        step = tf.function(model.train_step, jit_compile=True, autograph=False)
        seconds, logs, _ = measuring.timed(lambda: tf.nest.map_structure(float, step(images)))
    return model, lambda: step(images), logs, seconds


@functools.cache
def logs_of_cpu(preset: str, size: int) -> dict[str, float]:
    """The values that the first step of a preset logs on the CPU, in float32."""
    return start(preset, size, "float32", "CPU:0")[2]


def measure_torch(preset: str, size: int, precision: str, options: argparse.Namespace) -> Measured:
    """Measures PyTorch's twin in this process; TensorFlow only makes the weights, on the CPU."""
    tf, plan = import_quietly("tfgen.training.plan")
    device = "cuda" if tf.config.list_physical_devices("GPU") else "cpu"
    tf.config.set_visible_devices([], "GPU")
    import torch
    import twins

    torch.compiler.reset()
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    config = measuring.preset_config(preset, batch_size=size)
    model, images = plan.compiled_model(config, None, ROUND), load().train.images[: ROUND * size]
    train = twins.start(config, images, f"compile {precision}", model, ROUND, device)
    yield "first_call_s", measuring.timed(train)[0]
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = seconds_of(train, options) / ROUND
    yield from (("step_ms", 1000 * seconds), ("images_per_s", size / seconds))
    if device == "cuda":
        yield "peak_gb", torch.cuda.max_memory_allocated() / 1e9


if __name__ == "__main__":
    main()
