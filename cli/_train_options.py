"""The arguments of `tfgen-train`."""

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

from ._command import SAVED_MODELS
from ._flags import Parser, add_flags, align_columns, read_flags
from ._ray import RayOptions

PROG = "tfgen-train"
_TABLE_NOTE = (
    "Without --preset, MNIST is trained with the first preset of a model, and any other data set "
    "with the preset images; gan trains stacked_mnist with the preset stacked. Times are for two "
    "CPU cores, results for the test images of MNIST; that of stacked is for its samples."
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
    cluster: RayOptions


HELP = {"-h", "--help"}


class _SetElsewhere:
    """Stands for a default that depends on the model, in the help of all models."""

    def __init__(self, text: str):
        self.text = text

    def __str__(self) -> str:
        return self.text


_UNDECIDED = {
    **dict.fromkeys(PRESET_OPTIONS, _SetElsewhere("set by the preset")),
    "preset": _SetElsewhere("the data set decides"),
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
    first = read_deciding_flags(argv)
    if first.model is None:
        _parser(None, _UNDECIDED).parse(argv)  # prints the help, or names what is missing
    entry = registry.family(first.model)
    saved = saved_run(entry.name, first.run_dir) if first.resume else None
    if saved is None:
        name = entry.preset_for(first.dataset) if first.preset is None else first.preset
        preset = entry.preset(name)
        defaults = _values(preset.model) | preset.training()
        defaults |= {"preset": name, "dataset": preset.dataset}
    else:
        defaults = _values(saved.model) | _values(saved.options) | {"resume": False}
        defaults |= _values(_saved_publishing(saved))
    if (saved.options if saved else first).train_on == "all":
        defaults["weights"] = "last"
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
    publishing = read_flags(namespace, PublishOptions)
    if not options.is_validated and publishing.weights == "best":
        raise UsageError(
            "--weights best means the best by validation, and --train-on all leaves no images to "
            "validate by; leave --weights out to publish the last weights"
        )
    cluster = read_flags(namespace, RayOptions)
    if cluster.ray is not None:
        config = _on_cluster(config, first.strategy)
    return Request(config, publishing, read_flags(namespace, CommandOptions).dry_run, cluster)


def _on_cluster(config: RunConfig, strategy: str | None) -> RunConfig:
    """The configuration with the strategy of Ray's workers."""
    if strategy not in (None, "multiworker"):
        raise UsageError("--ray trains with --strategy multiworker; leave --strategy out")
    options = dataclasses.replace(config.options, strategy="multiworker")
    return dataclasses.replace(config, options=options)


def saved_run(family: str, run_dir: Path | None) -> RunConfig:
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


def read_deciding_flags(argv: list[str]) -> argparse.Namespace:
    """The model, and the flags that decide the defaults of the others."""
    if set(argv) <= HELP:
        return argparse.Namespace(model=None)
    parser = Parser(PROG, "", add_help=False, conflict_handler="resolve")
    parser.add_argument("model", metavar="MODEL")
    # All flags of all families, so that no flag's value is taken for the model.
    for entry in registry.families():
        add_flags(parser, entry.config)
    for kind in (CommandOptions, PublishOptions, RayOptions):
        add_flags(parser, kind)
    add_flags(parser, TrainingOptions, dict.fromkeys(("preset", "strategy", *_EPOCH_OPTIONS)))
    try:
        flags, unknown = parser.parse_known_args([word for word in argv if word not in HELP])
        if flags.model not in registry.names():
            # The value of a mistyped flag may have been taken for the model.
            parser.check_flags(unknown)
        return flags
    except UsageError:
        if HELP & set(argv):
            return argparse.Namespace(model=None)  # the whole parser prints the help
        raise


def _parser(entry: registry.Family | None, defaults: Mapping[str, Any]) -> Parser:
    """A parser for the flags of one family, or for the help of all families."""
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
    unconditional = entry is not None and not entry.conditional
    training = parser.add_argument_group("training")
    add_flags(training, TrainingOptions, defaults, ("conditional",) if unconditional else ())
    add_flags(training, RayOptions)
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
        names += ["conditional"] if family.conditional else []
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
