"""A run: data, model, callbacks and resumption put together."""

import contextlib
import math
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from tfgen import registry
from tfgen.data.cache import pixel_folder
from tfgen.data.dataset import Split
from tfgen.data.load import load
from tfgen.data.pipeline import eval_batches, on_host, steps_per_epoch, train_batches
from tfgen.errors import InterruptedRunError, UsageError
from tfgen.nn.cores import share_cores
from tfgen.settings.training import RESUMABLE, RunConfig
from tfgen.system import machine
from tfgen.system.status import status
from tfgen.system.terminal import count_noun, print_line
from tfgen.training import callbacks, checkpoint, cost
from tfgen.training.cluster import (
    SharedInterrupt,
    Task,
    check_alike,
    check_shared,
    exchange,
    read_task,
)
from tfgen.training.folder import RunFolder, add_resumption, count_workers, run_name, run_path
from tfgen.training.interrupt import InterruptRequest
from tfgen.training.plan import (
    compiled_model,
    count_parameters,
    eval_batch_size,
    with_data,
)
from tfgen.training.strategy import make_strategy
from tfgen.training.weights import Weights, read_weights


class Run:
    """One run, from its configuration to its trained model.

    The constructor writes nothing, so a caller can refuse the request before `started`.

    Args:
        config: everything that determines the run, except for what the data decides. Its option
            `start_from` is only noted here: the caller gives `model` those weights.
        console: where progress is printed.
        notes: further entries of config.json, by name.

    Attributes:
        config: the configuration, with what the data decides.
        dataset: the data.
        trained_on: the images to train on.
        name: name of the run and of its published sampler.
        model: the compiled model.
        folder: the run directory.
        task: this process among those that train; only the chief writes to the folder.

    Raises:
        UsageError: the request is wrong.
    """

    def __init__(
        self,
        config: RunConfig,
        console: Console,
        notes: Mapping[str, Any] | None = None,
    ):
        _configure_devices(config)
        self._strategy = strategy = make_strategy(config.options.strategy)
        self.task = read_task() if config.options.strategy == "multiworker" else Task()
        self.console, self.notes = console, dict(notes or {})
        with status(f"loading data set {config.options.dataset}"):
            self.dataset = load(config.options.dataset, config.options.data_dir)
        self.config = with_data(config, self.dataset)
        self.options = self.config.options
        self.name = run_name(self.config)
        self.folder = RunFolder(run_path(self.config))
        if self.task.count > 1:
            check_alike(strategy, self._common)
            # A name with the time differs between the workers.
            self.folder = RunFolder(Path(exchange(strategy, str(self.folder.path))[0]))
        self.trained_on = self.dataset.training_split(self.options.train_on)
        steps = steps_per_epoch(len(self.trained_on), self.options.batch_size)
        if self.task.is_chief:
            with status("estimating memory and disk space"):
                warnings = cost.check(self.config, self.dataset)
            for text in warnings:
                print_line(console, text)
        with status("building the model"):
            self.model = compiled_model(self.config, strategy, steps)
        self._position = callbacks.Position(0, 0, steps)
        self._restored: checkpoint.Checkpoint | None = None
        self._interrupt = InterruptRequest()

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch is done; known within `started`."""
        return self._position.epoch >= self.options.epochs

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """A context that locks the run directory and turns a signal into a request to end.

        A finished run stays as it is on the disk.

        Raises:
            UsageError: the directory holds another run or is in use, or the data set has changed.
            WorkError: no checkpoint is sound.
        """
        with contextlib.ExitStack() as stack:
            if self.task.is_chief:
                if not self.options.resume:
                    self.folder.create()
                stack.enter_context(self.folder.locked())
                checkpoint.remove_unfinished(self.folder.checkpoints)
            stack.enter_context(self._interrupt)
            if self.options.resume:
                self._check_data()
                if self.task.is_chief:
                    self._restore(self._read_newest())
            if self.task.is_chief and not self.is_finished:
                self._write_config()
                self.folder.truncate_metrics(self._position.epoch)
                # It is an evaluation of weights that the training will change.
                self.folder.evaluation.unlink(missing_ok=True)
            if self.task.count > 1:
                self._follow_chief()
            yield

    def _follow_chief(self) -> None:
        """Restores the chief's checkpoint in the other workers."""
        check_shared(self._strategy, self.folder.path)
        name = None if self._restored is None else self._restored.path.name
        name, *_ = exchange(self._strategy, name)
        if name is not None and not self.task.is_chief:
            self._restore(checkpoint.read(self.folder.checkpoints / name))

    @property
    def _common(self) -> dict[str, Any]:
        """What must be equal in all workers."""
        data = self.config.to_json()
        names = data["options"].keys() - {*RESUMABLE} | {"epochs", "resume"}
        options = {name: data["options"][name] for name in names}
        return {
            "model": data["family"],
            **options,
            **data["model"],
            "data set": self.dataset.fingerprint,
            **machine.package_versions(),
        }

    @property
    def _resumption(self) -> str:
        """How to resume the run."""
        place = "in every worker " if self.task.count > 1 else ""
        path = shlex.quote(str(self.folder.path))
        return f"{place}with: tfgen-train {self.config.family} --resume --run-dir {path}"

    def train(self, observers: Sequence[keras.callbacks.Callback] = ()) -> None:
        """Trains to the last epoch, from the start or from the restored checkpoint.

        Call it within `started`. It does nothing if the run is finished.

        Args:
            observers: callbacks that add values to the logs of an epoch. The log of metrics, the
                figures and the choice of the best checkpoint come after them.

        Raises:
            WorkError: the training failed.
            InterruptedRunError: a signal ended it; the state is saved.
        """
        if self.is_finished:
            return
        self._announce()
        tracking = callbacks.Tracking(self._position, self.folder.checkpoints)
        interrupt: Any = self._interrupt
        if self.task.count > 1:
            interrupt = SharedInterrupt(self._strategy, self._interrupt)
        if not self.task.is_chief:
            self._fit([tracking, interrupt])
            return
        title = f"{self.name}, {self.options.preset}"
        # Test images are held out from every run; these pictures decide nothing.
        held_out = self.dataset.validation if self.options.is_validated else self.dataset.test
        pictured, family = self._labelled(held_out), self.config.family
        figures = callbacks.Figures(self.folder, self.options.epochs, title, family, pictured)
        figures.set_model(self.model)
        if self._position.step == 0:
            with status("drawing samples before the training"):
                figures.write_samples(0)
        bar = callbacks.ProgressBar(self._position, self.options.epochs, self.console)
        reports = [figures, callbacks.TensorBoard(self.folder, self.options.epochs), bar]
        try:
            with bar.bar:
                self._fit([tracking, *self._callbacks(observers, reports, interrupt)])
        except InterruptedRunError:
            if self.folder.read_metrics():
                figures.write_curves()
            raise
        print_line(self.console, f"run directory: {self.folder.path}")

    def _labelled(self, split: Split) -> Split:
        """The split as the model takes it: with labels if it has classes."""
        return split if self.model.num_classes else Split(split.images)

    def restore_weights(self, choice: str) -> Weights:
        """Gives the model weights of the run, whose last epoch is done.

        Args:
            choice: `best`, `last` or the number of an epoch; see `read_weights`.

        Returns:
            The weights; the last ones if the run has no best ones.

        Raises:
            UsageError: the run has not kept the weights of that epoch.
            WorkError: the checkpoint is damaged.
        """
        weights = read_weights(self.folder.path, choice)
        assert weights is not None
        weights.checkpoint.restore_weights(self.model)
        return weights

    def _check_data(self) -> None:
        expected = self.folder.read_config().get("data", {}).get("fingerprint")
        if expected is not None and expected != self.dataset.fingerprint:
            raise UsageError(
                f"data set {self.dataset.name} is not the one that the run was started with; "
                "name the folder of that one with --data-dir"
            )

    def _read_newest(self) -> checkpoint.Checkpoint | None:
        with status("reading the checkpoint"):
            restored, problems = checkpoint.read_newest(self.folder.checkpoints)
        for problem in problems:
            print_line(self.console, f"{problem}; the checkpoint before it is used")
        return restored

    def _restore(self, restored: checkpoint.Checkpoint | None) -> None:
        self._restored = restored
        if restored is not None:
            restored.restore(self.model)
            self._position = callbacks.Position(**restored.state)

    def _write_config(self) -> None:
        start = {
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": ["tfgen-train", *sys.argv[1:]],
            "versions": machine.package_versions(),
            "machine": machine.describe(),
            "workers": self.task.count,
        }
        if self.options.resume:
            saved = self.folder.read_config()
            if (before := count_workers(saved)) != self.task.count:
                print_line(
                    self.console,
                    f"the run was saved by {count_noun(before, 'worker')} and continues with "
                    f"{self.task.count}; from here on, it differs from an uninterrupted run",
                )
            self.folder.write_config(add_resumption(saved, self.config.options, self.notes, start))
            return
        data = self.dataset.describe()
        self.folder.write_config({**self.config.to_json(), **self.notes, "data": data, **start})

    def _announce(self) -> None:
        position = self._position
        epochs = count_noun(self.options.epochs, "epoch")
        steps = count_noun(position.steps_per_epoch, "step")
        source = self.options.start_from
        start = "from the start" if source is None else f"from the weights of {source}"
        if position.step:
            start = f"continuing {position.place}"
        if not self.task.is_chief:
            print_line(self.console, f"worker {self.task.number} trains {self.name}, {start}")
            return
        print_line(
            self.console,
            f"{self.name}: {count_parameters(self.model):,} parameters, {epochs} of {steps}, "
            f"{start}; run directory {self.folder.path}",
        )
        if (folder := pixel_folder(self.dataset.train.images)) is not None:
            print_line(self.console, f"images are read from {folder}")

    def _callbacks(
        self,
        observers: Sequence[keras.callbacks.Callback],
        reports: Sequence[keras.callbacks.Callback],
        interrupt: Any,
    ) -> list[keras.callbacks.Callback]:
        """The callbacks of the process that writes, in their order.

        The observers, which add to the logs of an epoch, come before what uses the logs.
        The reports of an epoch come before its checkpoint. A run that is killed between the two
        repeats the epoch, so no report is missing.
        """
        is_alone = self.task.count == 1
        checkpointing = callbacks.Checkpointing(
            self.folder,
            self._position,
            # Several workers save at the ends of epochs, where none of them has metrics to add.
            self.options.checkpoint_every if is_alone else math.inf,
            self.options.keep_every,
            interrupt,
            self._restored,
            f"Resume {self._resumption}",
            self.options.is_validated,
        )
        self._restored = None
        return [
            *observers,
            callbacks.MetricsLog(self.folder, self._position, self.options.epochs, self.console),
            *reports,
            *([] if is_alone else [interrupt]),
            checkpointing,
        ]

    def _fit(self, members: list[keras.callbacks.Callback]) -> None:
        """Calls `fit` once per epoch, with the batches of that epoch.

        A single call would run whole groups of `steps_per_execution` past the end of an epoch, and
        could not start within an epoch.
        """
        train, validation_data = self._labelled(self.trained_on), None
        if self.options.is_validated:
            held_out, size = self._labelled(self.dataset.validation), eval_batch_size(self.config)
            validation_data = eval_batches(held_out.images, held_out.labels, size)
        images = on_host(train.images)
        labels = None if train.labels is None else on_host(train.labels)
        for epoch in range(self._position.epoch, self.options.epochs):
            batches = train_batches(
                images,
                labels,
                batch_size=self.options.batch_size,
                seed=self.options.seed,
                start_step=self._position.step,
                augment=self.options.augment,
            )
            self.model.fit(
                batches.take(self._position.steps_per_epoch - self._position.batch),
                validation_data=validation_data,
                callbacks=members,
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,
                verbose=0,
            )


def _configure_devices(config: RunConfig) -> None:
    """Makes the settings that TensorFlow takes only before it uses a device."""
    if config.options.deterministic:
        tf.config.experimental.enable_op_determinism()
    if registry.family(config.family).side_by_side:
        share_cores()
