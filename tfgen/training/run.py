"""A run: data, model, callbacks and resumption put together."""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import math
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf
from rich.console import Console

from tfgen import registry
from tfgen.data.dataset import Dataset
from tfgen.data.load import load
from tfgen.data.pipeline import eval_batches, on_host, steps_per_epoch, train_batches
from tfgen.errors import InterruptedRunError, UsageError
from tfgen.models.base import ImageModel
from tfgen.nn import cpu
from tfgen.nn.optimizers import Schedule
from tfgen.settings.model import ConditionalConfig
from tfgen.settings.training import RunConfig
from tfgen.system import machine
from tfgen.training import callbacks, checkpoint
from tfgen.training.folder import RUNS, RunFolder
from tfgen.training.interrupt import InterruptRequest
from tfgen.training.strategy import is_chief, make_strategy, scope, worker_index

EVAL_BATCH_SIZE = 500
# Keras calls into Python once in this many steps; more gains nothing at the length of these steps.
STEPS_PER_EXECUTION = 16


class Run:
    """One run, from its configuration to its trained model.

    Nothing is written before `started`, so whatever may refuse the request can be asked before.

    Args:
        config: everything that determines the run; the image shape and the classes come from the data.
        console: where progress goes.
        notes: further entries of config.json, by name.

    Attributes:
        config: the same, with what the data decides.
        dataset: the data.
        model: the compiled model.
        folder: the run directory.
        is_chief: whether this process is the only one, or the first of several workers.

    Raises:
        UsageError: the request is wrong.
    """

    def __init__(
        self, config: RunConfig, console: Console, notes: Mapping[str, Any] | None = None
    ):
        # Both before TensorFlow touches a device.
        if config.options.deterministic:
            tf.config.experimental.enable_op_determinism()
        if registry.family(config.family).side_by_side:
            cpu.share_cores()
        strategy = make_strategy(config.options.strategy)
        self.console, self.notes = console, dict(notes or {})
        self.dataset = load(config.options.dataset, config.options.data_dir)
        config = with_data(config, self.dataset)
        steps = steps_per_epoch(len(self.dataset.train.images), config.options.batch_size)
        self.is_chief = is_chief(strategy)
        self.config = config if self.is_chief else for_worker(config, worker_index(strategy))
        self.options = self.config.options
        self.name = run_name(self.config)
        self.model = compiled_model(self.config, strategy, steps)
        self.folder = RunFolder(run_path(self.config))
        self._position = callbacks.Position(0, 0, steps)
        self._restored: checkpoint.Checkpoint | None = None
        self._interrupt = InterruptRequest()

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """While it is entered, the run directory belongs to this process, and a signal asks to save and end.

        Raises:
            UsageError: the directory holds another run, or is in use, or the data set is another one.
            WorkError: no checkpoint is sound.
        """
        if not self.options.resume:
            self.folder.create()
        with self.folder.locked(), self._interrupt:
            if self.options.resume:
                self._restore()
            self._write_config()
            self.folder.truncate_metrics(self._position.epoch)
            if self._position.epoch < self.options.epochs:
                # It was of other weights.
                self.folder.evaluation.unlink(missing_ok=True)
            yield

    def train(self) -> None:
        """Trains to the last epoch, from the start or from the newest checkpoint.

        Calls `fit` once an epoch, with that epoch's batches. One call for all epochs would run whole
        groups of `steps_per_execution` past an epoch's end, and could not start inside an epoch.

        Raises:
            WorkError: the training failed.
            InterruptedRunError: a signal ended it; the state is saved.
        """
        self._announce()
        train, held_out = self.dataset.train, self.dataset.validation
        if not self.model.num_classes:
            train, held_out = (dataclasses.replace(s, labels=None) for s in (train, held_out))
        title = f"{self.name}, {self.options.preset}"
        figures = callbacks.Figures(self.folder, self.options.epochs, title, held_out)
        figures.set_model(self.model)
        if self._position.step == 0:
            figures.write_samples(0)
        bar = callbacks.ProgressBar(self._position, self.options.epochs, self.console)
        members = self._callbacks([figures, callbacks.TensorBoard(self.folder), bar])
        validation = eval_batches(held_out.images, held_out.labels, EVAL_BATCH_SIZE)
        images = on_host(train.images)
        labels = None if train.labels is None else on_host(train.labels)
        try:
            with bar.shown():
                for epoch in range(self._position.epoch, self.options.epochs):
                    batches = train_batches(
                        images,
                        labels,
                        batch_size=self.options.batch_size,
                        seed=self.options.seed,
                        start_step=self._position.step,
                    )
                    self.model.fit(
                        batches.take(self._position.steps_per_epoch - self._position.batch),
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
        self._print(f"run directory: {self.folder.path}")

    def restore_best(self) -> Literal["best", "last"]:
        """Gives the model its best weights, where the family has such; which of both it has now."""
        best = checkpoint.read_best(self.folder.checkpoints)
        if best is None:
            return "last"
        best.restore_weights(self.model)
        return "best"

    def _restore(self) -> None:
        checkpoints = self.folder.checkpoints
        self._restored, problems = checkpoint.read_newest(checkpoints)
        for problem in problems:
            self._print(f"{problem}; the checkpoint before it is used")
        expected = self.folder.read_config().get("data", {}).get("fingerprint")
        if expected is not None and expected != self.dataset.fingerprint:
            raise UsageError(
                f"data set {self.dataset.name} is not the one that the run began with; "
                "name the folder of that one with --data-dir"
            )
        if self._restored is not None:
            self._restored.restore(self.model)
            self._position = callbacks.Position(**self._restored.state)

    def _write_config(self) -> None:
        # The command of a resumption does not say what is resumed.
        first_command = self.folder.read_config().get("command") if self.options.resume else None
        dataset = self.dataset
        self.folder.write_config(
            {
                **self.config.to_json(),
                **self.notes,
                "data": {
                    "name": dataset.name,
                    "version": dataset.version,
                    "fingerprint": dataset.fingerprint,
                },
                "versions": package_versions(),
                "machine": machine.describe(),
                "command": first_command or ["tfgen-train", *sys.argv[1:]],
            }
        )

    def _announce(self) -> None:
        position = self._position
        start = "from the start"
        if position.step:
            start = f"from epoch {position.epoch}, step {position.batch}"
        self._print(
            f"{self.name}: {count_parameters(self.model):,} parameters, {self.options.epochs} epochs "
            f"of {position.steps_per_epoch} steps, {start}; run directory {self.folder.path}"
        )

    def _callbacks(self, shown: list[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
        """All of them, in the order in which they must come.

        What an epoch shows comes before its checkpoint: a run that ends in between repeats the epoch, and
        so no picture is left out.
        """
        path = self.folder.path
        advice = f"continue with: tfgen-train {self.config.family} --resume --run-dir {path}"
        return [
            callbacks.Tracking(self._position),
            callbacks.MetricsLog(self.folder, self._position, self.options.epochs, self.console),
            *shown,
            callbacks.Checkpointing(
                self.folder,
                self._position,
                self.options.checkpoint_every,
                self._interrupt,
                self._restored if self._position.batch else None,
                advice,
            ),
        ]

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)


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
        UsageError: the family has no conditional variant, or the data has no labels.
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


def for_worker(config: RunConfig, index: int) -> RunConfig:
    """The configuration of a worker that is not the chief: it has a run directory of its own."""
    path = run_path(config)
    path = path.with_name(f"{path.name}-worker{index}")
    return dataclasses.replace(config, options=dataclasses.replace(config.options, run_dir=path))


def run_path(config: RunConfig) -> Path:
    """The run directory: the one asked for, or a new one named after model and time."""
    if config.options.run_dir is not None:
        return config.options.run_dir
    return RUNS / f"{run_name(config)}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def run_name(config: RunConfig) -> str:
    """The name of the run and of its published sampler."""
    if config.options.name is not None:
        return config.options.name
    return registry.default_name(config.family, config.options.dataset, config.model)


def package_versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on."""
    packages = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy")
    installed = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **installed}


def count_parameters(model: ImageModel) -> int:
    """Number of trainable parameters."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def describe(config: RunConfig) -> str:
    """A table of what would be trained: configuration, parameters, steps, an estimate of memory.

    Raises:
        UsageError: the request is wrong.
    """
    options = config.options
    dataset = load(options.dataset, options.data_dir)
    config = with_data(config, dataset)
    model = registry.build_model(config)
    steps = steps_per_epoch(len(dataset.train.images), options.batch_size)
    parameters = count_parameters(model)
    activations = sum(
        options.batch_size * math.prod(layer.output.shape[1:])
        for network in model.networks
        for layer in network.layers
    )
    splits = (dataset.train, dataset.validation, dataset.test)
    # Weight, gradient and Adam's two moments; each activation and its gradient; the data.
    memory = 4 * 4 * parameters + 2 * 4 * activations + sum(s.images.nbytes for s in splits)
    settings = {**config.model.to_json(), **options.to_json()}
    rows = {
        "model": f"{config.family}, preset {options.preset}",
        **{name: value for name, value in settings.items() if name != "preset"},
        "training images": f"{len(dataset.train)}, validation {len(dataset.validation)}",
        "parameters": f"{parameters:,}",
        "steps": f"{steps} an epoch, {steps * options.epochs:,} in all",
        "memory": f"about {memory / 2**20:.0f} MiB beside TensorFlow's own 700",
    }
    return "\n".join(f"{name:<28}{value}" for name, value in rows.items())
