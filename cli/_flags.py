"""Command-line flags made from dataclasses, and errors of one line.

argparse rather than tyro: tyro reports a wrong value in a box of several lines, and its public
interface offers no other form.
"""

import argparse
import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

from tfgen.errors import UsageError
from tfgen.settings.fields import hint, plain_type


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` instead of printing usage and exiting."""

    def __init__(self, prog: str, description: str, **kwargs: Any):
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **kwargs,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """Parses all of `argv`; an unknown flag is answered with the nearest known one."""
        namespace, unknown = self.parse_known_args(argv)
        for word in unknown:
            if word.startswith("-"):
                name = word.partition("=")[0]
                raise UsageError(f"unknown flag {name}{hint(name, self._option_string_actions)}")
        if unknown:
            raise UsageError(f"unexpected argument {unknown[0]!r}; see {self.prog} --help")
        return namespace


def add_flags(
    parser: argparse._ActionsContainer, config: type, defaults: Mapping[str, Any] | None = None
) -> None:
    """Adds a flag for each field of the dataclass `config` that has a help text.

    Args:
        parser: a parser or a group of one.
        config: a dataclass with fields made by `tfgen.config.option`.
        defaults: values that stand in for the fields' own defaults.
    """
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if "help" in field.metadata:
            default = (defaults or {}).get(field.name, field.default)
            _add_flag(parser, field, hints[field.name], default)


def _add_flag(
    parser: argparse._ActionsContainer, field: dataclasses.Field, annotation: Any, default: Any
) -> None:
    # `%` would be read as a format by argparse.
    text = field.metadata["help"].replace("%", "%%")
    flag = "--" + field.name.replace("_", "-")
    kind, optional = plain_type(annotation)
    if kind is bool:
        # Both ways are taken, lest a flag be refused where it changes nothing; the other one is
        # shown.
        turned = flag.replace("--", "--no-", 1)
        for name, value in ((flag, True), (turned, False)):
            shown = text if value != default else argparse.SUPPRESS
            action = "store_true" if value else "store_false"
            parser.add_argument(name, dest=field.name, action=action, default=default, help=shown)
        return
    many = typing.get_origin(kind) is tuple
    element = typing.get_args(kind)[0] if many else kind
    shown = "" if default is None and optional else f" (default: {_shown(default)})"
    arguments: dict[str, Any] = {"dest": field.name, "default": default, "help": text + shown}
    if typing.get_origin(element) is Literal:
        arguments["metavar"] = "{" + ",".join(typing.get_args(element)) + "}"
    else:
        arguments["type"] = _typed(element)
        arguments["metavar"] = {int: "N", float: "X", Path: "PATH"}.get(element, field.name.upper())
    if many:
        arguments["nargs"] = "+"
    parser.add_argument(flag, **arguments)


def _shown(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _typed(kind: type) -> Any:
    """A converter whose error names what was expected."""
    expected = {int: "an integer", float: "a number"}.get(kind, kind.__name__)

    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from None

    return convert


def read_flags(namespace: argparse.Namespace, config: type) -> Any:
    """An instance of the dataclass `config` from the parsed flags.

    Raises:
        UsageError: a value is out of its range.
    """
    names = [f.name for f in dataclasses.fields(config) if hasattr(namespace, f.name)]
    return config(**{name: getattr(namespace, name) for name in names})
