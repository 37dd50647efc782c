"""Command-line flags from the fields of a dataclass, help texts, and errors of one line.

argparse rather than tyro: tyro reports a wrong value in a box of several lines, and its public
interface offers nothing else.
"""

import argparse
import dataclasses
import inspect
import itertools
import shutil
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tfgen import __version__, registry
from tfgen.errors import UsageError
from tfgen.settings import fields as settings

# Help is as wide as the terminal, but not wider than this: longer lines are hard to read.
MAX_WIDTH = 100
# Least width of a table's last column, even if the lines then exceed the terminal.
_MIN_TEXT_WIDTH = 20
# What flags begin with; the longer ones come from formatted text that was copied.
_DASHES = ("-", "–", "—")


def help_width() -> int:
    """Width of help texts in columns."""
    return max(min(shutil.get_terminal_size().columns, MAX_WIDTH) - 2, _MIN_TEXT_WIDTH)


def align_columns(
    rows: Sequence[Sequence[str]], right: Sequence[int] = (), indent: int = 2
) -> list[str]:
    """The rows of a table whose last column is wrapped to the width of the terminal.

    Args:
        rows: rows of cells; all rows have the same number of cells.
        right: the columns that are aligned to the right.
        indent: spaces before each row.

    Returns:
        The text of each row, of one or several lines.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    start = indent + sum(width + 2 for width in widths)
    text_width = max(help_width() - start, _MIN_TEXT_WIDTH)
    texts = []
    for *cells, text in rows:
        aligned = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        first, *rest = _wrap(text, text_width) or [""]
        lines = [(" " * indent + "  ".join([*aligned, first])).rstrip()]
        texts.append("\n".join([*lines, *(" " * start + line for line in rest)]))
    return texts


def _wrap(text: str, width: int) -> list[str]:
    # Flags and compound words stay whole.
    return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class HelpFormatter(argparse.HelpFormatter):
    """Wraps paragraphs, but leaves a paragraph with indented lines, such as a table, as it is."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=28, width=help_width())

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if "\n " in f"\n{paragraph}" else "\n".join(_wrap(paragraph, width))
            for paragraph in paragraphs
        )

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrap(text, width)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` instead of printing usage and exiting.

    `--version` prints the version of tfgen; of a command with a flag of that name, only if it is
    the only argument.

    Args:
        prog: the console script's name.
        description: the text above the flags.
        help_of: the command whose `--help` errors point to, by default `prog`.
        kwargs: further arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, prog: str, description: str, *, help_of: str = "", **kwargs: Any):
        kwargs = {"conflict_handler": "resolve", "formatter_class": HelpFormatter, **kwargs}
        super().__init__(prog=prog, description=description, allow_abbrev=False, **kwargs)
        self.help_command = f"{help_of or prog} --help"
        self._version = f"{prog} {__version__}"
        text = "show the version of tfgen and exit"
        self.add_argument("--version", action="version", version=self._version, help=text)

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse's own method ignores a full disk.
        print(message, end="", file=file)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.help_command}")

    def format_help(self) -> str:
        """The help text; its usage line names what is required, the options follow below."""
        self.usage = " ".join([self.prog, *map(_usage, self._actions), "[options]"])
        self.usage = " ".join(self.usage.split()).replace("%", "%%")
        return super().format_help()

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """Parse all of `argv`; the error about an unknown flag names the nearest known one."""
        if argv == ["--version"]:
            print(self._version)
            self.exit()
        try:
            namespace, unknown = self.parse_known_args(argv)
        except UsageError:
            # What is missing may be there, but mistyped.
            self.check_flags(word for word in argv if word.startswith("--") and word != "--")
            raise
        self.check_flags(unknown)
        if unknown:
            raise UsageError(f"unexpected argument {unknown[0]!r}; see {self.help_command}")
        return namespace

    def check_flags(self, words: Iterable[str]) -> None:
        """Refuse the first of the words that is an unknown flag.

        Raises:
            UsageError: there is one; the message names the nearest known flag.
        """
        for word in words:
            name = word.partition("=")[0]
            if name.startswith(_DASHES) and name not in self._option_string_actions:
                near = settings.nearest(name, self._option_string_actions)
                advice = f"did you mean {near}? " if near else ""
                raise UsageError(f"unknown flag {name}; {advice}{self.help_command} lists all")


def _usage(action: argparse.Action) -> str:
    """A positional argument or a required flag as the usage line shows it; else nothing."""
    name = str(action.metavar or action.dest)
    if action.option_strings:
        return f"{action.option_strings[0]} {name}" if action.required else ""
    return {"?": f"[{name}]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)


def argument(metavar: str, help: str, *, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field that becomes a positional argument; with a tuple's type, one or more.

    Args:
        metavar: what stands for the value in the help.
        help: one line.
        default: the value if it is left out; without one, it is required.
    """
    metadata = {"help": help, "metavar": metavar}
    return dataclasses.field(default=default, kw_only=True, metadata=metadata)


def add_flags(
    parser: argparse._ActionsContainer,
    config: type,
    defaults: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
) -> None:
    """Add a flag for each field of a dataclass that has a help text; those of its bases are last.

    Args:
        parser: a parser or a group of one.
        config: a dataclass with fields made by `argument` or `tfgen.settings.fields.option`; a
            field without a default becomes a required flag.
        defaults: values that replace the fields' own defaults, by the `destination` of a flag.
        without: names of fields that get no flag.
    """
    fields = {field.name: field for field in dataclasses.fields(config)}
    # Each name once: positional arguments, then flags in the order of the classes.
    names = dict.fromkeys(name for name in fields if "metavar" in fields[name].metadata)
    names |= dict.fromkeys(name for c in config.__mro__ for name in inspect.get_annotations(c))
    for name in names:
        if "help" in fields[name].metadata and name not in without:
            default = (defaults or {}).get(destination(fields[name]), fields[name].default)
            _add_flag(parser, fields[name], settings.field_types(config)[name], default)


@dataclasses.dataclass(frozen=True)
class SamplingOptions(settings.Config):
    """Base of the arguments of a command that takes the options of sampling of any family.

    Attributes:
        sampling: values by name, of those that are passed.
    """

    sampling: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RayOptions(settings.Config):
    """The flags of a command that can work on a Ray cluster."""

    ray: int | None = settings.option(
        None,
        "divide the work among N Ray workers; without N: one per GPU, or per 4 cores without a GPU",
        minimum=0,
        bare=0,
    )
    ray_address: str | None = settings.option(
        None, "Ray cluster to use, such as host:6379 (default: start one on this machine)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ray_address is not None and self.ray is None:
            raise UsageError("--ray-address is for --ray; pass --ray too")


def add_sampling_flags(parser: Parser) -> None:
    """Add a flag without a default for each option of sampling that a family has."""
    title = "options of sampling, for a run (default: those of its training)"
    group = parser.add_argument_group(title)
    for config, field in _sampling_fields().values():
        _add_flag(group, field, settings.field_types(config)[field.name], None)


def _sampling_fields() -> dict[str, tuple[type, dataclasses.Field]]:
    """The options of sampling by name, each with the first configuration that has it."""
    configs = [family.config for family in reversed(registry.families())]
    return {field.name: (config, field) for config in configs for field in config.sampling_fields()}


def destination(field: dataclasses.Field) -> str:
    """The name of a flag's value in the parsed arguments, as argparse derives it from the flag."""
    return settings.flag_of(field).removeprefix("--").replace("-", "_")


def flag_values(config: settings.Config) -> dict[str, Any]:
    """The values of a configuration by the `destination` of their flags."""
    fields = dataclasses.fields(config)
    return {destination(field): getattr(config, field.name) for field in fields}


def _add_flag(
    parser: argparse._ActionsContainer, field: dataclasses.Field, annotation: Any, default: Any
) -> None:
    text, flag, dest = field.metadata["help"], settings.flag_of(field), destination(field)
    plain, _ = settings.plain_type(annotation)
    if plain is bool:
        off = flag.replace("--", "--no-", 1)
        text += f" (turn off with {off})" if default is True else ""
        common: dict[str, Any] = {"dest": dest, "default": default}
        parser.add_argument(flag, action="store_true", help=_escape(text), **common)
        parser.add_argument(off, action="store_false", help=argparse.SUPPRESS, **common)
        return
    kind, is_sequence = settings.entry_type(plain)
    choices = settings.choices_of(field, plain)
    kinds = {int: "N", float: "X", Path: "PATH"}
    metavar = "{" + ",".join(choices) + "}" if choices else kinds.get(kind, field.name.upper())
    is_required, is_flag = default is dataclasses.MISSING, "metavar" not in field.metadata
    convert: Any = str if choices else read_path if kind is Path else kind
    arguments: dict[str, Any] = {"metavar": field.metadata.get("metavar", metavar), "type": convert}
    if is_sequence:
        is_split = is_flag and not field.metadata.get("whole")
        arguments |= {"nargs": "+", "type": _entries(convert, is_split)}
    if (bare := field.metadata.get("bare")) is not None:
        arguments |= {"nargs": "?", "const": bare}
    if is_flag:
        arguments |= {"dest": dest, "required": is_required}
        if default is not None and not is_required:
            off = "; turn off with none" if choices and is_sequence and default else ""
            words = default if isinstance(default, tuple) else [default]
            text += f" (default: {' '.join(map(str, words)) or 'none'}{off})"
    elif not is_required:
        arguments["nargs"] = "?"
    name = flag if is_flag else field.name
    parser.add_argument(name, default=default, help=_escape(text), **arguments)


def _escape(text: str) -> str:
    # argparse would read `%` as a format.
    return text.replace("%", "%%")


def _entries(convert: Callable[[str], Any], is_split: bool) -> Callable[[str], tuple[Any, ...]]:
    """Read the entries in a word, separated by commas if `is_split`; `none` stands for none."""

    def entries(text: str) -> tuple[Any, ...]:
        words = [word for word in text.split(",") if word] if is_split else [text]
        if not words:
            raise argparse.ArgumentTypeError("expected at least one value, or none")
        return () if is_split and words == ["none"] else tuple(map(convert, words))

    return entries


def read_path(text: str) -> Path:
    """The path of an argument; an empty one, such as that of an unset variable, is an error."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def read_flags(namespace: argparse.Namespace, config: type) -> Any:
    """An instance of the dataclass `config` from the parsed flags.

    Raises:
        UsageError: a value is out of its range.
    """
    values = {
        # A list has the entries of each word.
        name: tuple(itertools.chain(*value)) if isinstance(value, list) else value
        for name, value in vars(namespace).items()
    }
    places = {field.name: destination(field) for field in dataclasses.fields(config)}
    own = {name: values[place] for name, place in places.items() if place in values}
    if issubclass(config, SamplingOptions):
        fields = {name: values.get(destination(f)) for name, (_, f) in _sampling_fields().items()}
        own["sampling"] = {name: v for name, v in fields.items() if v is not None}
    return config(**own)
