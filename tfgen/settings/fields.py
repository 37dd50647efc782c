"""Configurations: frozen dataclasses whose fields carry their own help, range and choices.

A configuration is valid once it exists, because its constructor checks every field. `to_json` and
`from_json` are inverse to each other. No TensorFlow here, so that `--help` answers at once.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack

from tfgen.errors import UsageError

# An error lists the known names only if they are at most this many.
_MAX_LISTED = 8
# Least similarity of a name that an error suggests, by `difflib`. At 0.6, which is the default, it
# would suggest `toto` for `photos`.
_SIMILAR, _VERY_SIMILAR = 0.65, 0.8
# The largest integer, unless a field states its own: TensorFlow's sizes are of 32 bits.
_MAX_INT = 2**31 - 1


class Limits(TypedDict, total=False):
    """What an `option` may say of its values."""

    minimum: float
    maximum: float
    above: float
    choices: Sequence[str]
    bare: Any
    whole: bool
    sampling: bool


def option(default: Any, help: str, **limits: Unpack[Limits]) -> Any:
    """A dataclass field that becomes a command-line flag.

    Args:
        default: the field's default.
        help: one line, with units in brackets where there are any.
        **limits: `minimum` and `maximum`, the smallest and the largest allowed value (of a tuple,
            of each entry); `above`, a bound that the value must exceed; `choices`, the allowed
            values of a field of type `str` (a `Literal` lists its own); `bare`, the value if the
            flag is passed without one (by default it needs a value); `whole`, whether a comma is a
            part of an entry (by default it separates two); `sampling`, whether a trained
            model may be opened with another value, see `ModelConfig.with_sampling`.
    """
    return dataclasses.field(default=default, metadata={"help": help, **limits})


def hint(wrong: str, known: Iterable[str], listing: str = "") -> str:
    """The end of an error about an unknown name: the nearest known name, and where all are.

    Args:
        wrong: the unknown name.
        known: all known names. They are listed if they are few.
        listing: the command that lists the names; used if they are many.
    """
    names = list(known)
    near = nearest(wrong, names)
    parts = [] if near is None else [f"did you mean {near!r}?"]
    if names and len(names) <= _MAX_LISTED:
        parts.append(f"known: {', '.join(names)}")
    elif listing:
        parts.append(f"{listing} lists all")
    return f"; {' '.join(parts)}" if parts else ""


def nearest(wrong: str, known: Iterable[str], strict: bool = False) -> str | None:
    """The known name that was probably meant; None if none is similar enough.

    Case, leading dashes, and the difference between `_` and `-` do not count. The first letter has
    to be the same.

    Args:
        wrong: the unknown name.
        known: all known names.
        strict: whether only a very similar name will do, since `wrong` may be a name of the user's.
    """
    import difflib  # not needed by --help

    word = _plain_name(wrong)
    names = {_plain_name(name): name for name in known}
    alike = [name for name in names if name[:1] == word[:1]]
    cutoff = _VERY_SIMILAR if strict else _SIMILAR
    matches = difflib.get_close_matches(word, alike, n=1, cutoff=cutoff)
    return names[matches[0]] if matches else None


def _plain_name(name: str) -> str:
    return name.lower().lstrip("-–—").replace("_", "-")


def flag_of(field: dataclasses.Field) -> str:
    """The flag of a field; those of options of sampling have a prefix that no other flag has."""
    prefix = "sampling-" if field.metadata.get("sampling") else ""
    return f"--{prefix}{field.name.replace('_', '-')}"


# The types of a dataclass' fields, by name.
field_types: Callable[[type], dict[str, Any]] = functools.cache(typing.get_type_hints)


def plain_type(annotation: Any) -> tuple[Any, bool]:
    """Splits `T | None` into `(T, True)`; any other annotation into `(annotation, False)`."""
    arguments = typing.get_args(annotation)
    if types.NoneType in arguments:
        return next(kind for kind in arguments if kind is not types.NoneType), True
    return annotation, False


def entry_type(annotation: Any) -> tuple[Any, bool]:
    """Splits `tuple[T, ...]` into `(T, True)`; any other type into `(annotation, False)`."""
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0], True
    return annotation, False


def choices_of(field: dataclasses.Field, annotation: Any) -> tuple[str, ...]:
    """The allowed values of a field with that type, of a tuple's entries; empty: not listed."""
    kind, _ = entry_type(annotation)
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    return tuple(field.metadata.get("choices") or ())


@dataclass(frozen=True)
class Config:
    """Base of all configurations: checked fields and a JSON round trip.

    Sequences become tuples and, where a path is expected, strings become paths.

    Raises:
        UsageError: a value has the wrong type, is out of its range or is none of its choices.
    """

    def __post_init__(self) -> None:
        config: type[Any] = type(self)  # mypy takes `type[Self]` for not hashable
        types_by_name = field_types(config)
        for field in dataclasses.fields(self):
            annotation, is_optional = plain_type(types_by_name[field.name])
            value = getattr(self, field.name)
            if value is None and is_optional:
                continue
            object.__setattr__(self, field.name, _checked(field, annotation, value))

    @classmethod
    def build(cls, config: Self | None, fields: Mapping[str, Any]) -> Self:
        """A configuration with some fields replaced.

        Args:
            config: the configuration to start from; None stands for the defaults.
            fields: values by field name.

        Raises:
            UsageError: `config` is not of this class, a field is unknown, or a value is wrong.
        """
        cls._check_names(fields)
        if config is None:
            return cls(**fields)
        if not isinstance(config, cls):
            raise UsageError(f"{config!r} is not a {cls.__name__}; pass fields by name")
        return dataclasses.replace(config, **fields)

    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dump` can write; tuples become lists and paths strings."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_json` wrote.

        Args:
            data: values by field name; a missing field has its default.

        Raises:
            UsageError: a field is unknown, or a value is wrong.
        """
        cls._check_names(data)
        return cls(**data)

    @classmethod
    def _check_names(cls, names: Iterable[str]) -> None:
        known = [field.name for field in dataclasses.fields(cls)]
        for name in names:
            if name not in known:
                advice = hint(name, known, f"help({cls.__name__})")
                raise UsageError(f"{cls.__name__} has no field {name!r}{advice}")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _checked(field: dataclasses.Field, annotation: Any, value: Any) -> Any:
    """The value of a field; refuses one of a wrong type, out of range, or not among the choices."""
    kind, is_sequence = entry_type(annotation)
    if is_sequence and (isinstance(value, str) or not isinstance(value, Iterable)):
        raise UsageError(f"{field.name} = {value!r} is not a sequence")
    if kind is Path and isinstance(value, str):
        value = Path(value)
    entries = tuple(value) if is_sequence else (value,)
    for entry in entries:
        # A long sequence would hide the entry that is wrong.
        subject = f"{field.name} has the entry {entry!r}, which" if is_sequence else ""
        _check_entry(field, kind, entry, subject or f"{field.name} = {entry!r}")
    return entries if is_sequence else value


def _check_entry(field: dataclasses.Field, kind: Any, entry: Any, subject: str) -> None:
    if choices := choices_of(field, kind):
        if entry not in choices:
            raise UsageError(f"unknown {field.name} = {entry!r}{hint(str(entry), choices)}")
        return
    # A bool is an int to Python, but no number of epochs.
    kinds = (int, float) if kind is float else kind
    if not isinstance(entry, kinds) or isinstance(entry, bool) != (kind is bool):
        raise UsageError(f"{subject} is not of type {kind.__name__}")
    if kind is float and not math.isfinite(entry):
        raise UsageError(f"{subject} is not finite")
    minimum, maximum, above = (field.metadata.get(key) for key in ("minimum", "maximum", "above"))
    if minimum is not None and entry < minimum:
        raise UsageError(f"{subject} is too small; the least is {minimum}")
    if maximum is None and kind is int:
        maximum = _MAX_INT
    if maximum is not None and entry > maximum:
        raise UsageError(f"{subject} is too large; the most is {maximum}")
    if above is not None and entry <= above:
        raise UsageError(f"{subject} is too small; it must be more than {above}")
