"""The one place where a run is put together: data, model, callbacks, resumption, publishing."""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import math
import os
import platform
import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from tfgen import export, machine, registry
from tfgen.config import ConditionalConfig, RunConfig, TrainOptions
from tfgen.data import Dataset, load
from tfgen.data.pipeline import eval_batches, on_host, steps_per_epoch, train_batches
from tfgen.errors import InterruptedRunError, UsageError
from tfgen.models.image_model import ImageModel
from tfgen.optimizers import Schedule
from tfgen.training import callbacks, checkpoint
from tfgen.training.folder import RUNS, RunFolder
from tfgen.training.interrupt import InterruptRequest
from tfgen.training.strategy import make_strategy, scope

EVAL_BATCH_SIZE = 500
# Keras calls into Python once in so many steps; more gains nothing at this step's length.
STEPS_PER_EXECUTION = 16


def train(config: RunConfig, console: Console) -> Path | None:
    """Trains, from the start or from the newest checkpoint, and publishes the sampler.

    Args:
        config: all that makes the run.
        console: where progress goes.

    Returns:
        The published version's folder, or None where nothing is published.

    Raises:
        UsageError: the request is wrong.
        WorkError: the training failed.
        InterruptedRunError: a signal ended it; the state is saved.
    """
    # Both before TensorFlow touches a device.
    if config.options.deterministic:
        tf.config.experimental.enable_op_determinism()
    share_cores(config.family)
    strategy = make_strategy(config.options.strategy)
    dataset = load(config.options.dataset, config.options.data_dir)
    config = with_data(config, dataset)
    if config.options.dry_run:
        console.print(describe(config, dataset), highlight=False, soft_wrap=True)
        return None
    steps = steps_per_epoch(len(dataset.train.images), config.options.batch_size)
    config = for_this_worker(config, strategy)
    # Whatever may refuse the request comes before the run directory is made.
    model = compiled_model(config, strategy, steps)
    if config.options.publish:
        export.check_publishable(model, config.options.saved_models, published_name(config))
    folder = RunFolder(run_path(config))
    if not config.options.resume:
        folder.create()
    with folder.locked(), InterruptRequest() as interrupt:
        return _Run(config, dataset, folder, interrupt, console).go(model)


def share_cores(family: str) -> None:
    """Gives each operation half of the cores where the family's step runs two side by side.

    Nothing is done where there is a GPU, where `TF_NUM_INTRAOP_THREADS` says otherwise, or where TensorFlow
    is in use already.
    """
    if not registry.family(family).side_by_side or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    if tf.config.get_visible_devices("GPU"):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(max(1, cores // 2))


def compiled_model(config: RunConfig, strategy: Any, steps: int) -> ImageModel:
    """The untrained model with its optimizers, in the strategy's scope; `steps` make an epoch."""
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
            # The loop of several steps is no graph that workers can share.
            steps_per_execution=STEPS_PER_EXECUTION if strategy is None else 1,
        )
    return model


def with_data(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The run's configuration with what the data decides: the image shape, the classes.

    Raises:
        UsageError: a conditional model is asked of a family that has none, or the data has no labels.
    """
    decided: dict[str, Any] = {"image_shape": dataset.image_shape}
    generative, conditional = registry.family(config.family).generative, config.options.conditional
    if conditional and not (generative and isinstance(config.model, ConditionalConfig)):
        raise UsageError(f"{config.family} has no conditional variant; leave out --conditional")
    if conditional or not generative:
        if dataset.num_classes is None:
            asking = "--conditional" if conditional else f"a {config.family}"
            raise UsageError(f"{asking} needs labels, and data set {dataset.name} has none")
        decided["num_classes"] = dataset.num_classes
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **decided))


def for_this_worker(config: RunConfig, strategy: Any) -> RunConfig:
    """The chief's configuration as it is; another worker has its own run directory and publishes nothing."""
    resolver = getattr(strategy, "cluster_resolver", None)
    # Without a strategy, or with one of a single process, there is no number.
    if resolver is None or resolver.task_id is None or resolver.task_type == "chief":
        return config
    # Worker 0 is the chief where no task has that name.
    if resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs:
        return config
    path = run_path(config)
    path = path.with_name(f"{path.name}-worker{resolver.task_id}")
    return dataclasses.replace(
        config, options=dataclasses.replace(config.options, run_dir=path, publish=False)
    )


def run_path(config: RunConfig) -> Path:
    """The run directory: the one asked for, or a new one named after model and time."""
    if config.options.run_dir is not None:
        return config.options.run_dir
    return RUNS / f"{published_name(config)}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def published_name(config: RunConfig) -> str:
    """The name that the run's sampler is published under."""
    if config.options.name is not None:
        return config.options.name
    return registry.default_name(config.family, config.options.dataset, config.model)


def versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on."""
    packages = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy")
    found = {"python": platform.python_version()}
    for name in packages:
        found[name] = importlib.metadata.version(name)
    return found


def count_parameters(model: ImageModel) -> int:
    """Numbers that training changes."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def describe(config: RunConfig, dataset: Dataset) -> str:
    """What `--dry-run` prints: configuration, parameters, steps, an estimate of memory."""
    options = config.options
    model = registry.build_model(config)
    steps = steps_per_epoch(len(dataset.train.images), options.batch_size)
    parameters = count_parameters(model)
    lines = [f"{'model':<28}{config.family}, preset {options.preset}"]
    for part in (config.model, options):
        lines += [f"{name:<28}{value}" for name, value in part.to_json().items() if name != "preset"]
    activations = sum(
        options.batch_size * math.prod(layer.output.shape[1:])
        for network in model.networks
        for layer in network.layers
    )
    data = sum(split.images.nbytes for split in (dataset.train, dataset.validation, dataset.test))
    # Weight, gradient and Adam's two moments; each activation and its gradient.
    memory = 4 * 4 * parameters + 2 * 4 * activations + data
    lines += [
        f"{'training images':<28}{len(dataset.train.images)}, validation {len(dataset.validation.images)}",
        f"{'parameters':<28}{parameters:,}",
        f"{'steps':<28}{steps} an epoch, {steps * options.epochs:,} in all",
        f"{'memory':<28}about {memory / 2**20:.0f} MiB beside TensorFlow's own 700",
    ]
    return "\n".join(lines)


class _Run:
    """One run under its lock."""

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        folder: RunFolder,
        interrupt: InterruptRequest,
        console: Console,
    ):
        self.config, self.dataset, self.folder = config, dataset, folder
        self.interrupt, self.console = interrupt, console
        self.options: TrainOptions = config.options
        self.name = published_name(config)

    def go(self, model: ImageModel) -> Path | None:
        restored = self._restored()
        self._check_data()
        steps = steps_per_epoch(len(self.dataset.train.images), self.options.batch_size)
        position = callbacks.Position(0, 0, steps)
        if restored is not None:
            restored.restore(model)
            position = callbacks.Position(**restored.state)
        self._start(model, position)
        self._fit(model, position, restored)
        self.console.print(f"run directory: {self.folder.path}", highlight=False, soft_wrap=True)
        return self._publish(model) if self.options.publish else None

    def _restored(self) -> checkpoint.Checkpoint | None:
        """The checkpoint to go on from; None at the start."""
        if not self.options.resume:
            return None
        restored, problems = checkpoint.read_newest(self.folder.checkpoints)
        for problem in problems:
            self.console.print(f"{problem}; the one before it is used", highlight=False, soft_wrap=True)
        return restored

    def _check_data(self) -> None:
        if self.options.resume:
            expected = self.folder.read_config().get("data", {}).get("fingerprint")
            if expected is not None and expected != self.dataset.fingerprint:
                raise UsageError(f"data set {self.dataset.name} is not the one that the run began with")

    def _start(self, model: ImageModel, position: callbacks.Position) -> None:
        """Writes the configuration, prunes the log to the position, shows what is to come."""
        data = {
            "name": self.dataset.name,
            "version": self.dataset.version,
            "fingerprint": self.dataset.fingerprint,
        }
        # A resumption's own words do not tell what is resumed.
        begun = self.folder.read_config().get("command") if self.options.resume else None
        self.folder.write_config(
            {
                **self.config.to_json(),
                "data": data,
                "versions": versions(),
                "machine": machine.describe(),
                "command": begun or ["tfgen-train", *sys.argv[1:]],
            }
        )
        self.folder.keep_metrics(position.epoch)
        if position.epoch < self.options.epochs:
            # It was of other weights.
            self.folder.evaluation.unlink(missing_ok=True)
        parameters = count_parameters(model)
        begins = f"from epoch {position.epoch}, step {position.batch}" if position.step else "from the start"
        self.console.print(
            f"{self.name}: {parameters:,} parameters, {self.options.epochs} epochs of "
            f"{position.steps_per_epoch} steps, {begins}; run directory {self.folder.path}",
            highlight=False,
            soft_wrap=True,
        )

    def _fit(self, model: ImageModel, position: callbacks.Position, restored: Any) -> None:
        """Calls `fit` once an epoch, each with that epoch's own batches.

        One call for all epochs would run whole groups of `steps_per_execution` past an epoch's end, and could
        not start inside one.
        """
        options = self.options
        train, held_out = self.dataset.train, self.dataset.validation
        if not model.num_classes:
            train, held_out = (dataclasses.replace(split, labels=None) for split in (train, held_out))
        title = f"{self.name}, {options.preset}"
        figures = callbacks.Figures(self.folder, options.epochs, title, held_out)
        figures.set_model(model)
        if position.step == 0:
            figures.write_samples(0)
        bar = callbacks.ProgressBar(position, options.epochs, self.console)
        shown = [figures, callbacks.TensorBoard(self.folder), bar]
        members = self._callbacks(position, restored, shown)
        validation = eval_batches(held_out.images, held_out.labels, EVAL_BATCH_SIZE)
        images, labels = (None if each is None else on_host(each) for each in (train.images, train.labels))
        try:
            with bar.shown():
                for epoch in range(position.epoch, options.epochs):
                    batches = train_batches(
                        images,
                        labels,
                        batch_size=options.batch_size,
                        seed=options.seed,
                        start_step=position.step,
                    )
                    model.fit(
                        batches.take(position.steps_per_epoch - position.batch),
                        validation_data=validation,
                        callbacks=members,
                        initial_epoch=epoch,
                        epochs=epoch + 1,
                        shuffle=False,
                        verbose=0,
                    )
        except InterruptedRunError:
            if self.folder.read_metrics():
                figures.write_curves()
            raise

    def _callbacks(
        self, position: callbacks.Position, restored: Any, shown: list[keras.callbacks.Callback]
    ) -> list[keras.callbacks.Callback]:
        """All of them, in the order in which they must come.

        What an epoch shows comes before its checkpoint: a run that ends in between does the epoch again, and
        so no picture is left out.
        """
        options = self.options
        advice = f"go on with: tfgen-train {self.config.family} --resume --run-dir {self.folder.path}"
        return [
            callbacks.Tracking(position),
            callbacks.MetricsLog(self.folder, position, options.epochs, self.console),
            *shown,
            callbacks.Checkpointing(
                self.folder,
                position,
                options.checkpoint_every,
                self.interrupt,
                restored if position.batch else None,
                advice,
            ),
        ]

    def _publish(self, model: ImageModel) -> Path:
        best = checkpoint.read_best(self.folder.checkpoints)
        if best is not None:
            best.restore_weights(model)
        weights = "last" if best is None else "best"
        path = export.publish(
            model, self.options.saved_models, self.name, run=self.folder.read_config(), weights=weights
        )
        self.console.print(
            f"published {path}; {registry.family(self.config.family).advice(path)}",
            highlight=False,
            soft_wrap=True,
        )
        return path
