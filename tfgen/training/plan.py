"""What a run will train: configuration, compiled model, and an estimate of the cost."""

import dataclasses
import math
from typing import Any

from tfgen import registry
from tfgen.data.dataset import Dataset
from tfgen.data.load import load
from tfgen.data.pipeline import steps_per_epoch
from tfgen.errors import UsageError
from tfgen.models.base import ImageModel
from tfgen.nn.optimizers import Schedule
from tfgen.settings.training import RunConfig
from tfgen.training.folder import run_path
from tfgen.training.strategy import scope

# Keras calls into Python once in this many steps; more gains nothing at the length of these steps.
STEPS_PER_EXECUTION = 16


def with_data(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The run's configuration with what the data decides: image shape and number of classes.

    Raises:
        UsageError: the family has no conditional variant, or the data has no labels.
    """
    decided: dict[str, Any] = {"image_shape": dataset.image_shape}
    family, conditional = registry.family(config.family), config.options.conditional
    if conditional and not family.has_conditional_variant:
        raise UsageError(f"{config.family} has no conditional variant; leave out --conditional")
    if conditional or not family.generative:
        if dataset.num_classes is None:
            subject = "--conditional" if conditional else f"a {config.family}"
            raise UsageError(f"{subject} needs labels, and data set {dataset.name} has none")
        decided["num_classes"] = dataset.num_classes
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **decided))


def for_worker(config: RunConfig, index: int) -> RunConfig:
    """The configuration of a worker that is not the chief: with a run directory of its own."""
    path, suffix = run_path(config), f"-worker{index}"
    if not path.name.endswith(suffix):
        path = path.with_name(path.name + suffix)
    return dataclasses.replace(config, options=dataclasses.replace(config.options, run_dir=path))


def compiled_model(config: RunConfig, strategy: Any, steps: int) -> ImageModel:
    """The untrained model with its optimizers.

    Args:
        config: the run's configuration, with what the data decides.
        strategy: the distribution strategy, or None.
        steps: steps per epoch, for the learning-rate schedule.
    """
    options = config.options
    schedule = Schedule(
        warmup_steps=round(options.warmup_epochs * steps),
        cosine_steps=options.epochs * steps if options.schedule == "cosine" else None,
        clip_norm=options.clip_norm,
    )
    with scope(strategy):
        model: ImageModel = registry.build_model(config)
        model.compile(
            **model.default_optimizers(options.learning_rate, schedule),
            # Workers cannot share the graph of a loop over several steps.
            steps_per_execution=STEPS_PER_EXECUTION if strategy is None else 1,
        )
    return model


def count_parameters(model: ImageModel) -> int:
    """Number of trainable parameters."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def describe(config: RunConfig) -> str:
    """A table of what would be trained: settings, parameters, steps, estimated memory.

    Raises:
        UsageError: the request is wrong.
    """
    options = config.options
    dataset = load(options.dataset, options.data_dir)
    config = with_data(config, dataset)
    model = registry.build_model(config)
    steps = steps_per_epoch(len(dataset.train), options.batch_size)
    settings = {**config.model.to_json(), **options.to_json()}
    rows = {
        "model": f"{config.family}, preset {options.preset}",
        **{name: value for name, value in settings.items() if name != "preset"},
        "training images": f"{len(dataset.train)}, validation {len(dataset.validation)}",
        "parameters": f"{count_parameters(model):,}",
        "steps": f"{steps} per epoch, {steps * options.epochs:,} in total",
        "memory": f"about {_memory(model, dataset, options.batch_size) / 2**20:.0f} MiB, "
        "and 700 MiB of TensorFlow",
    }
    return "\n".join(f"{name:<28}{value}" for name, value in rows.items())


def _memory(model: ImageModel, dataset: Dataset, batch_size: int) -> int:
    """Estimated memory of a run without TensorFlow itself [bytes]."""
    activations = sum(
        batch_size * math.prod(layer.output.shape[1:])
        for network in model.networks
        for layer in network.layers
    )
    splits = (dataset.train, dataset.validation, dataset.test)
    # Per parameter: value, gradient and Adam's two moments; per activation: value and gradient.
    return (
        4 * 4 * count_parameters(model)
        + 2 * 4 * activations
        + sum(split.images.nbytes for split in splits)
    )
