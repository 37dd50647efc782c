"""What a run will train: its configuration and the compiled model."""

import contextlib
import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from tfgen import registry
from tfgen.data.dataset import Dataset, note_few
from tfgen.data.pipeline import steps_per_epoch
from tfgen.errors import UsageError
from tfgen.models.base import ImageModel
from tfgen.nn.cores import share_cores
from tfgen.nn.optimizers import Schedule
from tfgen.settings.model import images_at_once
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system.terminal import count_noun
from tfgen.training.cluster import make_strategy

# Keras calls into Python once in this many steps; more gains nothing at the length of these steps.
STEPS_PER_EXECUTION = 16
# An epoch has at least this many images, so that validation and checkpoints take little time beside
# the training.
_EPOCH_IMAGES = 1000
# Images of a batch of the validation, for images like MNIST's.
_EVAL_BATCH_SIZE = 500
# XLA compiles a step for minutes. Shorter runs than these would not gain as much.
_XLA_STEPS, _XLA_MINUTES = 5000, 20.0
# Data sets whose size differs by at most this part from that of a preset keep its epochs.
_SIMILAR = 0.1
# The largest part of a run that is warm-up, if the user sets the epochs but not the warm-up.
_MOST_WARMUP = 0.25


def with_data(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The run's configuration with what the data decides.

    This is the image shape, the number of classes, the batch size, which is halved until the images
    suffice, and, where they are the preset's, the number of epochs and of epochs of warm-up.

    Raises:
        UsageError: the model needs labels, and the data has none.
    """
    decided: dict[str, Any] = {"image_shape": dataset.image_shape}
    conditional = config.options.conditional
    if conditional or not registry.family(config.family).generative:
        if dataset.num_classes is None:
            subject = "--conditional" if conditional else f"a {config.family}"
            raise UsageError(f"{subject} needs labels, and data set {dataset.name} has none")
        decided["num_classes"] = dataset.num_classes
    model = dataclasses.replace(config.model, **decided)
    options = _options_of_data(config, dataset)
    return dataclasses.replace(config, model=model, options=options, preset_epochs=())


def _options_of_data(config: RunConfig, dataset: Dataset) -> TrainingOptions:
    """The options, with batch size, epochs and warm-up scaled to the number of images.

    If the user sets the epochs, the warm-up keeps its number of steps, as far as they fit.
    """
    options, batch_size = config.options, config.options.batch_size
    images = dataset.count_training(options.train_on)
    while batch_size > images:
        batch_size //= 2
    options = dataclasses.replace(options, batch_size=batch_size)
    if not config.preset_epochs:
        return options
    preset = registry.family(config.family).preset(options.preset)
    epochs, warmup = options.epochs, options.warmup_epochs
    if abs(images - preset.images) > _SIMILAR * preset.images:
        preset_steps = max(preset.images // config.options.batch_size, 1)
        epochs = max(1, round(preset.epochs * preset_steps / epoch_steps(options, dataset)))
        warmup = preset.scaled_warmup(epochs)
    if "epochs" not in config.preset_epochs:
        warmup = min(warmup, _MOST_WARMUP * options.epochs)
    scaled: dict[str, Any] = {"epochs": epochs, "warmup_epochs": warmup}
    return dataclasses.replace(options, **{name: scaled[name] for name in config.preset_epochs})


def epoch_steps(options: TrainingOptions, dataset: Dataset) -> int:
    """Steps of an epoch, which passes several times over fewer than 1000 images."""
    images = dataset.count_training(options.train_on)
    return -(-_EPOCH_IMAGES // images) * steps_per_epoch(images, options.batch_size)


def notes(before: RunConfig, after: RunConfig, dataset: Dataset) -> list[str]:
    """Lines on what the data decided, on few images, and on a run that is not validated.

    Args:
        before: the configuration that was asked for.
        after: what `with_data` made of it.
        dataset: the data set.
    """
    options, images = after.options, dataset.count_training(after.options.train_on)
    lines = note_few(images)
    size, asked = options.batch_size, before.options.batch_size
    if size != asked:
        lines.append(f"{images:,} training images: batches of {size} instead of {asked}")
    if before.options.epochs != options.epochs and options.minutes is None:
        epochs, preset_epochs = (count_noun(run.options.epochs, "epoch") for run in (after, before))
        steps = count_noun(epoch_steps(options, dataset), "step")
        preset_images = registry.family(after.family).preset(options.preset).images
        lines.append(
            f"{images:,} training images: {epochs} of {steps}, about as many steps as the "
            f"{preset_epochs} of preset {options.preset} on {preset_images:,} images; --epochs "
            "sets another number"
        )
    if not options.is_validated:
        validation = images - dataset.count_training("train")
        lines.append(
            f"--train-on all: {images:,} training images, the {validation:,} validation images "
            "among them; nothing is validated, and the last weights are published"
        )
    return lines


def eval_batch_size(config: RunConfig, images: int, uses_xla: bool) -> int:
    """Batch size of a validation by so many images.

    Larger images than MNIST's make smaller batches, but not smaller than those of the training. XLA
    compiles each size of a batch anew: where it is used, all batches have the same if they can.
    """
    fitting = images_at_once(_EVAL_BATCH_SIZE, config.model.image_shape)
    size = min(images, max(fitting, min(config.options.batch_size, _EVAL_BATCH_SIZE)))
    equal = (n for n in range(size, size // 2, -1) if images % n == 0)
    return next(equal, size) if uses_xla else size


def prepare_devices(options: TrainingOptions, family: str) -> Any:
    """Settings that TensorFlow takes only before it uses a device; returns the strategy or None."""
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    if registry.family(family).shares_cores:
        share_cores()
    return make_strategy(options.strategy)


def compiled_model(
    config: RunConfig, strategy: Any, steps: int, share: keras.Variable | None = None
) -> ImageModel:
    """The untrained model with its optimizers.

    Args:
        config: the run's configuration, with what the data decides.
        strategy: the distribution strategy, or None.
        steps: steps per epoch, for the learning-rate schedule.
        share: the share of the time that a run by the clock has used.
    """
    options = config.options
    schedule = Schedule(
        warmup_steps=round(options.warmup_epochs * steps),
        cosine_steps=options.epochs * steps if options.schedule == "cosine" else None,
        clip_norm=options.clip_norm,
        share=share,
    )
    with scope(strategy):
        model: ImageModel = registry.build_model(config)
        model.compile(
            **model.default_optimizers(options.learning_rate, schedule),
            jit_compile=_uses_xla(options, steps),
            # Workers cannot share the graph of a loop over several steps. A run by the clock looks
            # at it after each step.
            steps_per_execution=STEPS_PER_EXECUTION if strategy is None and share is None else 1,
        )
    return model


def _uses_xla(options: TrainingOptions, steps: int) -> bool | str:
    """Whether a run of so many steps an epoch compiles by XLA; "auto": if it uses a GPU."""
    is_long = options.epochs * steps >= _XLA_STEPS
    if options.minutes is not None:
        is_long = options.minutes >= _XLA_MINUTES
    return "auto" if options.xla == "auto" and is_long else options.xla == "on"


def scope(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """The context in which variables of a strategy are made; None is no strategy."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def count_parameters(model: ImageModel) -> int:
    """Number of trainable parameters."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)
