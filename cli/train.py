"""`tfgen-train`: trains a model and publishes its sampler."""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.settings.fields import Config, option
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system.quiet import import_quietly
from tfgen.training.folder import RunFolder, check_resumable, newest_run, saved_config

from ._command import run_command
from ._flags import Parser, add_flags, read_flags

PROG = "tfgen-train"


@dataclass(frozen=True)
class PublishOptions(Config):
    """What `tfgen-train` does with the trained model."""

    saved_models: Path = option(
        Path("saved_models"), "folder that the sampler is published in"
    )
    publish: bool = option(True, "publish the sampler at the end")
    dry_run: bool = option(False, "print the configuration and its cost, and stop")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    config, options = parse(argv)
    import_quietly("tensorflow_probability", "tfgen.training.run", "tfgen.publishing.export")
    train(config, options)


def train(config: RunConfig, options: PublishOptions) -> None:
    """Trains, and publishes the sampler of the best weights.

    Raises:
        UsageError: the request is wrong.
        WorkError: the training failed.
        InterruptedRunError: a signal ended it; the state is saved.
    """
    from rich.console import Console

    from tfgen.publishing.export import check_publishable, publish
    from tfgen.training.run import Run, describe

    console = Console()
    if options.dry_run:
        console.print(describe(config), highlight=False, soft_wrap=True)
        return
    publishing = {"saved_models": str(options.saved_models), "publish": options.publish}
    run = Run(config, console, {"publishing": publishing})
    publishes = options.publish and run.is_chief
    if publishes:
        # A refusal must come before the training, not after it.
        check_publishable(run.model, options.saved_models, run.name)
    with run.started():
        run.train()
        if publishes:
            weights = run.restore_best()
            path = publish(
                run.model,
                options.saved_models,
                run.name,
                run=run.folder.read_config(),
                weights=weights,
            )
            console.print(f"published {path}; {advice(config.family, path)}", soft_wrap=True)


def advice(family: str, version: Path) -> str:
    """What to do next with a version that was just published in that folder."""
    if registry.family(family).generative:
        return f"look at it with: tfgen-sample {version.parent.name} --n 25"
    return f"judge samples by it with: tfgen-evaluate NAME --classifier {version}"


def parse(argv: list[str]) -> tuple[RunConfig, PublishOptions]:
    """The run's configuration and what becomes of its model, from the arguments.

    `--preset` is read first and gives the other flags their defaults; with `--resume`, the run's own
    settings do.

    Raises:
        UsageError: an argument is wrong.
    """
    first = _first_look(argv)
    if first.model is None:
        _parser(None, {}).parse(argv)  # prints the help, or says what is missing
    entry = registry.family(first.model)
    saved = _saved(entry.name, first.run_dir) if first.resume else None
    if saved is None:
        name = first.preset or entry.default_preset
        preset = entry.preset(name)
        defaults = _values(preset.model) | preset.training() | {"preset": name}
    else:
        defaults = _values(saved.model) | _values(saved.options) | {"resume": False}
        assert saved.options.run_dir is not None
        defaults |= _saved_publishing(saved.options.run_dir)
    namespace = _parser(entry, defaults).parse(argv)
    model, options = (read_flags(namespace, kind) for kind in (entry.config, TrainingOptions))
    config = RunConfig(entry.name, model, options)
    if saved is not None:
        # What comes from the data is no flag.
        decided = [f.name for f in dataclasses.fields(saved.model) if "help" not in f.metadata]
        from_data = {name: getattr(saved.model, name) for name in decided}
        config = dataclasses.replace(config, model=dataclasses.replace(model, **from_data))
        check_resumable(saved, config)
    return config, read_flags(namespace, PublishOptions)


def _saved(family: str, run_dir: Path | None) -> RunConfig:
    """The configuration of the run to resume, with its folder."""
    path = run_dir or newest_run(family)
    saved = saved_config(path)
    return dataclasses.replace(saved, options=dataclasses.replace(saved.options, run_dir=path))


def _saved_publishing(run_dir: Path) -> dict[str, Any]:
    """Where the run to resume was to publish; runs of earlier versions hold it among their options."""
    data = RunFolder(run_dir).read_config()
    saved = data.get("publishing") or data["options"]
    values = {}
    if isinstance(saved.get("saved_models"), str):
        values["saved_models"] = Path(saved["saved_models"])
    if isinstance(saved.get("publish"), bool):
        values["publish"] = saved["publish"]
    return values


def _first_look(argv: list[str]) -> argparse.Namespace:
    """The model, and the flags that decide the defaults of the others."""
    look = Parser(PROG, "", add_help=False, conflict_handler="resolve")
    look.add_argument("model", metavar="MODEL")
    # All flags of all families, so that no flag's value is taken for the model.
    for entry in registry.families():
        add_flags(look, entry.config)
    add_flags(look, PublishOptions)
    add_flags(look, TrainingOptions, {"preset": None})
    try:
        return look.parse_known_args([word for word in argv if word not in ("-h", "--help")])[0]
    except UsageError:
        if {"-h", "--help"} & set(argv):
            return argparse.Namespace(model=None)  # the whole parser prints the help
        raise


def _parser(entry: registry.Family | None, defaults: dict[str, Any]) -> Parser:
    families = registry.families()
    lines = "\n".join(
        f"  {f.name:<6}{f.summary}; presets: {', '.join(f.presets)}" for f in families
    )
    about = f"Train a model and publish its sampler.\n\nmodels:\n{lines}"
    epilog = f"{PROG} MODEL --help shows the model's own flags and its preset's defaults."
    parser = Parser(PROG, about, epilog=epilog)
    names = ", ".join(family.name for family in families)
    parser.add_argument("model", metavar="MODEL", help=f"one of {names}")
    add_flags(parser.add_argument_group("training"), TrainingOptions, defaults)
    add_flags(parser.add_argument_group("publishing"), PublishOptions, defaults)
    if entry is not None:
        title = f"{entry.name} (defaults of this preset)"
        add_flags(parser.add_argument_group(title), entry.config, defaults)
    return parser


def _values(config: Config) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


if __name__ == "__main__":
    raise SystemExit(main())
