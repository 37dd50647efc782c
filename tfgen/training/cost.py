"""An estimate of the memory and disk space that a run needs, and what to change if it is too much.

The bytes of the weights, of the optimizers' slots, of the images and of a step's tensors are
counted. What TensorFlow needs beside them was measured; `benchmarks/memory.py` compares estimates
with trainings.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfgen import registry
from tfgen.data.cache import GIGABYTE, cache_root
from tfgen.data.outline import Outline, outline
from tfgen.data.pipeline import steps_per_epoch
from tfgen.errors import TfgenError
from tfgen.models.base import ImageModel
from tfgen.settings.model import images_at_once
from tfgen.settings.training import RunConfig
from tfgen.system import machine
from tfgen.training.callbacks import MAX_GRIDS, PICTURE_IMAGES
from tfgen.training.checkpoint import collect_variables
from tfgen.training.folder import run_path
from tfgen.training.plan import (
    compiled_model,
    count_parameters,
    epochs_note,
    eval_batch_size,
    train_on_note,
    with_data,
)
from tfgen.training.tracing import peak_bytes, tensor_bytes, trace_step, without_memory

# TensorFlow, Keras, TensorFlow Probability and matplotlib, before a model is built.
_BASE = 800 * 10**6
# An operation of a step in Python, in TensorFlow's graph, and in the copies of its optimizer; and
# its part of the published graphs.
_OPERATION, _PUBLISHED_OPERATION = 25_000, 300
# The allocator keeps freed blocks, and oneDNN's kernels have buffers of their own.
_STEP_FACTOR = 1.4
# An update copies the weights that an operation still reads, and gradients are copied where they
# are summed.
_WEIGHT_COPIES = 1.5
# Batches of uint8 images that the pipeline holds: those computed ahead and in parallel.
_BATCHES = 6
# A run keeps two checkpoints, and writes the next one before it removes the older one.
_CHECKPOINTS_AT_ONCE = 3
# Figures and logs of a run, and the images that they show: in the figures, and in each grid.
_FIGURES, _SHOWN, _SHOWN_EACH_GRID = 2 * 10**6, 200, 64
# A model is only built for a check at the start of a training if the pixels of a batch, as float32,
# are more than this part of the memory. The presets do not fill it with smaller images, and the
# check takes longer than building a model.
_CHECKED_PART = 1 / 20_000


@dataclasses.dataclass(frozen=True)
class Cost:
    """Bytes of memory and disk space that a run needs at its peak.

    Attributes:
        weights: weights, EMA and slots of the optimizers.
        step: what a training step or a validation step needs beside them; None if it is not known.
        images: pixels in memory.
        checkpoint: the copies of which a checkpoint is written.
        run: disk space of the run directory, while a checkpoint is written.
        publishing: disk space of the published version.
        cache: disk space that decoding the data set takes.
        on_gpu: whether weights and steps are in the memory of a GPU.
    """

    weights: int
    step: int | None
    images: int
    checkpoint: int
    run: int
    publishing: int
    cache: int
    on_gpu: bool = False

    @property
    def memory(self) -> int:
        """Peak memory of the process, without that of a GPU."""
        on_device = 0 if self.on_gpu else self.weights + (self.step or 0)
        return _BASE + on_device + self.images + self.checkpoint

    @property
    def disk(self) -> int:
        """Disk space of all that the run writes."""
        return self.run + self.publishing + self.cache


def describe(config: RunConfig, saved_models: Path | None = None) -> str:
    """A table of what would be trained: settings, parameters, steps, estimated memory and disk.

    Needs little memory itself: the weights of the model get no values.

    Args:
        config: the configuration of the run.
        saved_models: folder that the model would be published in, None if it would not be.

    Raises:
        UsageError: the request is wrong.
    """
    requested = config
    data = outline(config.options.dataset, config.options.data_dir)
    config = with_data(requested, data)
    options = config.options
    images = data.count_training(options.train_on)
    steps = steps_per_epoch(images, options.batch_size)
    model = _build(config, steps)
    cost, problem = estimate(model, config, data, publishes=saved_models is not None)
    settings = {**config.model.to_json(), **options.to_json()}
    rows = {
        "model": f"{config.family}, preset {options.preset}",
        **{
            name: "none" if value == [] else value
            for name, value in settings.items()
            if name != "preset"
        },
        "training images": f"{images}, validation {data.count_training('all') - images}",
        "parameters": f"{count_parameters(model):,}",
        "steps": f"{steps} per epoch, {steps * options.epochs:,} in total",
        **_memory_rows(cost),
        **_disk_rows(cost),
    }
    lines = [f"{name:<28}{value}" for name, value in rows.items()]
    notes = (epochs_note(requested, config, images), train_on_note(options, data))
    lines += filter(None, notes)
    if problem:
        lines.append(f"A step of this model cannot be traced ({problem}): it may need more memory.")
    return "\n".join([*lines, *_warnings(cost, config, saved_models)])


def check(config: RunConfig, data: Outline) -> list[str]:
    """What to say at the start of a training that needs more memory or disk space than there is.

    Args:
        config: the configuration of the run, with what the data decides.
        data: the data set.
    """
    pixels = 4 * config.options.batch_size * data.image_bytes
    if pixels < _CHECKED_PART * machine.memory_bytes():
        return []
    images = data.count_training(config.options.train_on)
    model = _build(config, steps_per_epoch(images, config.options.batch_size))
    return _warnings(estimate(model, config, data)[0], config, None)


def _build(config: RunConfig, steps: int) -> ImageModel:
    """The compiled model, if possible without memory for its weights."""
    # No strategy: the estimate is for a single device.
    try:
        with without_memory():
            return compiled_model(config, None, steps)
    except TfgenError:
        raise
    except Exception:  # a family of another package may compute with its weights
        return compiled_model(config, None, steps)


def estimate(
    model: ImageModel, config: RunConfig, data: Outline, publishes: bool = True
) -> tuple[Cost, str]:
    """The cost of a run, and why the memory of a step is not known, if it is not.

    Args:
        model: the compiled model, whose weights need no values.
        config: the configuration of the run.
        data: the data set.
        publishes: whether the model is published after the training.
    """
    saved = _total_bytes(collect_variables(model, ("weights",)))
    state = _total_bytes(collect_variables(model))
    trained = sum(map(tensor_bytes, model.trainable_variables))
    is_validated = config.options.is_validated
    best = saved if model.monitor and is_validated else 0
    step, operations, problem = None, 0, ""
    try:
        peak, operations = _trace(model, config, data.validation)
        copies = round(_WEIGHT_COPIES * trained)
        step = round(_STEP_FACTOR * peak) + _OPERATION * operations + copies
    except Exception as error:  # as above
        problem = " ".join(f"{type(error).__name__}: {error}".split())[:100]
    if data.in_memory:
        # All splits, and the tensors of the training and the validation images; these are joined
        # in memory for a moment if the model is trained on both.
        copies = 2 if is_validated else 3
        images = data.image_bytes * (copies * (data.train + data.validation) + data.test)
    else:
        batch = max(config.options.batch_size, min(eval_batch_size(config), data.validation))
        images = _BATCHES * batch * data.image_bytes
    epochs = config.options.epochs
    checkpoints = min(epochs, _CHECKPOINTS_AT_ONCE) * state + min(epochs, 2) * best
    if every := config.options.keep_every:
        checkpoints += epochs // every * saved
    shown = (_SHOWN + _SHOWN_EACH_GRID * min(epochs, MAX_GRIDS)) * data.image_bytes
    cost = Cost(
        weights=state,
        step=step,
        images=images,
        checkpoint=state + best,
        run=checkpoints + _FIGURES + shown,
        publishing=(trained + _PUBLISHED_OPERATION * operations) * publishes,
        cache=data.cache_bytes,
        on_gpu=bool(tf.config.get_visible_devices("GPU")),
    )
    return cost, problem


def _total_bytes(variables: dict[str, Any]) -> int:
    return sum(map(tensor_bytes, variables.values()))


def _trace(model: ImageModel, config: RunConfig, validation: int) -> tuple[int, int]:
    """Peak memory of the tensors of a step, and the number of operations.

    The peak is that of a training step, or of a pass over held-out images if it is larger.
    """
    training = trace_step(model, config.options.batch_size, training=True)
    # The pictures at the end of a run are drawn from twice as many images as a validation step.
    pictured = images_at_once(PICTURE_IMAGES, config.model.image_shape)
    held_out = min(validation, max(eval_batch_size(config), pictured))
    testing = trace_step(model, held_out, training=False)
    operations = sum(len(graph.get_operations()) for graph in (training, testing))
    return max(peak_bytes(training), peak_bytes(testing)), operations


# --- what to say ------------------------------------------------------------------------


def bytes_text(size: float) -> str:
    """A number of bytes as messages write it: `1.52 GB`."""
    return f"{size / GIGABYTE:.3g} GB" if size >= GIGABYTE else f"{size / 10**6:.0f} MB"


def _memory_rows(cost: Cost) -> dict[str, str]:
    bound = "about" if cost.step is not None else "at least"
    place = ", on the GPU" if cost.on_gpu else ""
    parts = {
        "TensorFlow": _BASE,
        f"weights and optimizer{place}": cost.weights,
        f"a step{place}": cost.step,
        "images": cost.images,
        "writing a checkpoint": cost.checkpoint,
    }
    return {"memory": f"{bound} {bytes_text(cost.memory)}"} | _part_rows(parts)


def _disk_rows(cost: Cost) -> dict[str, str]:
    parts = {
        "run directory": cost.run,
        "published model": cost.publishing,
        "cache of the data set": cost.cache,
    }
    return {"disk": f"about {bytes_text(cost.disk)}"} | _part_rows(parts)


def _part_rows(parts: Mapping[str, int | None]) -> dict[str, str]:
    return {f"  {name}": bytes_text(size) for name, size in parts.items() if size}


def _warnings(cost: Cost, config: RunConfig, saved_models: Path | None) -> list[str]:
    """A line for the memory, and one for each disk, that is not enough."""
    lines, memory = [], machine.memory_bytes()
    if cost.memory > memory:
        lines.append(
            f"warning: this run needs about {bytes_text(cost.memory)} of memory, more than the "
            f"{bytes_text(memory)} of this machine; {_advice(cost, config)}"
        )
    needs = [("--run-dir", run_path(config), cost.run), ("TFGEN_CACHE", cache_root(), cost.cache)]
    if saved_models is not None:
        needs.append(("--saved-models", saved_models, cost.publishing))
    # Folders on one disk share what is free there.
    disks: dict[int, list[tuple[str, Path, int]]] = {}
    for need in needs:
        disks.setdefault(machine.disk_of(need[1]), []).append(need)
    for needs in disks.values():
        total, free = sum(need[2] for need in needs), machine.free_disk_bytes(needs[0][1])
        if total > free:
            flag, path, _ = max(needs, key=lambda need: need[2])
            lines.append(
                f"warning: this run needs about {bytes_text(total)} of disk space, more than the "
                f"{bytes_text(free)} that are free in {machine.existing_folder(path)}; name a "
                f"folder on another disk with {flag}"
            )
    return lines


def _advice(cost: Cost, config: RunConfig) -> str:
    """What to change so that a run needs less memory."""
    largest = max(cost.weights + cost.checkpoint, cost.images, cost.step or 0)
    smaller = "smaller images (tfgen-data images --size)"
    if largest == cost.images:
        return f"use {smaller}, or fewer of them"
    if largest == cost.step and cost.step > 2 * cost.weights:
        batch = max(1, config.options.batch_size // 2)
        return f"use a smaller --batch-size, such as {batch}, or {smaller}"
    others = [
        name for name in registry.family(config.family).presets if name != config.options.preset
    ]
    presets = f", another --preset ({', '.join(others)})" if others else ""
    return f"most of it is for the weights: use a smaller network{presets}, or {smaller}"
