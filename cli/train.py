"""`tfgen-train`: trains a model and publishes it."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.publishing.versions import check_name, find_run
from tfgen.settings.training import RunConfig
from tfgen.system.quiet import import_quietly, interruptible
from tfgen.system.status import status
from tfgen.system.terminal import count_noun, print_line
from tfgen.training import checkpoint
from tfgen.training.deadline import Deadline
from tfgen.training.folder import RunFolder, run_name, run_path

from ._command import discard_output, run_command, suggest_next
from ._train_options import PROG, PublishOptions, Request, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    began = time.monotonic()
    return run_command(PROG, parse, lambda request: _run_request(request, began), argv)


def _run_request(request: Request, began: float) -> None:
    config, publishing = request.config, request.publishing
    check_name(run_name(config) if publishing.publish else config.options.name or "default")
    if request.dry_run:
        *_, cost = import_quietly("tensorflow_probability", "tfgen.training.cost")
        print(cost.cost_table(config))
        return
    if config.options.resume and (message := nothing_to_do(config, publishing)):
        # No failure: the state that the command asks for is there.
        print(message)
        return
    if config.options.strategy == "multiworker":
        # TensorFlow's messages about a lost worker would surround the one line about it.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if request.cluster.ray is not None:
        from ._train_ray import train_on_ray

        train_on_ray(train, config, publishing, request.cluster)
        return
    if "tensorflow" not in sys.modules and not sys.stdout.isatty():
        print("starting TensorFlow", flush=True)
    import_quietly("tensorflow_probability", "tfgen.training.run", "tfgen.publishing.export")
    train(config, publishing, began)


def nothing_to_do(config: RunConfig, options: PublishOptions) -> str | None:
    """What to say of a run that is trained and published already; None if there is work to do.

    A run that was killed between its training and its publishing still has to be published.

    Args:
        config: the configuration of a resumption, with the run directory.
        options: where it is to be published, if at all.

    Raises:
        WorkError: no checkpoint is sound.
    """
    folder, epochs = RunFolder(run_path(config)), config.options.epochs
    newest, _ = checkpoint.read_newest(folder.checkpoints)
    if newest is None or newest.state["epoch"] < epochs:
        return None
    if (minutes := config.options.minutes) is not None:
        step = int(newest.path.name.partition("-")[2])
        if not Deadline(folder, minutes, step, began=0.0).is_over:
            return None
    run, done, place = folder.read_record(), newest.state["epoch"], ""
    # Else the request is for fewer epochs than the run has done, or was to do.
    if options.publish and epochs == done == run["options"].get("epochs"):
        version = find_run(run, run_name(config), options.saved_models)
        if version is None:
            return None
        place = f", and is published as {version}"
    elif registry.family(config.family).generative and not folder.samples(done).exists():
        return None  # it was killed while it drew its pictures
    text = f"nothing to do: {folder.path} has {count_noun(done, 'epoch')}{place}"
    return f"{text}; a larger --epochs continues it"


def train(config: RunConfig, options: PublishOptions, began: float | None = None) -> None:
    """Train, and publish the sampler; of several workers, the chief publishes.

    Args:
        config: the configuration of the run.
        options: where it is published, if at all.
        began: `time.monotonic()` when the command began, from which its minutes count.

    Raises:
        UsageError: the request is wrong.
        WorkError: the training failed.
        InterruptedRunError: a signal ended it; the state is saved.
    """
    from rich.console import Console

    from tfgen.publishing.export import check_publishable
    from tfgen.publishing.opening import starting_model
    from tfgen.training.cluster import losses_named
    from tfgen.training.plan import notes
    from tfgen.training.run import Run

    console = Console()
    console.on_broken_pipe = _end_as_ctrl_c  # type: ignore[method-assign]
    with losses_named(config.options.strategy):
        with interruptible():
            run = Run(config, console, {"publishing": options.to_json()}, began)
            for note in notes(config, run.config, run.dataset):
                print_line(console, note)
            source = run.options.start_from
            if source is not None and not checkpoint.newest_first(run.folder.checkpoints, "step"):
                with status(f"reading the weights of {source}"):
                    run.model.start_from(starting_model(source))
            publishes = options.publish and run.task.is_chief
            if publishes:
                # A refusal must come before the training, not after it.
                with status("checking what will be published"):
                    check_publishable(run.model, options.saved_models, run.name)
        with run.started():
            if run.is_finished and publishes:
                print_line(console, f"{run.folder.path} is trained, but not published yet")
            weights = options.weights if publishes else None
            run.train(sample_monitors(run, console, weights) if run.task.is_chief else ())
            if publishes:
                if not console.is_terminal:
                    print_line(console, f"publishing {run.name}")
                print_line(console, publish_run(run, options))


def sample_monitors(run: Any, console: Any, weights: str | None) -> list[Any]:
    """The callbacks that compare samples with validation images, if the family uses them.

    If the images cannot be compared, prints so: the run then has no best checkpoint. Neither has a
    run that trains on the validation images, but its samples are compared with them.

    Args:
        run: a `tfgen.training.run.Run` that is started.
        console: where warnings are printed.
        weights: the weights to publish, `best` or `last`; None publishes nothing.
    """
    from tfgen.models.generative import SAMPLE_DISTANCE

    if run.model.monitor != SAMPLE_DISTANCE or run.is_finished:
        return []
    from tfgen.callbacks import SampleMonitor

    def warn(message: str, best_epoch: int | None) -> None:
        future = "kept and will be published" if weights == "best" else "kept"
        best = f"The best weights so far, of epoch {best_epoch}, are {future}"
        advice = f"then tfgen-export {shlex.quote(str(run.folder.path))} publishes them"
        if not run.options.is_validated:
            best = "A run with --train-on all keeps no best weights"
            advice = "with --keep-every, a new one keeps earlier weights"
        print_line(console, f"warning: {message}. {best}. Ctrl-C stops the run; {advice}")

    validation = run.dataset.validation
    labels = validation.labels if run.model.num_classes else None
    try:
        known = {"earlier": run.folder.read_metrics(), "held_out": run.options.is_validated}
        monitor = SampleMonitor(validation.images, labels, warn=warn, **known)
    except UsageError as error:
        publishing = ", and its last weights are published" if weights == "best" else ""
        print_line(console, f"samples are not compared with validation images: {error}")
        if run.options.is_validated:
            print_line(console, f"so the run has no best checkpoint{publishing}")
        return []
    scale = "samples like validation images have 0, copies of their mean image 1"
    print_line(console, f"val_distance: {scale}; diversity: 1 is that of validation images")
    return [monitor]


def _end_as_ctrl_c() -> None:
    """End a training whose reader, such as `head`, has ended: its state is saved."""
    discard_output()
    signal.raise_signal(signal.SIGINT)


def publish_run(run: Any, options: PublishOptions) -> str:
    """Publish weights of a run; return what to say of it.

    The text has a line about the version before it if the two were not trained alike, and one
    about the shipped version if there is one.
    """
    from tfgen.publishing import export, listing, versions

    before = versions.newest(run.name, options.saved_models)
    with status("publishing"):
        weights = checkpoint.read_weights(run.folder.path, options.weights)
        assert weights is not None  # the run is finished
        weights.restore(run.model, "weights")
        about: Any = {"run": run.folder.read_record(), "origin": weights.origin}
        about["weights"] = weights.name
        version = export.publish(run.model, options.saved_models, run.name, **about)
    lines = [f"published {version} from {weights}; {suggest_next(run.config.family, version)}"]
    after = versions.Version.at(version)
    if before is not None:
        lines.insert(0, listing.difference(before, after))
    lines.append(listing.shipped_advice(after))
    return "\n".join(filter(None, lines))
