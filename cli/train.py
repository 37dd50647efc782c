"""`tfgen-train`: trains a model and publishes its sampler."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tfgen import registry
from tfgen.errors import UsageError, WorkError
from tfgen.settings.family import PRESET_OPTIONS
from tfgen.settings.fields import Config, option
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system.quiet import import_quietly, interruptible

from ._command import SAVED_MODELS, run_command, suggest_next
from ._flags import Parser, add_flags, align_columns, read_flags
from ._monitor import sample_monitors

PROG = "tfgen-train"
_TABLE_NOTE = (
    "Without --preset, MNIST is trained with the first preset of a model, and any other data set "
    "with its preset images. Times are for two CPU cores, results for the test images of MNIST."
)


@dataclass(frozen=True)
class PublishOptions(Config):
    """What `tfgen-train` does with the trained model."""

    publish: bool = option(True, "publish the sampler at the end")
    weights: Literal["best", "last"] = option(
        "best",
        "weights to publish: the best by validation, or the last; tfgen-export publishes those of "
        "other epochs, too",
    )
    saved_models: Path = option(SAVED_MODELS, "folder to publish the sampler in")


@dataclass(frozen=True)
class CommandOptions(Config):
    """What `tfgen-train` does instead of training."""

    dry_run: bool = option(
        False, "print settings, parameters, steps, memory and disk space, and exit"
    )


class Request(NamedTuple):
    """What the arguments ask for."""

    config: RunConfig
    publishing: PublishOptions
    dry_run: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    request = parse(argv)
    options = request.config.options
    # The workers of a cluster wait for each other, so all of them start.
    resumes = options.resume and not request.dry_run and options.strategy != "multiworker"
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


def train(config: RunConfig, options: PublishOptions) -> None:
    """Trains, and publishes the sampler.

    Raises:
        UsageError: the request is wrong.
        WorkError: the training failed.
        InterruptedRunError: a signal ended it; the state is saved.
    """
    from rich.console import Console

    from tfgen.publishing.export import check_publishable
    from tfgen.system.status import status
    from tfgen.system.terminal import print_line
    from tfgen.training.plan import epochs_note
    from tfgen.training.run import Run

    console = Console()
    with interruptible():
        run = Run(config, console, {"publishing": options.to_json()})
        publishes = options.publish and run.is_chief
        if run.is_chief and (note := epochs_note(config, run.config, len(run.dataset.train))):
            print_line(console, note)
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


# --- arguments --------------------------------------------------------------------------

_HELP = {"-h", "--help"}


class _SetElsewhere:
    """A default in the help without a model, which no flag can have."""

    def __init__(self, text: str):
        self.text = text

    def __str__(self) -> str:
        return self.text


_UNDECIDED = {
    **dict.fromkeys(PRESET_OPTIONS, _SetElsewhere("set by the preset")),
    "preset": _SetElsewhere("the first of the model for MNIST, images for any other data set"),
}
# The options that count epochs. Where they are the preset's, the data decides.
_EPOCH_OPTIONS = ("epochs", "warmup_epochs")


def parse(argv: list[str]) -> Request:
    """What the arguments ask for.

    `--preset` is read first and sets the defaults of the other flags; without it, the data set
    decides which preset does. With `--resume`, the settings of the run are the defaults.

    Raises:
        UsageError: an argument is wrong.
    """
    first = _read_deciding_flags(argv)
    if first.model is None:
        _parser(None, _UNDECIDED).parse(argv)  # prints the help, or names what is missing
    entry = registry.family(first.model)
    saved = _saved_run(entry.name, first.run_dir) if first.resume else None
    if saved is None:
        name = entry.preset_for(first.dataset) if first.preset is None else first.preset
        preset = entry.preset(name)
        defaults = _values(preset.model) | preset.training() | {"preset": name}
    else:
        defaults = _values(saved.model) | _values(saved.options) | {"resume": False}
        defaults |= _values(_saved_publishing(saved))
    namespace = _parser(entry, defaults).parse(argv)
    model, options = (read_flags(namespace, kind) for kind in (entry.config, TrainingOptions))
    model.check_options()
    unset = tuple(name for name in _EPOCH_OPTIONS if not saved and getattr(first, name) is None)
    config = RunConfig(entry.name, model, options, preset_epochs=unset)
    if saved is not None:
        from tfgen.training.folder import check_resumable

        # What comes from the data is no flag.
        decided = [f.name for f in dataclasses.fields(saved.model) if "help" not in f.metadata]
        from_data = {name: getattr(saved.model, name) for name in decided}
        config = dataclasses.replace(config, model=dataclasses.replace(model, **from_data))
        check_resumable(saved, config)
    dry_run = read_flags(namespace, CommandOptions).dry_run
    return Request(config, read_flags(namespace, PublishOptions), dry_run)


def _saved_run(family: str, run_dir: Path | None) -> RunConfig:
    """The configuration of the run to resume, with its run directory."""
    from tfgen.training.folder import newest_run, saved_config

    path = run_dir or newest_run(family)
    saved = saved_config(path)
    return dataclasses.replace(saved, options=dataclasses.replace(saved.options, run_dir=path))


def _saved_publishing(run: RunConfig) -> PublishOptions:
    """How the run to resume was to be published; earlier versions have this among its options."""
    from tfgen.training.folder import RunFolder

    assert run.options.run_dir is not None
    folder = RunFolder(run.options.run_dir)
    config = folder.read_config()
    saved = config.get("publishing", config["options"])
    names = [field.name for field in dataclasses.fields(PublishOptions)]
    try:
        return PublishOptions.from_json({name: saved[name] for name in names if name in saved})
    except (UsageError, TypeError) as error:
        raise WorkError(f"{folder.config} is damaged: {error}") from error


def _read_deciding_flags(argv: list[str]) -> argparse.Namespace:
    """The model, and the flags that decide the defaults of the others."""
    if set(argv) <= _HELP:
        return argparse.Namespace(model=None)
    parser = Parser(PROG, "", add_help=False, conflict_handler="resolve")
    parser.add_argument("model", metavar="MODEL")
    # All flags of all families, so that no flag's value is taken for the model.
    for entry in registry.families():
        add_flags(parser, entry.config)
    for kind in (CommandOptions, PublishOptions):
        add_flags(parser, kind)
    add_flags(parser, TrainingOptions, dict.fromkeys(("preset", *_EPOCH_OPTIONS)))
    try:
        flags, unknown = parser.parse_known_args([word for word in argv if word not in _HELP])
        if flags.model not in registry.names():
            # The value of a mistyped flag may have been taken for the model.
            parser.check_flags(unknown)
        return flags
    except UsageError:
        if _HELP & set(argv):
            return argparse.Namespace(model=None)  # the whole parser prints the help
        raise


def _parser(entry: registry.Family | None, defaults: Mapping[str, Any]) -> Parser:
    """The parser of one family's flags; of none, the one that prints the help of all families."""
    families = registry.families()
    if entry is None:
        epilog = (
            f"{PROG} MODEL --help shows the flags of that model and the defaults of its preset."
        )
    else:
        epilog = f"{PROG} {entry.name} --preset NAME --help shows the defaults of that preset."
    table = preset_table(families if entry is None else [entry])
    parser = Parser(
        PROG,
        f"Train a model of images and publish it.\n\n{table}",
        help_of=PROG if entry is None else f"{PROG} {entry.name}",
        reasons={} if entry is None else _flags_elsewhere(entry, families),
        epilog=epilog,
    )
    names = ", ".join(family.name for family in families)
    parser.add_argument("model", metavar="MODEL", help=f"one of {names}")
    add_flags(parser, CommandOptions, defaults)
    unconditional = entry is not None and not entry.has_conditional_variant
    training = parser.add_argument_group("training")
    add_flags(training, TrainingOptions, defaults, ("conditional",) if unconditional else ())
    add_flags(parser.add_argument_group("publishing"), PublishOptions, defaults)
    if entry is not None:
        title = f"{entry.name} (defaults of preset {defaults['preset']})"
        add_flags(parser.add_argument_group(title), entry.config, defaults)
    return parser


def _flags_elsewhere(entry: registry.Family, families: Sequence[registry.Family]) -> dict[str, str]:
    """Why `entry` does not have a flag that another family has, by flag."""
    owners: dict[str, list[str]] = {}
    for family in families:
        options = dataclasses.fields(family.config)
        names = [field.name for field in options if "help" in field.metadata]
        names += ["conditional"] if family.has_conditional_variant else []
        for name in names:
            owners.setdefault("--" + name.replace("_", "-"), []).append(family.name)
    return {
        flag: f"{_listed(names)} {'has' if len(names) == 1 else 'have'} it, {entry.name} does not"
        for flag, names in owners.items()
    }


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them: `vae, gan and flow`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def preset_table(families: Sequence[registry.Family]) -> str:
    """The families and their presets, with the training time and what each preset reaches."""
    rows = [("preset", "time", "result", "network")]
    for family in families:
        for name, preset in family.presets.items():
            time = "" if preset.minutes is None else f"{preset.minutes:g} min"
            rows.append((name, time, preset.result, preset.summary))
    heading, *presets = align_columns(rows, right=[1], indent=4)
    titles = align_columns([(family.name, family.summary) for family in families])
    blocks = [heading]
    for family, title in zip(families, titles, strict=True):
        blocks.append("\n".join([title, *presets[: len(family.presets)]]))
        presets = presets[len(family.presets) :]
    table = "\n\n".join(blocks)
    return f"{_TABLE_NOTE}\n\n{table}"


def _values(config: Config) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


if __name__ == "__main__":
    raise SystemExit(main())
