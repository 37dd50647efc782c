"""Reads what `tfgen-evaluate` wrote: from runs, versions and JSON files, each with its name.

No TensorFlow here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfgen.errors import UsageError, WorkError
from tfgen.publishing import versions
from tfgen.training.folder import RunFolder

# Version of evaluation.json.
FORMAT = 1
# Parts that an evaluation may lack. Images that no model of tfgen made have no settings, no seed of
# a training and no cost.
_DEFAULTS: dict[str, Any] = {
    "family": None,
    "preset": None,
    "seed": None,
    "weights": None,
    "n": None,
    "settings": {},
    "cost": {},
}
# Parts that are objects wherever they are present.
_OBJECTS = (
    "settings",
    "samples",
    "floor",
    "ceiling",
    "modes",
    "likelihood",
    "cost",
    "classifier",
    "features",
    "images",
    "all_images",
)


@dataclass(frozen=True)
class Evaluation:
    """What `tfgen-evaluate` wrote, and its name in tables.

    Attributes:
        name: what the user calls it: the name before `=`, the name of the run directory, the
            published name with the version, or the name of the JSON file without its extension
            and `-evaluation`.
        argument: the user's own words for the place where it is.
        source: the file that it was read from.
        content: of the file.
        is_named: whether the user wrote a name before `=`.
    """

    name: str
    argument: str
    source: Path
    content: dict[str, Any]
    is_named: bool = False


def read_evaluation(argument: str, saved_models: Path) -> Evaluation:
    """The evaluation of a run, of a version, of a published name, or in a JSON file.

    Args:
        argument: where the evaluation is, or `NAME=` and where it is.
        saved_models: folder of published models.

    Raises:
        UsageError: there is none.
        WorkError: it is damaged.
    """
    name, what = _split_name(argument)
    source = _find_evaluation(what, saved_models)
    try:
        content = json.loads(source.read_text())
        content = content["evaluation"] if source.name == versions.MANIFEST else content
        if content is not None:
            return Evaluation(
                name or _default_name(source), what, source, _complete(content), bool(name)
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkError(
            f"{source} holds no evaluation that can be read: {_fault(error)}; write one with "
            "tfgen-evaluate"
        ) from error
    raise UsageError(f"{what} has not been evaluated; run: tfgen-evaluate {what}")


def extractor(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of the network that features of samples come from."""
    return evaluation.get("features") or evaluation.get("classifier") or {}


def _split_name(argument: str) -> tuple[str, str]:
    """The name before `=`, empty if there is none, and the rest; a path may contain `=` too."""
    name, separator, what = argument.partition("=")
    if not separator or Path(argument).exists():
        return "", argument
    name = _one_line(name)
    if not name or not what:
        missing = "evaluation after" if name else "name before"
        raise UsageError(f"{argument!r} has no {missing} '='; pass NAME=EVALUATION")
    return name, what


def _default_name(source: Path) -> str:
    """The name of an evaluation without a name of the user's."""
    path = source.absolute()
    if path.name == versions.MANIFEST:
        return f"{path.parents[1].name} version {path.parent.name}"
    is_of_folder = path.name == RunFolder(path.parent).evaluation.name
    # `tfgen-evaluate` itself adds these words to the names of versions and of images.
    stem = path.stem.removesuffix("-evaluation") or path.stem
    return _one_line(path.parent.name if is_of_folder else stem)


def _one_line(name: str) -> str:
    """A name as a table can show it: on one line, without control characters."""
    words = " ".join(name.split())
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def _fault(error: Exception) -> str:
    """What is wrong with the content of a file, in words."""
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "it is not JSON"
    if isinstance(error, KeyError):
        return f"it lacks {error.args[0]}"
    return str(error) if isinstance(error, ValueError | OSError) else "it is not an evaluation"


def _find_evaluation(what: str, saved_models: Path) -> Path:
    """The file that holds an evaluation: a JSON file, or a version's manifest."""
    path = Path(what)
    if path.is_file():
        return path
    if RunFolder(path).evaluation.is_file():
        return RunFolder(path).evaluation
    if (path / versions.MANIFEST).is_file():
        return path / versions.MANIFEST
    if path.is_dir():
        raise UsageError(f"{what} has not been evaluated; run: tfgen-evaluate {what}")
    if path.name != what:
        raise UsageError(
            f"{what} does not exist; pass a run, a version, a published name or a JSON file"
        )
    return versions.find(what, saved_models).path / versions.MANIFEST


def _complete(content: Any) -> dict[str, Any]:
    """An evaluation with all its parts; another format, or missing keys, are a ValueError."""
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}, not {FORMAT}")
    missing = {"title", "dataset"} - content.keys() or {"fingerprint", "split"} - content[
        "dataset"
    ].keys()
    if missing:
        raise ValueError(f"it lacks {min(missing)}")
    evaluation = {**_DEFAULTS, **content}
    for name in _OBJECTS:
        if not isinstance(evaluation.get(name), dict | None):
            raise ValueError(f"its {name} is no object")
    evaluation["settings"] = {"model": {}, "options": {}, **(evaluation["settings"] or {})}
    for name in ("model", "options"):
        if not isinstance(evaluation["settings"][name], dict):
            raise ValueError(f"its {name} in settings is no object")
    evaluation["cost"] = evaluation["cost"] or {}
    for name, kind in (("title", str), ("family", str | None), ("n", int | None)):
        if not isinstance(evaluation[name], kind):
            raise ValueError(f"its {name} is {evaluation[name]!r}")
    return evaluation
