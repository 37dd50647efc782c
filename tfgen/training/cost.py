"""The cost of a run before it starts: time and memory, measured on noise, and disk space."""

import functools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen import registry
from tfgen.data import cache
from tfgen.data.dataset import Dataset, Split
from tfgen.data.load import find_prepared, is_derived, load
from tfgen.models.base import ImageModel
from tfgen.nn import gpu
from tfgen.settings.training import RunConfig
from tfgen.system import machine
from tfgen.system.terminal import format_bytes
from tfgen.training import advice, checkpoint, memory, plan
from tfgen.training.folder import run_path

# Least seconds of the steps whose time is measured.
_MEASURED_SECONDS = 1.0
# A step takes about so many times as long as the validation of a batch of the same size.
_TRAINING_TO_VALIDATION = 3.0


def cost_table(config: RunConfig) -> str:
    """A table of what would be trained: settings, parameters, steps, time, memory and disk space.

    Time and memory are measured, except for several workers, and for a model that does not fit into
    memory: of such a model nothing is allocated.

    Raises:
        UsageError: the request is wrong.
    """
    strategy = None
    if config.options.strategy != "multiworker":
        strategy = plan.prepare_devices(config.options, config.family)
    data = blank_dataset(config.options.dataset, config.options.data_dir)
    requested, config = config, plan.with_data(config, data)
    options, images = config.options, data.count_training(config.options.train_on)
    steps, rows, remarks = plan.epoch_steps(options, data), dict[str, str](), list[str]()
    settings = config.model.to_json() | options.to_json()
    total = f"{steps * options.epochs:,}"
    model, constant_bytes, step_bytes = estimate(config, data)
    needed, limit = constant_bytes + step_bytes, machine.memory_bytes()
    if needed > limit and not gpu.visible():
        rows["memory"] = f"about {format_bytes(needed)} of {format_bytes(limit)}"
        # The tensors of a step take memory in proportion to the images of its batch.
        fitting = int(options.batch_size * (limit - constant_bytes) / step_bytes)
        remarks = [
            f"warning: this training needs about {format_bytes(needed)} of memory, but this "
            f"machine has {format_bytes(limit)}; "
            + (f"--batch-size {fitting} fits" if fitting > 0 else "choose a smaller model")
        ]
    elif options.strategy != "multiworker":
        model, step = measure(config, strategy)
        # An image takes a part of that time when it is validated.
        validated = len(data.validation) if options.is_validated else 0
        epoch = step * (steps + validated / (_TRAINING_TO_VALIDATION * options.batch_size))
        minutes = options.minutes or max(1, round((advice.AROUND + epoch * options.epochs) / 60))
        rows["time"] = f"about {minutes:g} min, {step:.3g} s a step"
        if options.minutes:
            settings["epochs"] = "as the minutes allow"
            total = f"about {max(0.0, 60 * minutes - advice.AROUND) / (epoch / steps):,.0f}"
        if options.preset == "images":
            shape = config.model.image_shape
            slower = step / (advice.step_seconds(config.family, shape) or step)
            remarks = advice.describe(shape, minutes, slower)
        measured = gpu.peak_mib() * 2**20
        if not gpu.visible():
            measured = max(needed, measured + images_in_memory(data))
        rows["memory"] = f"about {format_bytes(measured)}"
    texts = {
        "model": f"{config.family}, preset {settings.pop('preset')}",
        **{name: "none" if value == [] else value for name, value in settings.items()},
        "training images": f"{images}, validation {data.count_training('all') - images}",
        "parameters": f"{plan.count_parameters(model):,}",
        "training steps": f"{steps} per epoch, {total} in total",
        **rows,
        "disk": f"{format_bytes(checkpoint.size(model))} per checkpoint",
    }
    lines = [f"{name:<28}{text}" for name, text in texts.items()]
    lines += [*plan.notes(requested, config, data), *remarks]
    return "\n".join([*lines, *checkpoint.space_warnings(model, run_path(config))])


def estimate(config: RunConfig, data: Dataset) -> tuple[ImageModel, int, int]:
    """The model without values for its weights, and the memory that its training needs.

    Args:
        config: the configuration of the run, with what the data decides.
        data: the data set.

    Returns:
        The model, the memory of everything but the tensors of a step, and that of these tensors
        [bytes].
    """
    with memory.without_values():
        model = plan.compiled_model(config, None, 1)
    constant = memory.BASE + memory.state_bytes(model) + images_in_memory(data)
    return model, constant, memory.step_bytes(model, config.options.batch_size)


def images_in_memory(data: Dataset) -> int:
    """Bytes of a data set's images as arrays and as tensors; 0 if they are read from the disk."""
    pixels = sum(split.images.size for split in (data.train, data.validation, data.test))
    return 2 * pixels if pixels <= cache.MAX_IN_MEMORY else 0


def measure(config: RunConfig, strategy: Any) -> tuple[ImageModel, float]:
    """A model, and the seconds that a step of its training takes on images of noise.

    If the family `compiles_long`, no training step is run: the seconds are those of a validation,
    times the usual ratio of the two.

    Args:
        config: the configuration of the run, with what the data decides.
        strategy: the distribution strategy, or None.
    """
    model, size = plan.compiled_model(config, strategy, 1), config.options.batch_size
    shape = size, *config.model.image_shape
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch = (images, np.zeros(size, np.int64)) if model.num_classes else images
    batches = tf.data.Dataset.from_tensors(batch)

    def seconds(function: Any, count: int) -> float:
        began = time.perf_counter()
        function(batches.repeat(count), verbose=0)
        return time.perf_counter() - began

    is_run = not registry.family(config.family).compiles_long
    function = functools.partial(model.fit, shuffle=False) if is_run else model.evaluate
    ratio = 1.0 if is_run else _TRAINING_TO_VALIDATION
    seconds(function, 1)  # it is compiled
    count = 1
    while (taken := seconds(function, count)) < _MEASURED_SECONDS:
        count *= math.ceil(_MEASURED_SECONDS / taken)
    return model, ratio * taken / count


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
