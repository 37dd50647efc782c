"""`tfgen-train`: trains a model and publishes its sampler."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tfgen import registry
from tfgen.errors import UsageError, WorkError
from tfgen.settings.family import PRESET_OPTIONS
from tfgen.settings.fields import Config, option
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system.quiet import import_quietly

from ._command import SAVED_MODELS, run_command, suggest_next
from ._flags import Parser, add_flags, align_columns, read_flags

PROG = "tfgen-train"
_TABLE_NOTE = (
    "The first preset of a model is its default. Times are for two CPU cores, results for the test "
    "images of MNIST."
)


@dataclass(frozen=True)
class PublishOptions(Config):
    """What `tfgen-train` does with the trained model."""

    publish: bool = option(True, "publish the sampler at the end")
    saved_models: Path = option(SAVED_MODELS, "folder to publish the sampler in")


@dataclass(frozen=True)
class CommandOptions(Config):
    """What `tfgen-train` does instead of training."""

    dry_run: bool = option(False, "print settings, parameters, steps and memory, and exit")


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
    import_quietly("tensorflow_probability", "tfgen.training.run", "tfgen.publishing.export")
    if request.dry_run:
        from tfgen.training.plan import describe

        print(describe(request.config))
    else:
        train(request.config, request.publishing)


def train(config: RunConfig, options: PublishOptions) -> None:
    """Trains, and publishes the sampler with the best weights.

    Raises:
        UsageError: the request is wrong.
        WorkError: the training failed.
        InterruptedRunError: a signal ended it; the state is saved.
    """
    from rich.console import Console

    from tfgen.publishing.export import check_publishable, publish
    from tfgen.system.terminal import print_line
    from tfgen.training.run import Run

    console = Console()
    run = Run(config, console, {"publishing": options.to_json()})
    publishes = options.publish and run.is_chief
    if publishes:
        # A refusal must come before the training, not after it.
        check_publishable(run.model, options.saved_models, run.name)
    with run.started():
        run.train()
        if publishes:
            weights = run.restore_best()
            version = publish(
                run.model,
                options.saved_models,
                run.name,
                run=run.folder.read_config(),
                weights=weights,
            )
            print_line(console, f"published {version}; {suggest_next(config.family, version)}")


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
    "preset": _SetElsewhere("the first of the model"),
}


def parse(argv: list[str]) -> Request:
    """What the arguments ask for.

    `--preset` is read first and sets the defaults of the other flags. With `--resume`, the settings
    of the run are the defaults.

    Raises:
        UsageError: an argument is wrong.
    """
    first = _read_deciding_flags(argv)
    if first.model is None:
        _parser(None, _UNDECIDED).parse(argv)  # prints the help, or names what is missing
    entry = registry.family(first.model)
    saved = _saved_run(entry.name, first.run_dir) if first.resume else None
    if saved is None:
        name = first.preset or entry.default_preset
        preset = entry.preset(name)
        defaults = _values(preset.model) | preset.training() | {"preset": name}
    else:
        defaults = _values(saved.model) | _values(saved.options) | {"resume": False}
        defaults |= _values(_saved_publishing(saved))
    namespace = _parser(entry, defaults).parse(argv)
    model, options = (read_flags(namespace, kind) for kind in (entry.config, TrainingOptions))
    config = RunConfig(entry.name, model, options)
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
    add_flags(parser, TrainingOptions, {"preset": None})
    try:
        return parser.parse_known_args([word for word in argv if word not in _HELP])[0]
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
    parser = Parser(PROG, f"Train a model of images and publish it.\n\n{table}", epilog=epilog)
    names = ", ".join(family.name for family in families)
    parser.add_argument("model", metavar="MODEL", help=f"one of {names}")
    add_flags(parser, CommandOptions, defaults)
    add_flags(parser.add_argument_group("training"), TrainingOptions, defaults)
    add_flags(parser.add_argument_group("publishing"), PublishOptions, defaults)
    if entry is not None:
        title = f"{entry.name} (defaults of preset {defaults['preset']})"
        add_flags(parser.add_argument_group(title), entry.config, defaults)
    return parser


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
