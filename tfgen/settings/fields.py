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
from typing import Any, Literal, Self

from tfgen.errors import UsageError

# Types that a field's entries may have, with what an error calls them.
_TYPE_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    Path: "a path",
}
# An error lists the known names only if they are at most this many.
_MAX_LISTED = 8
# Least similarity of a name that an error suggests, by `difflib`. At 0.6, which is the default, it
# would suggest `toto` for `photos`.
_SIMILAR, _VERY_SIMILAR = 0.65, 0.8
# The largest integer, unless a field states its own: TensorFlow's sizes are of 32 bits.
_MAX_INT = 2**31 - 1


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: Sequence[str] | None = None,
    bare: Any = None,
) -> Any:
    """A dataclass field that becomes a command-line flag.

    Args:
        default: the field's default.
        help: one line, with units in brackets where there are any.
        minimum: smallest allowed value; of a tuple, of each entry.
        maximum: largest allowed value.
        above: a bound that the value must exceed.
        choices: allowed values, for a field of type `str`; a `Literal` lists its own.
        bare: the value if the flag is passed without one; None: it needs a value.
    """
    bounds = {"minimum": minimum, "maximum": maximum, "above": above}
    metadata = {"help": help, "choices": choices, "bare": bare, **bounds}
    return dataclasses.field(default=default, metadata=metadata)


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


# The types of a dataclass' fields, by name.
field_types: Callable[[type], dict[str, Any]] = functools.cache(typing.get_type_hints)


def plain_type(annotation: Any) -> tuple[Any, bool]:
    """Splits `T | None` into `(T, True)`; any other annotation into `(annotation, False)`."""
    if isinstance(annotation, types.UnionType):
        inner = [t for t in typing.get_args(annotation) if t is not types.NoneType]
        return inner[0], True
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
            value = _convert(field.name, annotation, value)
            object.__setattr__(self, field.name, value)
            _check(field, annotation, value)

    @classmethod
    def build(cls, config: Self | None, fields: Mapping[str, Any]) -> Self:
        """A configuration with some fields replaced.

        Args:
            config: the configuration to start from; None stands for the defaults.
            fields: values by field name.

        Raises:
            UsageError: `config` is not of this class, a field is unknown, or a value is wrong.
        """
        if config is None:
            cls._check_names(fields)
            return cls(**fields)
        if not isinstance(config, cls):
            raise UsageError(
                f"{config!r} is not a {cls.__name__}; pass fields by name, as in latent_dim=2"
            )
        config._check_names(fields)
        return dataclasses.replace(config, **fields)

    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dump` can write; tuples become lists and paths strings."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_json` wrote; a missing field has its default.

        Raises:
            UsageError: `data` is no table, a field is unknown, or a value is wrong.
        """
        if not isinstance(data, Mapping):
            raise UsageError(
                f"{cls.__name__} cannot be read from {data!r}; a JSON object is needed"
            )
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
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _convert(name: str, annotation: Any, value: Any) -> Any:
    if entry_type(annotation)[1]:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise UsageError(f"{name} = {value!r} is not a sequence")
        return tuple(value)
    return Path(value) if annotation is Path and isinstance(value, str) else value


def _check(field: dataclasses.Field, annotation: Any, value: Any) -> None:
    """Refuses a value of the wrong type, out of its range, or none of its choices."""
    kind, is_sequence = entry_type(annotation)
    choices = choices_of(field, annotation)
    minimum, maximum, above = (field.metadata.get(key) for key in ("minimum", "maximum", "above"))
    if maximum is None and kind is int:
        maximum = _MAX_INT
    for entry in value if is_sequence else (value,):
        # A long sequence would hide the entry that is wrong.
        text = f"{field.name} has the entry {entry!r}, which" if is_sequence else ""
        text = text or f"{field.name} = {entry!r}"
        if choices:
            if entry not in choices:
                raise UsageError(f"unknown {field.name} = {entry!r}{hint(str(entry), choices)}")
        elif not _is_of(entry, kind):
            raise UsageError(f"{text} is not {_TYPE_NAMES[kind]}")
        elif kind is float and not math.isfinite(entry):
            raise UsageError(f"{text} is not finite")
        elif minimum is not None and entry < minimum:
            raise UsageError(f"{text} is too small; the least is {minimum}")
        elif maximum is not None and entry > maximum:
            raise UsageError(f"{text} is too large; the most is {maximum}")
        elif above is not None and entry <= above:
            raise UsageError(f"{text} is too small; it must be more than {above}")


def _is_of(entry: Any, kind: Any) -> bool:
    if kind in (int, float):
        # A bool is an int to Python, but no number of epochs.
        return isinstance(entry, int | kind) and not isinstance(entry, bool)
    return kind not in _TYPE_NAMES or isinstance(entry, kind)
