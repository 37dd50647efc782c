"""The cost of a run before it starts: time and memory, measured on noise, and disk space."""

import dataclasses
import functools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.data import cache
from tfgen.data.dataset import Dataset, Split
from tfgen.data.load import find_prepared, is_derived, load
from tfgen.models.base import ImageModel
from tfgen.settings.training import RunConfig
from tfgen.system import machine
from tfgen.system.terminal import format_bytes
from tfgen.training import checkpoint, plan
from tfgen.training.folder import run_path

# Least seconds of the steps whose time is measured.
_MEASURED_SECONDS = 2.0


def cost_table(config: RunConfig) -> str:
    """A table of what would be trained: settings, parameters, steps, time, memory and disk space.

    Time and memory are measured, except for several workers.

    Raises:
        UsageError: the request is wrong.
    """
    is_measured = config.options.strategy != "multiworker"
    strategy = plan.prepare_devices(config.options, config.family) if is_measured else None
    data = blank_dataset(config.options.dataset, config.options.data_dir)
    requested, config = config, plan.with_data(config, data)
    options, images = config.options, data.count_training(config.options.train_on)
    steps, rows = plan.epoch_steps(options, data), dict[str, str]()
    if not is_measured:
        model = plan.compiled_model(config, strategy, 1)
    else:
        model, start, epoch = measure(config, data, strategy)
        rows["time"] = f"about {max(1, round((start + epoch * options.epochs) / 60))} min"
        pixels = sum(split.images.size for split in (data.train, data.validation, data.test))
        # As arrays and as tensors; those of the cache are read from the disk.
        in_memory = 2 * pixels if pixels <= cache.MAX_IN_MEMORY else 0
        memory = machine.peak_mib() * 2**20 + in_memory
        there = "" if memory < (limit := machine.memory_bytes()) else f" of {format_bytes(limit)}"
        rows["memory"] = f"about {format_bytes(memory)}{there}"
    settings = config.model.to_json() | options.to_json()
    texts = {
        "model": f"{config.family}, preset {settings.pop('preset')}",
        **{name: "none" if value == [] else value for name, value in settings.items()},
        "training images": f"{images}, validation {data.count_training('all') - images}",
        "parameters": f"{plan.count_parameters(model):,}",
        "training steps": f"{steps} per epoch, {steps * options.epochs:,} in total",
        **rows,
        "disk": f"{format_bytes(checkpoint.size(model))} per checkpoint",
    }
    lines = [f"{name:<28}{text}" for name, text in texts.items()]
    lines += plan.notes(requested, config, data)
    return "\n".join([*lines, *checkpoint.space_warnings(model, run_path(config))])


def with_minutes(config: RunConfig, minutes: float) -> RunConfig:
    """The configuration with as many epochs as this machine trains from now in so many minutes.

    It is that of a user who asks for this number of epochs.

    Raises:
        UsageError: the request is wrong.
    """
    began, strategy = time.monotonic(), plan.prepare_devices(config.options, config.family)
    data = blank_dataset(config.options.dataset, config.options.data_dir)
    _, start, epoch = measure(plan.with_data(config, data), data, strategy)
    epochs = max(1, round((60 * minutes - start - time.monotonic() + began) / epoch))
    options = dataclasses.replace(config.options, epochs=epochs)
    preset_epochs = tuple(name for name in config.preset_epochs if name != "epochs")
    return dataclasses.replace(config, options=options, preset_epochs=preset_epochs)


def measure(config: RunConfig, data: Dataset, strategy: Any) -> tuple[ImageModel, float, float]:
    """A model, the seconds in which its run starts, and those of an epoch, with images of noise.

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
    return model, start, epoch


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
