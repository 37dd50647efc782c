"""Estimates of the time, memory and disk space of a run, and warnings if there is too little.

Those of memory and disk space count the weights, the optimizers' slots, the images, and the layers'
outputs for a batch. What TensorFlow needs beside these was measured on the presets.
"""

import dataclasses
import functools
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen import registry
from tfgen.data import cache
from tfgen.data.dataset import Dataset, Split
from tfgen.data.load import find_prepared, is_derived, load
from tfgen.errors import TfgenError, first_line
from tfgen.models.base import ImageModel
from tfgen.settings.training import RunConfig
from tfgen.system import machine
from tfgen.system.status import note
from tfgen.training import plan
from tfgen.training.checkpoint import collect_variables
from tfgen.training.folder import run_path

# TensorFlow, Keras, TensorFlow Probability and matplotlib, before a model is built.
_BASE = 800 * 10**6
# The tensors of a training step in proportion to those of a forward pass, and the bytes that an
# operation of the forward pass takes in the graphs of a run and in the published ones.
_STEP_FACTOR, _OPERATION, _PUBLISHED_OPERATION = 0.6, 120_000, 1_000
# Operations of a forward pass that fill no buffer of their own.
_WITHOUT_BUFFER = {"Fill", "Const", "Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims"}
# Least seconds of the steps whose time is measured.
_MEASURED_SECONDS = 2.0
# A training checks its memory at the start only if the pixels of a batch, as float32, are more than
# this part of the memory: building a model for the check takes seconds.
_CHECKED_PART = 1 / 20_000


def describe(config: RunConfig) -> str:
    """A table of what would be trained: settings, parameters, steps, time, memory and disk space.

    Raises:
        UsageError: the request is wrong.
    """
    has_time = config.options.strategy != "multiworker"
    strategy = plan.prepare_devices(config.options, config.family) if has_time else None
    data = blank_dataset(config.options.dataset, config.options.data_dir)
    requested, config = config, plan.with_data(config, data)
    options, images = config.options, data.count_training(config.options.train_on)
    steps = plan.epoch_steps(options, data)
    model, memory, disk = estimate(config, data)
    settings = config.model.to_json() | options.to_json()
    title = ("model", f"{config.family}, preset {settings.pop('preset')}")
    rows = {
        "training images": f"{images}, validation {data.count_training('all') - images}",
        "parameters": f"{plan.count_parameters(model):,}",
        "training steps": f"{steps} per epoch, {steps * options.epochs:,} in total",
    }
    if has_time and sum(memory.values()) < machine.memory_bytes():
        start, epoch = measure(config, data, strategy)
        rows["time"] = f"about {max(1, round((start + epoch * options.epochs) / 60))} min"
    for name, parts in (("memory", memory), ("disk", disk)):
        rows[name] = f"about {bytes_text(sum(parts.values()))}"
        rows |= {f"  {part}": bytes_text(size) for part, size in parts.items() if size}
    texts = [(name, "none" if value == [] else value) for name, value in settings.items()]
    lines = [f"{name:<28}{value}" for name, value in (title, *texts, *rows.items())]
    lines += plan.notes(requested, config, data)
    return "\n".join([*lines, *_warnings(config, memory, disk)])


def check(config: RunConfig, data: Dataset) -> list[str]:
    """Warnings if a training needs more memory or disk space than there is.

    Args:
        config: the configuration of the run, with what the data decides.
        data: the data set.
    """
    batch = config.options.batch_size * math.prod(data.image_shape)
    if 4 * batch < _CHECKED_PART * machine.memory_bytes():
        return []
    # Keras keeps a list, one in each thread, of variables that got no value yet, and gives them one
    # when it next builds a layer: in the strategy's scope, where all workers must create the same
    # variables. The list of this thread ends with it.
    with ThreadPoolExecutor(1) as thread:
        _, memory, disk = thread.submit(estimate, config, data).result()
    return _warnings(config, memory, disk | {"cache of the data set": 0})  # it is there by now


def with_minutes(config: RunConfig, minutes: float) -> RunConfig:
    """The configuration with as many epochs as this machine trains from now in so many minutes.

    It is that of a user who asks for this number of epochs.

    Raises:
        UsageError: the request is wrong.
    """
    began, strategy = time.monotonic(), plan.prepare_devices(config.options, config.family)
    data = blank_dataset(config.options.dataset, config.options.data_dir)
    start, epoch = measure(plan.with_data(config, data), data, strategy)
    epochs = max(1, round((60 * minutes - start - time.monotonic() + began) / epoch))
    options = dataclasses.replace(config.options, epochs=epochs)
    preset_epochs = tuple(name for name in config.preset_epochs if name != "epochs")
    return dataclasses.replace(config, options=options, preset_epochs=preset_epochs)


def measure(config: RunConfig, data: Dataset, strategy: Any) -> tuple[float, float]:
    """Seconds in which a run starts, and those of an epoch, measured on images of noise.

    They are measured with a model of its own: nothing of it is left in the run.

    Args:
        config: the configuration of the run, with what the data decides.
        data: the data set.
        strategy: the distribution strategy, or None.
    """
    began = time.perf_counter()
    model = plan.compiled_model(config, strategy, 1)
    start = time.perf_counter() - began

    def batch_seconds(function: Any, size: int) -> tuple[float, float]:
        """Seconds of the first batch, for which a graph is compiled, and of a later one."""
        shape = size, *config.model.image_shape
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        batch = (images, np.zeros(size, np.int64)) if model.num_classes else images
        batches = tf.data.Dataset.from_tensors(batch)

        def seconds(count: int) -> float:
            began = time.perf_counter()
            function(batches.repeat(count), verbose=0)
            return time.perf_counter() - began

        first, count = seconds(1), 1
        while (taken := seconds(count)) < _MEASURED_SECONDS:
            count *= math.ceil(_MEASURED_SECONDS / taken)
        return first, taken / count

    fit = functools.partial(model.fit, shuffle=False)
    first, step = batch_seconds(fit, config.options.batch_size)
    start, epoch = start + first, step * plan.epoch_steps(config.options, data)
    if config.options.is_validated:
        size = min(plan.eval_batch_size(config), len(data.validation))
        first, batch = batch_seconds(model.evaluate, size)
        start, epoch = start + first, epoch + batch * len(data.validation) / size
    return start, epoch


def blank_dataset(name: str, data_dir: Path | None = None) -> Dataset:
    """A data set with blank images, which take no memory; none is decoded.

    Args:
        name: as `tfgen.data.load` takes it. A data set that is made from another one is loaded.
        data_dir: as `tfgen.data.load` takes it.

    Raises:
        UsageError: the name is unknown, or the folder is damaged or holds another data set.
        WorkError: the data set is not in the folder and could not be downloaded.
    """
    if is_derived(name, data_dir):
        return load(name, data_dir)
    prepared = find_prepared(name, data_dir)
    train, validation, test = (
        Split(np.broadcast_to(np.uint8(0), (end - start, *prepared.image_shape)))
        for _, start, end in prepared.parts.values()
    )
    splits = train, validation, test
    return Dataset(prepared.name, prepared.version, *splits, prepared.num_classes, fingerprint="")


def estimate(config: RunConfig, data: Dataset) -> tuple[ImageModel, dict[str, int], dict[str, int]]:
    """The model without values of its weights, and the bytes of memory and of disk space by part.

    Args:
        config: the configuration of the run, with what the data decides.
        data: the data set.
    """
    options, epochs = config.options, config.options.epochs
    model, outputs, operations = _forward_pass(config)
    saved = sum(map(_bytes, collect_variables(model, ("weights",)).values()))
    trained = sum(map(_bytes, model.trainable_variables))
    state = saved + 2 * trained  # with the two moments of Adam
    best = saved if model.monitor and options.is_validated else 0
    by_epoch = saved * (epochs // options.keep_every) if options.keep_every else 0
    pixels = math.prod(data.image_shape) * sum(map(len, (data.train, data.validation, data.test)))
    is_mapped = pixels > cache.MAX_IN_MEMORY
    memory = {
        "TensorFlow": _BASE,
        "weights and optimizer": state,
        "a step": round(_STEP_FACTOR * outputs) + _OPERATION * operations + trained,
        "images": 0 if is_mapped else 2 * pixels,  # as arrays and as tensors
        "writing a checkpoint": state + best,
    }
    disk = {
        # Two are kept while the next one is written.
        "checkpoints": min(epochs, 3) * state + min(epochs, 2) * best + by_epoch,
        "cache of the data set": pixels * is_mapped,
        "published model": trained + _PUBLISHED_OPERATION * operations,
    }
    return model, memory, disk


def _forward_pass(config: RunConfig) -> tuple[ImageModel, int, int]:
    """The model, and the bytes and the number of operations of a test step on one batch.

    The weights have shapes, but no values, so they take no memory, unless the family computes with
    them while it is built.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = registry.build_model(config)
        variables = [*model.variables, *model.metrics_variables]

        def forward(data: Any) -> Any:
            values = [
                (variable, tf.zeros(variable.shape, variable.dtype)) for variable in variables
            ]
            with keras.StatelessScope(values, initialize_variables=False):
                return model.test_step(data)

        images = tf.TensorSpec((config.options.batch_size, *config.model.image_shape), tf.uint8)
        data = (images, tf.TensorSpec(images.shape[:1], tf.int64)) if model.num_classes else images
        graph = tf.function(forward, autograph=False).get_concrete_function(data).graph
    except TfgenError:
        raise
    except Exception as error:  # another package's family may raise anything
        reason = f"{type(error).__name__}: {first_line(error)}"
        note(f"warning: the memory of the layers' outputs is not known ({reason})")
        return registry.build_model(config), 0, 0
    operations = graph.get_operations()
    outputs = [o.outputs for o in operations if o.type not in _WITHOUT_BUFFER]
    return model, sum(map(_bytes, tf.nest.flatten(outputs))), len(operations)


def _bytes(tensor: Any) -> int:
    """Bytes of a tensor or variable; 0 if its size is not known before it is computed."""
    shape, dtype = tf.TensorShape(tensor.shape), tf.as_dtype(tensor.dtype)
    return (shape.num_elements() or 0) * (dtype.size or 0)


def bytes_text(size: float) -> str:
    """A number of bytes as messages write it: `1.52 GB`."""
    return f"{size / 10**9:.3g} GB" if size >= 10**9 else f"{size / 10**6:.0f} MB"


def _warnings(config: RunConfig, memory: dict[str, int], disk: dict[str, int]) -> list[str]:
    """A line for the memory and one for the disk, each if it is too small."""
    path = run_path(config)
    advice = "use a smaller --batch-size, a smaller network or smaller images"
    move = "choose folders on another disk with --run-dir, --saved-models and TFGEN_CACHE"
    needs = (
        ("memory", memory, machine.memory_bytes(), "of this machine", advice),
        ("disk space", disk, machine.free_disk_bytes(path), f"that are free for {path}", move),
    )
    return [
        f"warning: this run needs about {bytes_text(sum(parts.values()))} of {name}, more than the "
        f"{bytes_text(present)} {place}; {remedy}"
        for name, parts, present, place, remedy in needs
        if sum(parts.values()) > present
    ]
