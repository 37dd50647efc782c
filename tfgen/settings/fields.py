"""Fields of configurations: frozen dataclasses that carry their own help, ranges and choices, and
check them.

A configuration is valid once it exists: its fields are checked when it is made. `to_json` and
`from_json` are inverse to each other. No TensorFlow here, so that `--help` answers at once.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from tfgen.errors import UsageError


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """A dataclass field that becomes a command-line flag.

    Args:
        default: the field's default.
        help: one line, with units in brackets where there are any.
        minimum: the smallest value allowed, for each entry of a tuple.
        maximum: the largest one.
        above: a value that must be exceeded.
        choices: the values allowed, where the annotation is no `Literal` that lists them.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata=metadata)


def hint(wrong: str, known: typing.Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, then all of them."""
    names = list(known)
    near = difflib.get_close_matches(wrong, names, n=1)
    return (f"; did you mean {near[0]!r}? " if near else "; ") + f"known: {', '.join(names)}"


def plain_type(annotation: Any) -> tuple[Any, bool]:
    """Splits `T | None` into `(T, True)`; any other annotation into `(annotation, False)`."""
    if isinstance(annotation, types.UnionType):
        inner = [t for t in typing.get_args(annotation) if t is not types.NoneType]
        return inner[0], True
    return annotation, False


@dataclass(frozen=True)
class Config:
    """Base of all configurations: checked fields and a JSON round trip."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind, optional = plain_type(hints[field.name])
            if value is None and optional:
                continue
            if typing.get_origin(kind) is tuple:
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            _check(field, kind, value)

    @classmethod
    def build(cls, config: Self | None, fields: dict[str, Any]) -> Self:
        """A configuration with some fields replaced; without one, of the defaults.

        Raises:
            UsageError: `config` is none of this class, a field is unknown, or a value is out of its
                range.
        """
        if config is None:
            return cls.from_json(fields)
        if not isinstance(config, cls):
            raise UsageError(
                f"{config!r} is no {cls.__name__}; pass fields by name, as in image_shape=…"
            )
        return cls.from_json(
            {**{f.name: getattr(config, f.name) for f in dataclasses.fields(cls)}, **fields}
        )

    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dump` can write; tuples become lists, paths strings."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The configuration that `to_json` wrote.

        Raises:
            UsageError: a field is unknown, or a value is out of its range.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for name in data:
            if name not in names:
                raise UsageError(f"{cls.__name__} has no field {name!r}{hint(name, names)}")
        hints = typing.get_type_hints(cls)
        paths = {
            name for name in data if plain_type(hints[name])[0] is Path and data[name] is not None
        }
        return cls(
            **{name: Path(value) if name in paths else value for name, value in data.items()}
        )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def choices_of(field: dataclasses.Field, kind: Any) -> tuple[str, ...]:
    """The values that a field of that type may have; empty where they are not listed."""
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    return tuple(field.metadata.get("choices") or ())


def _check(field: dataclasses.Field, kind: Any, value: Any) -> None:
    shown = f"{field.name} = {value!r}"
    if choices := choices_of(field, kind):
        if value not in choices:
            raise UsageError(f"unknown {shown}{hint(str(value), choices)}")
        return
    entries = value if typing.get_origin(kind) is tuple else (value,)
    wanted = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind
    for entry in entries:
        if wanted in (str, bool) and not isinstance(entry, wanted):
            raise UsageError(f"{shown} is not {'a text' if wanted is str else 'true or false'}")
        if wanted in (int, float) and (
            isinstance(entry, bool) or not isinstance(entry, int | wanted)
        ):
            raise UsageError(f"{shown} is not {'an integer' if wanted is int else 'a number'}")
        if wanted is float and not math.isfinite(entry):
            raise UsageError(f"{shown} is not {'finite' if math.isinf(entry) else 'a number'}")
        minimum, maximum, above = (
            field.metadata.get(key) for key in ("minimum", "maximum", "above")
        )
        if minimum is not None and entry < minimum:
            raise UsageError(f"{shown} is too small; the least is {minimum}")
        if maximum is not None and entry > maximum:
            raise UsageError(f"{shown} is too large; the most is {maximum}")
        if above is not None and entry <= above:
            raise UsageError(f"{shown} is too small; it must be more than {above}")
