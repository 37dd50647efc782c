"""Evaluations that were written: reading, checking, and grouping them by model.

No TensorFlow here.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfgen import registry
from tfgen.errors import UsageError, WorkError
from tfgen.publishing import versions
from tfgen.settings.training import RESUMABLE, read_options
from tfgen.training.folder import RunFolder

# Version of evaluation.json.
FORMAT = 1
# Options of a training that do not decide which model it is: the seed, and what may change when it
# is resumed, except its length.
UNDECIDING_OPTIONS = {"seed", *RESUMABLE} - {"epochs"}
# At the end of a metric's name: it is read times 1000.
_THOUSANDTHS = "_thousandths"
# Keys that every evaluation has, and those of its data set.
_KEYS = {"family", "preset", "seed", "settings", "weights", "n", "cost"}
_DATASET_KEYS = {"fingerprint", "split"}
# What evaluations must share to compare: the name of it, and its path.
_SHARED = (
    ("data set", ("dataset", "fingerprint")),
    ("split", ("dataset", "split")),
    ("classifier", ("classifier", "sha256")),
    ("number of importance samples", ("likelihood", "importance_samples")),
    ("number of dequantizations", ("likelihood", "dequantizations")),
    ("number of samples", ("n",)),
    ("seed of the samples", ("evaluation_seed",)),
)


@dataclass(frozen=True)
class Statistic:
    """A metric over the seeds of a group.

    Attributes:
        mean: over the seeds.
        error: standard deviation over the seeds; for a single seed, the standard error of the
            estimate, 0 if there is none.
    """

    mean: float
    error: float


@dataclass(frozen=True)
class Group:
    """Evaluations that differ only in the seed of the training.

    Attributes:
        family: of the model; the evaluation's title if it is unknown.
        preset: of the training; empty if no preset was used.
        follows_preset: whether the model and its training are as the preset says, as far as that is
            known.
        evaluations: one for each seed.
        finished: whether the trainings reached their last epoch, as far as that is known.
        differences: settings in which it differs from groups of the same name.
    """

    family: str
    preset: str
    follows_preset: bool
    evaluations: tuple[dict[str, Any], ...]
    finished: bool = True
    differences: str = ""

    @property
    def name(self) -> str:
        """Name in tables: family, preset, and in brackets what differs from it."""
        notes = (
            "" if self.follows_preset or not self.preset else "changed",
            "" if self.finished else "unfinished",
            self.differences,
        )
        brackets = ", ".join(filter(None, notes))
        return f"{self.family} {self.preset}".strip() + (f" ({brackets})" if brackets else "")

    def statistic(self, path: Sequence[str]) -> Statistic | None:
        """The metric at a path over the seeds; None if an evaluation lacks it."""
        values = [lookup(evaluation, path) for evaluation in self.evaluations]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        if len(known) == 1:
            return Statistic(known[0], standard_error(self.evaluations[0], path))
        return Statistic(float(np.mean(known)), float(np.std(known, ddof=1)))


def lookup(evaluation: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """The number at a path of an evaluation; None if there is none."""
    *parts, last = path
    table: Any = evaluation
    for part in parts:
        table = table.get(part) or {}
    value = table.get(last.removesuffix(_THOUSANDTHS))
    scale = 1000 if last.endswith(_THOUSANDTHS) else 1
    return None if value is None else scale * float(value)


def standard_error(evaluation: Mapping[str, Any], path: Sequence[str]) -> float:
    """The standard error of the number at a path, in its unit; 0 if unknown."""
    *parts, last = path
    name = last.removesuffix(_THOUSANDTHS)
    return lookup(evaluation, (*parts, f"{name}_error{last.removeprefix(name)}")) or 0.0


# --- reading
# ----------------------------------------------------------------------------------------------


def read_evaluation(what: str, saved_models: Path) -> dict[str, Any]:
    """The evaluation of a run, of a version, of a published name, or in a JSON file.

    Raises:
        UsageError: there is none.
        WorkError: it is damaged.
    """
    source = _find_evaluation(what, saved_models)
    try:
        content = json.loads(source.read_text())
        evaluation = content["evaluation"] if source.name == versions.MANIFEST else content
        if evaluation is not None:
            _check_keys(evaluation)
            return dict(evaluation)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkError(
            f"{source} holds no evaluation that can be read: {_fault(error)}; write one with "
            "tfgen-evaluate"
        ) from error
    raise UsageError(f"{what} has not been evaluated; run: tfgen-evaluate {what}")


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


def _check_keys(evaluation: dict[str, Any]) -> None:
    """Refuse another format, or missing keys, by a ValueError."""
    if evaluation["format"] != FORMAT or not isinstance(evaluation["title"], str):
        raise ValueError(f"its format is not {FORMAT}")
    missing = _KEYS - evaluation.keys() or _DATASET_KEYS - evaluation["dataset"].keys()
    if missing:
        raise ValueError(f"it lacks {min(missing)}")


# --- grouping
# ---------------------------------------------------------------------------------------------


def group_evaluations(evaluations: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Evaluations grouped by family, preset and settings.

    The groups are in the order of their first members.

    Raises:
        UsageError: two are of the same settings and seed, or they do not compare: data set, split,
            number or seed of the samples, classifier, or number of importance samples or
            dequantizations differ.
    """
    evaluations = list(evaluations)
    for name, path in _SHARED:
        _check_shared(evaluations, name, path)
    members: dict[str, list[dict[str, Any]]] = {}
    for evaluation in evaluations:
        group = members.setdefault(_group_key(evaluation), [])
        if any(member["seed"] == evaluation["seed"] for member in group):
            raise UsageError(
                f"{evaluation['title']}: two evaluations have the same settings and the same seed; "
                "pass one of them"
            )
        group.append(dict(evaluation))
    return _distinguish([_group(group) for group in members.values()])


def _check_shared(
    evaluations: Sequence[Mapping[str, Any]], name: str, path: tuple[str, ...]
) -> None:
    """Refuse evaluations that differ at a path; one without a value fits all others."""
    first: tuple[str, Any] | None = None
    for evaluation in evaluations:
        table: Any = evaluation
        for part in path[:-1]:
            table = table.get(part) or {}
        value = table.get(path[-1])
        if value is None:
            continue
        if first is None:
            first = (evaluation["title"], value)
        elif value != first[1]:
            raise UsageError(
                f"{first[0]} and {evaluation['title']} do not compare: they differ in the {name} "
                f"({first[1]}, {value}); run tfgen-evaluate again"
            )


def _group_key(evaluation: Mapping[str, Any]) -> str:
    """All that decides the group of an evaluation, as a text."""
    parts = [
        evaluation["family"],
        evaluation["preset"],
        _complete_settings(evaluation),
        evaluation["weights"],
        is_finished(evaluation),
    ]
    return json.dumps(parts, sort_keys=True)


def _group(members: Sequence[dict[str, Any]]) -> Group:
    first = members[0]
    return Group(
        family=str(first["family"] or first["title"]),
        preset=str(first["preset"] or ""),
        follows_preset=follows_preset(first),
        evaluations=tuple(members),
        finished=is_finished(first),
    )


def _distinguish(groups: Sequence[Group]) -> list[Group]:
    """The groups; those of the same name with the settings in which they differ."""

    def flat_settings(group: Group) -> dict[str, Any]:
        first = group.evaluations[0]
        settings = _complete_settings(first)
        return {**settings["model"], **settings["options"], "weights": first["weights"]}

    result = []
    for group in groups:
        own = flat_settings(group)
        namesakes = [
            flat_settings(candidate)
            for candidate in groups
            if candidate.name == group.name and candidate is not group
        ]
        differing = [
            name for name in own if any(own[name] != namesake.get(name) for namesake in namesakes)
        ]
        text = ", ".join(f"{name} {own[name]}" for name in differing)
        result.append(replace(group, differences=text))
    return result


def is_finished(evaluation: Mapping[str, Any]) -> bool:
    """Whether a model was trained to its last epoch; true if that is unknown."""
    epochs = evaluation["cost"].get("epochs")
    return epochs is None or epochs == evaluation["settings"]["options"].get("epochs")


def follows_preset(evaluation: Mapping[str, Any]) -> bool:
    """Whether model and training are as the preset says.

    What the data decides, the image shape and the classes, may differ. True for a family that is
    not installed, whose presets are unknown.
    """
    try:
        family = registry.family(evaluation["family"])
    except (UsageError, TypeError):
        return True
    preset = family.presets.get(str(evaluation["preset"]))
    if preset is None:
        return False
    settings, by_data = _complete_settings(evaluation), ("image_shape", "num_classes")
    model = {name: value for name, value in preset.model.to_json().items() if name not in by_data}
    options = {**preset.training(), "conditional": False}
    return all(settings["model"].get(name) == value for name, value in model.items()) and all(
        settings["options"].get(name) == value for name, value in options.items()
    )


def _complete_settings(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings of model and training, with defaults for those of later versions."""
    model, options = evaluation["settings"]["model"], evaluation["settings"]["options"]
    with contextlib.suppress(UsageError, TypeError):
        model = registry.family(evaluation["family"]).config.from_json(model).to_json()
        full = read_options(options).to_json()
        options = {
            name: value
            for name, value in full.items()
            if name in options or name not in UNDECIDING_OPTIONS
        }
    return {"model": model, "options": options}
