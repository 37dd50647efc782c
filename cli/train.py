"""`tfgen-train`: trains a model and publishes its sampler."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfgen.settings.training import RunConfig
from tfgen.system.quiet import import_quietly, interruptible

from ._command import run_command, suggest_next
from ._monitor import sample_monitors
from ._train_options import PROG, PublishOptions, parse, read_deciding_flags, saved_run
from ._train_ray import ray_options, train_on_ray
from ._workers import Welcome, cluster_of, compare, gather, join, start_crew


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    launcher, argv = ray_options(argv)
    if launcher.ray is None and (cluster := cluster_of(argv)) is not None:
        from tfgen.training.crew import leave

        together = _train_as_chief if cluster.task.is_chief else _train_as_worker
        leave(run_command(PROG, lambda words: together(words, cluster), argv))
    request = parse(argv)
    if launcher.ray is not None and not request.dry_run:
        train_on_ray(argv, request.config, launcher)
    options = request.config.options
    resumes = options.resume and not request.dry_run
    if resumes and (message := nothing_to_do(request.config, request.publishing)):
        # No failure: the state that the command asks for is there.
        print(message)
        return
    if request.dry_run:
        import_quietly("tensorflow_probability", "tfgen.training.cost")
        from tfgen.training.cost import describe

        publishing = request.publishing
        print(describe(request.config, publishing.saved_models if publishing.publish else None))
        return
    import_quietly("tensorflow_probability", "tfgen.training.run", "tfgen.publishing.export")
    train(request.config, request.publishing)


def _train_as_chief(argv: list[str], cluster: Any) -> None:
    """Trains as the process that writes for all others."""
    minutes = read_deciding_flags(argv).wait_minutes
    with start_crew(PROG, cluster) as crew:
        request = parse(argv)
        config, saved = request.config, None
        message, is_trained = None, False
        if config.options.resume:
            message = nothing_to_do(config, request.publishing)
            is_trained = message is not None or _is_trained(config)
            saved = saved_run(config.family, config.options.run_dir)
        gather(crew, config, Welcome(saved, is_trained), minutes)
        if is_trained:
            crew.release()
        if message is not None:
            print(message)
            crew.finish(message)
            return
        import_quietly("tensorflow_probability", "tfgen.training.run", "tfgen.publishing.export")
        if is_trained:
            # Only the sampler is missing, which the chief publishes alone.
            alone = dataclasses.replace(config.options, strategy="none")
            train(dataclasses.replace(config, options=alone), request.publishing)
        else:
            train(config, request.publishing, crew)
        crew.finish("the chief has finished")


def _train_as_worker(argv: list[str], cluster: Any) -> None:
    """Trains as a process that is not the chief, and writes nothing."""
    first = read_deciding_flags(argv)
    with start_crew(PROG, cluster) as crew:
        welcome = join(crew, first.resume, first.wait_minutes)
        if not welcome.is_trained:
            request = parse(argv, welcome.saved)
            compare(crew, request.config)
            import_quietly("tensorflow_probability", "tfgen.training.run")
            from rich.console import Console

            from tfgen.training.run import Run

            run = Run(request.config, Console(), crew=crew)
            with run.started():
                run.train()
        crew.receive("trained")
        print(f"{cluster.task} has finished: {crew.await_end()}")


def _is_trained(config: RunConfig) -> bool:
    """Whether the run to resume has all its epochs."""
    from tfgen.training import checkpoint
    from tfgen.training.folder import RunFolder

    assert config.options.run_dir is not None
    newest, _ = checkpoint.read_newest(RunFolder(config.options.run_dir).checkpoints)
    return newest is not None and newest.state["epoch"] >= config.options.epochs


def nothing_to_do(config: RunConfig, options: PublishOptions) -> str | None:
    """What to say of a run that is trained and published already; None if there is work to do.

    A run that was killed between its training and its publishing still has to be published.

    Args:
        config: the configuration of a resumption, with the run directory.
        options: where it is to be published, if at all.

    Raises:
        WorkError: no checkpoint is sound.
    """
    import shlex

    from tfgen.publishing.versions import find_run
    from tfgen.system.terminal import count_noun
    from tfgen.training import checkpoint
    from tfgen.training.folder import RunFolder, run_name

    assert config.options.run_dir is not None
    folder, epochs = RunFolder(config.options.run_dir), config.options.epochs
    newest, _ = checkpoint.read_newest(folder.checkpoints)
    if newest is None or newest.state["epoch"] < epochs:
        return None
    run, done = folder.read_record(), newest.state["epoch"]
    advice = f"to publish it: tfgen-export {shlex.quote(str(folder.path))}"
    # Else the request is for fewer epochs than the run has done, or was to do.
    if options.publish and epochs == done == run["options"].get("epochs"):
        version = find_run(run, run_name(config), options.saved_models)
        if version is None:
            return None
        advice = f"it is published as {version}"
    text = f"nothing to do: {folder.path} has {count_noun(done, 'epoch')}; {advice}"
    return f"{text}; a larger --epochs continues it"


def train(config: RunConfig, options: PublishOptions, crew: Any = None) -> None:
    """Trains, and publishes the sampler.

    Args:
        config: the configuration of the run.
        options: where it is published, if at all.
        crew: the `Crew` of which this process is the chief, or None.

    Raises:
        UsageError: the request is wrong.
        WorkError: the training failed.
        InterruptedRunError: a signal ended it; the state is saved.
    """
    from rich.console import Console

    from tfgen.publishing.export import check_publishable
    from tfgen.publishing.opening import starting_model
    from tfgen.system.status import status
    from tfgen.system.terminal import print_line
    from tfgen.training import checkpoint
    from tfgen.training.plan import epochs_note, train_on_note
    from tfgen.training.run import Run

    console = Console()
    with interruptible():
        run = Run(config, console, {"publishing": options.to_json()}, crew)
        notes = (
            epochs_note(config, run.config, len(run.trained_on)),
            train_on_note(run.options, run.dataset),
        )
        for note in filter(None, notes):
            print_line(console, note)
        source = run.options.start_from
        if source is not None and not checkpoint.step_folders(run.folder.checkpoints):
            with status(f"reading the weights of {source}"):
                run.model.start_from(starting_model(source))
        publishes = options.publish
        if publishes:
            # A refusal must come before the training, not after it.
            with status("checking what will be published"):
                check_publishable(run.model, options.saved_models, run.name)
    with run.started():
        if run.is_finished and publishes:
            # Another process may have published it before this one had the lock.
            if message := nothing_to_do(run.config, options):
                print_line(console, message)
                return
            print_line(console, f"{run.folder.path} is trained, but not published yet")
        run.train(sample_monitors(run, console, options.weights if publishes else None))
        if crew is not None:
            crew.release()
        if publishes:
            print_line(console, publish(run, options))


def publish(run: Any, options: PublishOptions) -> str:
    """Publishes weights of a run; returns what to say of it.

    The text has a line about the version before it if the two were not trained alike.
    """
    from tfgen.publishing import export, listing, versions
    from tfgen.system.status import status

    before = versions.newest(run.name, options.saved_models)
    with status("publishing"):
        weights = run.restore_weights(options.weights)
        version = export.publish(
            run.model,
            options.saved_models,
            run.name,
            run=run.folder.read_record(),
            weights=weights.name,
            origin=weights.origin,
        )
    published = f"published {version} from {weights}; {suggest_next(run.config.family, version)}"
    difference = "" if before is None else listing.difference(before, versions.Version.at(version))
    return f"{difference}\n{published}" if difference else published


if __name__ == "__main__":
    raise SystemExit(main())
