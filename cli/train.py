"""`tfgen-train`: trains a model and publishes its sampler."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfgen import registry
from tfgen.config import RunConfig, TrainOptions
from tfgen.errors import UsageError
from tfgen.fields import Config
from tfgen.quiet import import_quietly
from tfgen.training.folder import check_resumable, newest_run, saved_config

from ._command import run_command
from ._flags import Parser, add_flags, read_flags

PROG = "tfgen-train"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    config = parse(argv)
    import_quietly("tensorflow_probability", "tfgen.training.run")
    from rich.console import Console

    from tfgen.training.run import train

    train(config, Console())


def parse(argv: list[str]) -> RunConfig:
    """The run's configuration from the arguments.

    `--preset` is read first and gives the other flags their defaults; with `--resume` the run's own settings
    do.

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
        defaults = _values(saved.model) | _values(saved.options) | {"resume": False, "dry_run": False}
    namespace = _parser(entry, defaults).parse(argv)
    asked = RunConfig(entry.name, read_flags(namespace, entry.config), read_flags(namespace, TrainOptions))
    if saved is not None:
        # What comes from the data is no flag.
        decided = [f.name for f in dataclasses.fields(saved.model) if "help" not in f.metadata]
        model = dataclasses.replace(asked.model, **{name: getattr(saved.model, name) for name in decided})
        asked = dataclasses.replace(asked, model=model)
        check_resumable(saved, asked)
    return asked


def _saved(family: str, run_dir: Path | None) -> RunConfig:
    """The configuration of the run to resume, its folder in it."""
    path = run_dir or newest_run(family)
    saved = saved_config(path)
    return dataclasses.replace(saved, options=dataclasses.replace(saved.options, run_dir=path))


def _first_look(argv: list[str]) -> argparse.Namespace:
    """The model, and the flags that decide the others' defaults."""
    look = Parser(PROG, "", add_help=False, conflict_handler="resolve")
    look.add_argument("model", metavar="MODEL")
    # All flags of all families, so that no flag's value is taken for the model.
    for entry in registry.FAMILIES.values():
        add_flags(look, entry.config)
    add_flags(look, TrainOptions, {"preset": None})
    try:
        return look.parse_known_args([word for word in argv if word not in ("-h", "--help")])[0]
    except UsageError:
        if {"-h", "--help"} & set(argv):
            return argparse.Namespace(model=None)  # the whole parser prints the help
        raise


def _parser(entry: registry.Family | None, defaults: dict[str, Any]) -> Parser:
    families = "\n".join(
        f"  {f.name:<6}{f.summary}; presets: {', '.join(f.presets)}" for f in registry.FAMILIES.values()
    )
    about = f"Train a model and publish its sampler.\n\nmodels:\n{families}"
    parser = Parser(
        PROG, about, epilog=f"{PROG} MODEL --help shows the model's own flags and its preset's defaults."
    )
    parser.add_argument("model", metavar="MODEL", help=f"one of {', '.join(registry.FAMILIES)}")
    add_flags(parser.add_argument_group("training"), TrainOptions, defaults)
    if entry is not None:
        add_flags(
            parser.add_argument_group(f"{entry.name} (defaults of this preset)"), entry.config, defaults
        )
    return parser


def _values(config: Config) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


if __name__ == "__main__":
    raise SystemExit(main())
