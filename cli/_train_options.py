"""The arguments of `tfgen-train`."""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.settings.family import PRESET_OPTIONS
from tfgen.settings.fields import Config, option
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.training.deadline import minutes_used
from tfgen.training.folder import RunFolder, check_resumable, newest_run, saved_config

from . import _flags
from ._command import SAVED_MODELS

PROG = "tfgen-train"
_TABLE_NOTE = (
    "Without --preset, MNIST gets the first preset of a model, stacked_mnist the preset stacked, "
    "and any other data set the preset images. Times are for two CPU cores, results for the test "
    "images of MNIST; that of stacked is for its samples."
)


@dataclass(frozen=True)
class PublishOptions(Config):
    """What `tfgen-train` does with the trained model."""

    publish: bool = option(True, "publish the model at the end")
    weights: Literal["best", "last"] = option(
        "best", "weights to publish: the best by validation, or the last"
    )
    saved_models: Path = option(SAVED_MODELS, "folder to publish the model in")


@dataclass(frozen=True)
class PlanOptions(Config):
    """Whether only what a training would take is printed."""

    dry_run: bool = option(False, "print settings, steps, time, memory, disk space, and exit")


class Request(NamedTuple):
    """What the arguments ask for."""

    config: RunConfig
    publishing: PublishOptions
    dry_run: bool
    cluster: _flags.RayOptions


HELP = {"-h", "--help"}
# The options that count epochs. Where they are the preset's, the data decides.
_EPOCH_OPTIONS = ("epochs", "warmup_epochs")
# Defaults that depend on the model, in the help of all models. A tuple prints as its text, and
# argparse would convert a text to the type of the flag.
_UNDECIDED = dict.fromkeys(PRESET_OPTIONS, ("set by the preset",))
_UNDECIDED["preset"] = ("the data set decides",)


def parse(argv: list[str]) -> Request:
    """What the arguments ask for.

    `--preset` is read first and sets the defaults of the other flags; without it, the data set
    decides which preset does. With `--resume`, the settings of the run are the defaults.

    Raises:
        UsageError: an argument is wrong.
    """
    entry = _find_family(argv)
    # Whatever decides the defaults of other flags.
    undecided = dict.fromkeys(("preset", "strategy", "minutes", *_EPOCH_OPTIONS))
    first = _parser(entry, undecided).parse([word for word in argv if word not in HELP])
    if first.model != entry.name:  # a value of a flag before it is the name of a model, too
        raise UsageError(f"pass the model first, as in {PROG} {first.model} --epochs 3")
    saved = None
    if first.minutes is not None and first.epochs is not None:
        raise UsageError("--minutes and --epochs both set the length of the run; leave one out")
    if first.resume:
        folder = RunFolder(first.run_dir or newest_run(entry.name))
        saved = saved_config(folder.path)
        defaults = _flags.flag_values(saved.model) | vars(saved.options)
        defaults |= {"run_dir": folder.path, "resume": False}
        defaults |= vars(PublishOptions.from_json(folder.read_config().get("publishing", {})))
    else:
        name = first.preset or entry.preset_for(first.dataset, first.minutes is not None)
        preset = entry.preset(name)
        defaults = _flags.flag_values(preset.model) | preset.training()
        defaults |= {"preset": name, "dataset": preset.dataset}
    if (saved.options if saved else first).train_on == "all":
        defaults["weights"] = "last"
    flags = vars(_parser(entry, defaults).parse(argv))
    if saved is not None:
        flags = _flags.flag_values(saved.model) | flags  # what comes from the data is no flag
    if saved is not None and first.epochs is not None:
        flags["minutes"] = None
    elif saved is not None and first.minutes is not None:
        flags["minutes"] += minutes_used(folder)
    namespace = argparse.Namespace(**flags)
    model = _flags.read_flags(namespace, entry.config)
    options = _flags.read_flags(namespace, TrainingOptions)
    model.check_options()
    unset = tuple(name for name in _EPOCH_OPTIONS if not saved and getattr(first, name) is None)
    config = RunConfig(entry.name, model, options, preset_epochs=unset)
    if saved is not None:
        check_resumable(saved, config)
    publishing = _flags.read_flags(namespace, PublishOptions)
    if not options.is_validated and publishing.weights == "best":
        text = "--weights best needs validation images, and --train-on all leaves none"
        raise UsageError(f"{text}; leave out one of the two flags")
    cluster = _flags.read_flags(namespace, _flags.RayOptions)
    if cluster.ray is not None:
        if first.strategy not in (None, "multiworker"):
            raise UsageError("--ray trains with --strategy multiworker; leave --strategy out")
        options = replace(options, strategy="multiworker")
        config = replace(config, options=options)
    if options.minutes is not None and options.strategy == "multiworker":
        raise UsageError("--minutes cannot be used with several workers; pass --epochs instead")
    return Request(config, publishing, namespace.dry_run, cluster)


def _find_family(argv: Sequence[str]) -> registry.Family:
    """The family that the arguments name; prints the help of all if that is asked for.

    Raises:
        UsageError: they name none.
    """
    if argv and not argv[0].startswith("-"):
        return registry.family(argv[0])
    names = registry.names()
    name = next((word for word in argv if word in names), None)
    return registry.family(name or _parser(None, _UNDECIDED).parse(list(argv)).model)


def _parser(entry: registry.Family | None, defaults: Mapping[str, Any]) -> _flags.Parser:
    """A parser for the flags of one family, or for the help of all families."""
    families = registry.families()
    names = ", ".join(family.name for family in families)
    command = PROG if entry is None else f"{PROG} {entry.name}"
    epilog = f"{command} --preset NAME --help shows the defaults of that preset."
    if entry is None:
        epilog = f"{PROG} MODEL --help shows the flags of that model."
    table = preset_table(families if entry is None else [entry])
    description = f"Train a model of images and publish it.\n\n{table}"
    parser = _flags.Parser(PROG, description, help_of=command, epilog=epilog)
    parser.add_argument("model", metavar="MODEL", help=f"one of {names}")
    _flags.add_flags(parser, PlanOptions)
    hidden = ("conditional",) if entry is not None and not entry.conditional else ()
    training = parser.add_argument_group("training")
    _flags.add_flags(training, TrainingOptions, defaults, hidden)
    _flags.add_flags(training, _flags.RayOptions)
    _flags.add_flags(parser.add_argument_group("publishing"), PublishOptions, defaults)
    if entry is not None:
        reserved = {*hidden, *(action.dest for action in parser._actions)}
        if taken := [f.name for f in fields(entry.config) if _flags.destination(f) in reserved]:
            text = f"{PROG} has flags of its own for {', '.join(taken)}; rename these fields"
            raise UsageError(f"{text} of {entry.config.__name__}")
        title = f"{entry.name} (defaults of preset {defaults['preset']})"
        _flags.add_flags(parser.add_argument_group(title), entry.config, defaults)
    return parser


def preset_table(families: Sequence[registry.Family]) -> str:
    """The families and their presets, with the training time and what each preset reaches."""
    rows = [("preset", "time", "result", "network")]
    for family in families:
        for name, preset in family.presets.items():
            time = "" if preset.minutes is None else f"{preset.minutes:g} min"
            rows.append((name, time, preset.result, preset.summary))
    heading, *lines = _flags.align_columns(rows, right=[1], indent=4)
    titles = _flags.align_columns([(family.name, family.summary) for family in families])
    presets, blocks = iter(lines), [_TABLE_NOTE, heading]
    for family, title in zip(families, titles, strict=True):
        blocks.append("\n".join([title, *itertools.islice(presets, len(family.presets))]))
    return "\n\n".join(blocks)
