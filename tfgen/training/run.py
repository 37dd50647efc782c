"""A run: data, model, callbacks and resumption put together."""

import contextlib
import dataclasses
import math
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from tfgen import registry
from tfgen.data.dataset import Split
from tfgen.data.load import load
from tfgen.data.pipeline import eval_batches, on_host, train_batches
from tfgen.errors import InterruptedRunError, UsageError, WorkError
from tfgen.nn import gpu
from tfgen.settings.training import RunConfig
from tfgen.system import machine
from tfgen.system.signals import InterruptRequest
from tfgen.system.status import status
from tfgen.system.terminal import count_noun, format_minutes, format_value, print_line
from tfgen.training import advice, checkpoint, cluster, plan
from tfgen.training.deadline import Deadline
from tfgen.training.folder import RunFolder, run_name, run_path
from tfgen.training.reports import Reports

# What follows the last epoch, its pictures and the publishing, takes about so many times as long as
# drawing samples the first time.
_PICTURES = 4.0
# Seconds between two readings of the logged values within an epoch.
_READ_EVERY = 0.2
# In float16, this scale of the loss is reached only if some thirty steps overflow in a row.
_LEAST_SCALE = 2.0**-14
# Least epochs without improvement before a plateau is reported.
_LEAST_PLATEAU = 10


@dataclasses.dataclass
class Position:
    """How far a run has come.

    Attributes:
        epoch: completed epochs.
        batch: completed steps of the epoch after them.
        steps_per_epoch: steps of a whole epoch.
        seconds: training time of the incomplete epoch so far.
        first: completed steps when that epoch began; None if all epochs before it were whole.
    """

    epoch: int
    batch: int
    steps_per_epoch: int
    seconds: float = 0.0
    first: int | None = None

    @property
    def step(self) -> int:
        """Completed steps in total."""
        first = self.epoch * self.steps_per_epoch if self.first is None else self.first
        return first + self.batch

    def __str__(self) -> str:
        """The position as messages show it; epochs count from 1."""
        if self.batch == 0:
            return f"after epoch {self.epoch}"
        return f"at epoch {self.epoch + 1}, step {self.batch} of {self.steps_per_epoch}"


class Run:
    """One run, from its configuration to its trained model.

    The constructor writes nothing, so a caller can refuse the request before `started`.

    Args:
        config: everything that determines the run, except for what the data decides. Its option
            `start_from` is only noted here: the caller gives `model` those weights.
        console: where progress is printed.
        notes: further entries of config.json, by name.
        began: `time.monotonic()` when the command began, from which its minutes count; None: now.

    Attributes:
        config: the configuration, with what the data decides.
        dataset: the data.
        trained_on: the images to train on.
        held_out: the validation images, or the test images if the run trains on all; with labels
            if the model has classes.
        name: name of the run and of its published sampler.
        model: the compiled model.
        folder: the run directory.
        position: how far the run has come.
        task: this process among the workers; only the chief writes to the folder.
        deadline: of a run by the clock, once it is `started`; else None.

    Raises:
        UsageError: the request is wrong.
    """

    def __init__(
        self,
        config: RunConfig,
        console: Console,
        notes: Mapping[str, Any] | None = None,
        began: float | None = None,
    ):
        self._began = time.monotonic() if began is None else began
        self._strategy = strategy = plan.prepare_devices(config.options, config.family)
        is_alone = config.options.strategy != "multiworker"
        self.task = cluster.Task() if is_alone else cluster.read_task()
        self.console, self._notes = console, dict(notes or {})
        with status(f"loading data set {config.options.dataset}"):
            self.dataset = load(config.options.dataset, config.options.data_dir)
        self.config = plan.with_data(config, self.dataset)
        self.options = self.config.options
        self.name = run_name(self.config)
        self.folder = RunFolder(run_path(self.config))
        if self.task.workers > 1:
            settings = {**self.options.to_json(), **self.config.model.to_json()}
            settings |= {"model": config.family, "data set": self.dataset.fingerprint}
            cluster.check_alike(strategy, settings | machine.package_versions())
            # A name with the time differs between the workers.
            path, *_ = cluster.exchange(strategy, str(self.folder.path))
            self.folder = RunFolder(Path(path))
        self.trained_on = self.dataset.training_split(self.options.train_on)
        steps = plan.epoch_steps(self.options, self.dataset)
        with status("building the model"):
            self.deadline: Deadline | None = None
            self._share = None
            if self.options.minutes is not None:
                with plan.scope(strategy):
                    self._share = keras.Variable(0.0, trainable=False)
            self.model = plan.compiled_model(self.config, strategy, steps, self._share)
        if self.task.is_chief:
            for text in checkpoint.space_warnings(self.model, self.folder.path):
                print_line(console, text)
        data = self.dataset
        self.held_out = self._labelled(data.validation if self.options.is_validated else data.test)
        self.position = Position(0, 0, steps)
        self._restored: checkpoint.Checkpoint | None = None
        self._interrupt = InterruptRequest()
        self._reports: Reports | None = None
        # When the epoch began, and at which of its steps.
        self._began_at, self._first_batch = 0.0, 0
        # When the last checkpoint was written; the best validated value, and its epoch.
        self._saved_at, self._best, self._best_epoch = time.monotonic(), math.inf, 0
        # What a run by the clock takes for a picture and a validation; whether its steps were told.
        self._picture_seconds, self._validation_seconds, self._is_told = 0.0, 0.0, False
        self._read_at = 0.0  # when logged values were last read

    def _labelled(self, split: Split) -> Split:
        """The split as the model takes it: with labels if it has classes."""
        return split if self.model.num_classes else Split(split.images)

    @property
    def is_finished(self) -> bool:
        """Whether the training is over; known within `started`."""
        if self.deadline is not None:
            return self.deadline.is_over and self.position.batch == 0
        return self.position.epoch >= self.options.epochs

    @property
    def _eval_batch_size(self) -> int:
        return plan.eval_batch_size(self.config, len(self.held_out), self.model.jit_compile)

    @property
    def done(self) -> float:
        """The part of the run that is done, 0…1; known within `started`."""
        if self.deadline is not None:
            return self.deadline.share
        return self.position.step / (self.options.epochs * self.position.steps_per_epoch)

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """A context that locks the run directory and turns a signal into a request to end.

        Raises:
            UsageError: the directory holds another run or is in use, or the data set has changed.
            WorkError: no checkpoint is sound.
        """
        with contextlib.ExitStack() as stack:
            if self.task.is_chief:
                if not self.options.resume:
                    self.folder.create()
                stack.enter_context(self.folder.locked())
                for path in self.folder.checkpoints.glob(f".{checkpoint.TEMPORARY}-*"):
                    shutil.rmtree(path, ignore_errors=True)  # a killed process was writing it
            stack.enter_context(self._interrupt)
            if self.task.is_chief:
                if self.options.resume:
                    self._read_newest()
                minutes, step = self.options.minutes, self.position.step
                if minutes is not None:
                    self.deadline = Deadline(self.folder, minutes, step, self._began)
                if not self.is_finished:
                    self._write_config()
                    # It is an evaluation of weights that the training will change.
                    self.folder.evaluation.unlink(missing_ok=True)
                self.folder.truncate_metrics(self.position.epoch)
            if self.task.workers > 1:
                cluster.check_shared(self._strategy, self.folder.path)
                name = None if self._restored is None else self._restored.path.name
                name, *_ = cluster.exchange(self._strategy, name)
                if name is not None and not self.task.is_chief:
                    self._restore(checkpoint.read(self.folder.checkpoints / name, "last"))
            yield

    def _read_newest(self) -> None:
        """Restore the newest sound checkpoint, and note the best one."""
        expected = self.folder.read_config().get("data", {}).get("fingerprint")
        if expected not in (None, self.dataset.fingerprint):
            raise UsageError(
                f"data set {self.dataset.name} is not the one that the run was started with; "
                "name the folder of that one with --data-dir"
            )
        with status("reading the checkpoint"):
            restored, problems = checkpoint.read_newest(self.folder.checkpoints)
        for problem in problems:
            print_line(self.console, f"{problem}; the checkpoint before it is used")
        if restored is not None:
            self._restore(restored)
        best, problem = checkpoint.recover_best(self.folder.checkpoints)
        if problem:
            print_line(self.console, f"{problem}; a later best one takes its place")
        if best is not None:
            self._best, self._best_epoch = best.state["value"], best.state["epoch"]

    def _restore(self, restored: checkpoint.Checkpoint) -> None:
        restored.restore(self.model, "weights", "optimizers")
        self._restored, self.position = restored, Position(**restored.state)

    def _write_config(self) -> None:
        start = {
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": ["tfgen-train", *sys.argv[1:]],
            "versions": machine.package_versions(),
            "machine": gpu.hardware_record(),
            "xla": bool(self.model.jit_compile),
            "workers": self.task.workers,
        }
        if not self.options.resume:
            data = {"data": {**self.dataset.to_json(), "images": len(self.trained_on)}}
            self.folder.write_config({**self.config.to_json(), **self._notes, **data, **start})
            return
        saved = self.folder.read_config()
        options = {**self.options.to_json(), "resume": False}
        entries = {"options": options, "resumed": [*saved.get("resumed", []), start]}
        self.folder.write_config({**saved, **self._notes, **entries})

    def train(self, observers: Sequence[keras.callbacks.Callback] = ()) -> None:
        """Train to the last epoch, from the start or from the restored checkpoint.

        Call it within `started`. Of a finished run, it draws the samples that a kill left out.

        Args:
            observers: callbacks that add values to the logs of an epoch. The log of metrics, the
                figures and the choice of the best checkpoint come after them.

        Raises:
            WorkError: the training failed.
            InterruptedRunError: a signal ended it; the state is saved.
        """
        position = self.position
        is_drawn = not registry.family(self.config.family).generative or position.batch > 0
        is_drawn = is_drawn or self.folder.samples(position.epoch).exists()
        if self.is_finished and (is_drawn or not self.task.is_chief):
            return
        self._announce()
        with contextlib.ExitStack() as stack:
            if self.task.is_chief:
                self._reports = Reports(self)
                stack.enter_context(self._reports.bar)
                began = time.perf_counter()
                if not is_drawn:
                    self._reports.draw(position.epoch)
                elif self.deadline is not None:
                    self.model.preview()
                self._picture_seconds = time.perf_counter() - began
            self._fit(observers)
        if self.task.is_chief:
            print_line(self.console, f"run directory: {self.folder.path}")

    def _announce(self) -> None:
        source, position = self.options.start_from, self.position
        start = "from the start" if source is None else f"from the weights of {source}"
        if position.step:
            start = f"continuing {position}"
        length = count_noun(self.options.epochs, "epoch")
        if self.deadline is not None:
            minutes = format_minutes(self.deadline.seconds_to_end)
            length = f"published in {minutes} minutes, epochs"
        steps = count_noun(position.steps_per_epoch, "step")
        print_line(
            self.console,
            f"{self.name}: {plan.count_parameters(self.model):,} parameters, {length} of {steps}, "
            f"{start}; run directory {self.folder.path}",
        )

    def _fit(self, observers: Sequence[keras.callbacks.Callback]) -> None:
        """Call `fit` once per epoch, with the batches of that epoch.

        A single call would run whole groups of `steps_per_execution` past the end of an epoch, and
        could not start within an epoch.
        """
        train, validation_data = self._labelled(self.trained_on), None
        if self.options.is_validated:
            size = self._eval_batch_size
            validation_data = eval_batches(self.held_out.images, self.held_out.labels, size)
        images = on_host(train.images)
        labels = None if train.labels is None else on_host(train.labels)
        # For a hook of the validation, Keras reads metrics, which several workers only do together.
        hooks: dict[str, Any] = {}
        if self._reports is not None and self.task.workers == 1:
            hooks["on_test_batch_end"] = self._reports.log_position
        follow = keras.callbacks.LambdaCallback(
            on_epoch_begin=self._begin_epoch, on_train_batch_end=self._follow_steps, **hooks
        )
        if self.deadline is not None:
            self._rehearse()
        if self._reports is not None:
            self._reports.say("compiling a training step")
        while not self.is_finished:
            epoch = self.position.epoch
            batches = train_batches(
                images,
                labels,
                batch_size=self.options.batch_size,
                seed=self.options.seed,
                start_step=self.position.step,
                augment=self.options.augment,
            )
            history = self.model.fit(
                batches.take(self.position.steps_per_epoch - self.position.batch),
                validation_data=validation_data,
                callbacks=[follow, *observers],
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,
                verbose=0,
            )
            logs = {name: values[-1] for name, values in history.history.items()}
            self._end_epoch(self._finite(logs))

    def _rehearse(self) -> None:
        """Take the time of what will follow the last step: validation, pictures, publishing."""
        assert self.deadline is not None and self._reports is not None
        self.deadline.after = _PICTURES * self._picture_seconds
        if not self.options.is_validated:
            return
        self._reports.say("timing a validation")
        size = self._eval_batch_size
        images, labels = self.held_out.images[:size], self.held_out.labels
        batch = eval_batches(images, None if labels is None else labels[:size], size)
        for _ in range(2):  # the first time it is compiled
            began = time.perf_counter()
            self.model.evaluate(batch, verbose=0)
        self._validation_seconds = (time.perf_counter() - began) * len(self.held_out) / size
        self.deadline.after += self._validation_seconds
        if self.deadline.seconds_left < 0:
            minutes = format_minutes(self._validation_seconds)
            text = f"its start and a validation ({minutes}) take longer than --minutes allows"
            print_line(self.console, f"the run will end late, after one step: {text}")

    def _follow_clock(self) -> None:
        """End the epoch when the time of the training is up; say once how many steps it takes."""
        assert self.deadline is not None and self._share is not None
        if self.deadline.move(self.position.step):
            self._share.assign(self.deadline.share)
        if self.deadline.is_over:
            self.model.stop_training = True
        step = self.deadline.step_seconds
        if step and not self._is_told:
            self._is_told = True
            family = self.config.family if self.options.preset == "images" else ""
            steps = self.position.step + self.deadline.seconds_left / step
            text = advice.few_steps(family, self.config.model.image_shape, steps, step)
            if text:
                print_line(self.console, text)

    def _begin_epoch(self, epoch: int, logs: Any = None) -> None:
        """Start the clock, which continues from the time of an interrupted epoch."""
        self._began_at = time.perf_counter() - self.position.seconds
        self._first_batch = self.position.batch
        if self.deadline is not None and self._share is not None:
            self.deadline.begin_epoch()
            self._share.assign(self.deadline.share)
        if self._restored is not None and self.position.batch:
            self._restored.restore(self.model, "metrics")
        self._restored = None

    def _follow_steps(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count the steps; save when it is time to, or when a signal asks the run to end."""
        position = self.position
        position.batch = min(self._first_batch + batch + 1, position.steps_per_epoch)
        if self.deadline is not None:
            self._follow_clock()
        position.seconds = time.perf_counter() - self._began_at
        # Several workers save at the end of an epoch alone, where they have no metrics to add.
        is_due = self.task.workers == 1 and (
            time.monotonic() - self._saved_at > 60 * self.options.checkpoint_every
            or self._interrupt.signum is not None
        )
        # Reading the values waits for the step, which a GPU would compute beside the next ones.
        if is_due or time.monotonic() - self._read_at > _READ_EVERY:
            values, self._read_at = self._finite(logs or {}), time.monotonic()
            if self._reports is not None:
                self._reports.move_bar(values)
        if self.model.stop_training:
            return  # the epoch ends, and its end is saved
        # The end of an epoch is saved after the validation.
        if is_due and position.batch < position.steps_per_epoch:
            self._save()
            self._stop(self._interrupt.signum)

    def _end_epoch(self, values: Mapping[str, float]) -> None:
        """Log the epoch, save the weights to keep and the state, and draw the pictures.

        A run that is killed before the state is saved repeats the epoch. One that is killed after
        it, or ends by a signal, draws the pictures when it is resumed.
        """
        epoch, step = self.position.epoch + 1, self.position.step
        self.position.epoch, self.position.batch = epoch, 0
        if self.position.step != step:  # the time was up
            self.position.first = step
        if self._reports is not None:
            self._reports.write(epoch, values)
            folder, monitor = self.folder.checkpoints, self.model.monitor or ""
            weights = checkpoint.read_arrays(self.model, ("weights",))
            value = values.get(monitor, math.inf)
            if self.options.is_validated and value < self._best:
                self._best, self._best_epoch = value, epoch
                state = {"epoch": epoch, "monitor": monitor, "value": value}
                checkpoint.save(folder, "best", epoch, weights, state)
            self._note_plateau()
            if self.options.keep_every and epoch % self.options.keep_every == 0:
                checkpoint.save(folder, "epoch", epoch, weights, {"epoch": epoch})
            if self.deadline is not None:
                if self.deadline.seconds_left < self._validation_seconds:
                    self.deadline.end(step)
                if self.is_finished:
                    self._note_epochs(epoch)
            self._save()
        signum = self._interrupt.signum
        if self.task.workers > 1:
            signum = next(filter(None, cluster.exchange(self._strategy, signum)), None)
        self._stop(signum)
        if self._reports is not None:
            self._reports.draw(epoch)
            if self.is_finished:
                self._stop(self._interrupt.signum)

    def _note_epochs(self, epochs: int) -> None:
        """Note how many epochs a run by the clock has; from then on, it is like any other."""
        saved = self.folder.read_config()
        self.folder.write_config({**saved, "options": {**saved["options"], "epochs": epochs}})

    def _note_plateau(self) -> None:
        """Say once that the validated value has not improved for a quarter of the run."""
        patience = max(_LEAST_PLATEAU, math.ceil(self.options.epochs / 4))
        if self._best_epoch and self.position.epoch - self._best_epoch == patience:
            print_line(
                self.console,
                f"{self.model.monitor} has not improved for {patience} epochs, since epoch "
                f"{self._best_epoch} ({format_value(self._best)}); Ctrl-C ends the run, and "
                f"tfgen-export {shlex.quote(str(self.folder.path))} publishes the best weights",
            )

    def _save(self) -> None:
        """Save the state."""
        # A new epoch resets the metrics; several workers could only read them together.
        groups = ("weights", "optimizers", *(["metrics"] if self.position.batch else []))
        arrays = checkpoint.read_arrays(self.model, groups)
        state = dataclasses.asdict(self.position)
        checkpoint.save(self.folder.checkpoints, "step", self.position.step, arrays, state)
        self._saved_at = time.monotonic()

    def _stop(self, signum: int | None) -> None:
        """End the run, whose state is saved, if there was a signal."""
        if signum is not None:
            place = "in every worker " if self.task.workers > 1 else ""
            path = shlex.quote(str(self.folder.path))
            raise InterruptedRunError(
                f"interrupted {self.position}; the state is saved. Resume {place}with: "
                f"tfgen-train {self.config.family} --resume --run-dir {path}",
                signum,
            )

    def _finite(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """Logged values as numbers; over several workers they are arrays of equal values.

        A step in float16 that overflows is no failure: the optimizer skips it and lowers the scale
        of the loss. The mean of a logged value then starts anew.

        Raises:
            WorkError: one is not finite.
        """
        values = {name: float(np.ravel(value)[0]) for name, value in logs.items()}
        means = {mean.name: mean for mean in self.model.metrics}
        for name in [name for name, value in values.items() if not math.isfinite(value)]:
            value, optimizers = values.pop(name), self.model.optimizers.values()
            scales = [getattr(optimizer, "dynamic_scale", 0.0) for optimizer in optimizers]
            if name not in means or min(map(float, scales)) < _LEAST_SCALE:
                raise WorkError(
                    f"{name} became {value} in epoch {self.position.epoch + 1}; checkpoints before "
                    f"it are in {self.folder.checkpoints}; try a smaller --learning-rate"
                )
            means[name].reset_state()
        return values
