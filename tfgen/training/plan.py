"""What a run will train: its configuration and the compiled model."""

import dataclasses
import math
from typing import Any

from tfgen import registry
from tfgen.data.dataset import Dataset
from tfgen.data.outline import Outline
from tfgen.errors import UsageError
from tfgen.models.base import ImageModel
from tfgen.nn.optimizers import Schedule
from tfgen.settings.training import RunConfig
from tfgen.training.folder import run_path
from tfgen.training.strategy import scope

# Keras calls into Python once in this many steps; more gains nothing at the length of these steps.
STEPS_PER_EXECUTION = 16
# Images of a batch of the validation.
EVAL_BATCH_SIZE = 500


def with_data(config: RunConfig, dataset: Dataset | Outline) -> RunConfig:
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
