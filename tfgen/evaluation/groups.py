"""Groups evaluations by model: those of one configuration differ only in the training's seed.

No TensorFlow here.
"""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.evaluation.reading import Evaluation, extractor
from tfgen.settings.training import RESUMABLE, read_options

# Options of a training that do not decide which model it is: the seed, and what may change when it
# is resumed, except its length.
UNDECIDING_OPTIONS = {"seed", *RESUMABLE} - {"epochs"}
# At the end of a metric's name: it is read times 1000.
_THOUSANDTHS = "_thousandths"
# A row of more seeds than these names the first of them.
_MAX_NAMES = 3


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


class Measurement(NamedTuple):
    """How an evaluation was measured. Metrics compare only if what decides them is equal.

    Attributes:
        dataset: fingerprint of the data set.
        split: of the real images.
        n: number of samples, and of real images; None if unknown.
        features: hash of the network that features come from; None without metrics of samples.
        importance_samples: per image; None without this likelihood.
        dequantizations: draws per image; None without this likelihood.
    """

    dataset: str
    split: str
    n: int | None
    features: str | None
    importance_samples: int | None
    dequantizations: int | None


@dataclass(frozen=True)
class Group:
    """Evaluations that differ only in the seed of the training.

    Attributes:
        family: of the model; None for images that no model of tfgen made.
        preset: of the training; empty if no preset was used.
        follows_preset: whether the model and its training are as the preset says, as far as that is
            known.
        evaluations: one for each seed.
        finished: whether the trainings reached their last epoch, as far as that is known.
        names: of the evaluations, as the user calls them.
        arguments: where the evaluations are, in the user's own words.
        is_named: whether the user wrote the name before `=`.
    """

    family: str | None
    preset: str
    follows_preset: bool
    evaluations: tuple[dict[str, Any], ...]
    finished: bool = True
    names: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    is_named: bool = False

    @property
    def name(self) -> str:
        """Family and preset, and in brackets what differs from it."""
        notes = (
            "" if self.follows_preset or not self.preset else "changed",
            "" if self.finished else "unfinished",
        )
        brackets = ", ".join(filter(None, notes))
        family = self.family or self.evaluations[0]["title"]
        return f"{family} {self.preset}".strip() + (f" ({brackets})" if brackets else "")

    @property
    def measurement(self) -> Measurement:
        """How all evaluations of the group were measured."""
        return measurement(self.evaluations[0])

    @property
    def labels(self) -> tuple[str, str, str]:
        """Names in tables, each more exact than the one before it."""
        names, arguments = (_enumerate(words) for words in (self.names, self.arguments))
        return _without_seeds(self) or names, names, arguments

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
    return scale * float(value) if isinstance(value, int | float) else None


def standard_error(evaluation: Mapping[str, Any], path: Sequence[str]) -> float:
    """The standard error of the number at a path, in its unit; 0 if unknown."""
    *parts, last = path
    name = last.removesuffix(_THOUSANDTHS)
    return lookup(evaluation, (*parts, f"{name}_error{last.removeprefix(name)}")) or 0.0


# --- grouping
# ---------------------------------------------------------------------------------------------


def group_evaluations(evaluations: Iterable[Evaluation]) -> list[Group]:
    """Evaluations grouped by the user's own name, family, preset, settings and measurement.

    The groups are in the order of their first members. Evaluations of one configuration with the
    same seed, or with an unknown one, are in groups of their own.

    Raises:
        UsageError: an evaluation is passed twice.
    """
    members: list[tuple[str, list[Evaluation]]] = []
    sources: set[Path] = set()
    for evaluation in evaluations:
        source = evaluation.source.resolve()
        if source in sources:
            raise UsageError(f"{evaluation.argument} is passed twice; pass it once")
        sources.add(source)
        key, seed = _group_key(evaluation), evaluation.content["seed"]
        for group_key, group in members:
            seeds = [None, *(member.content["seed"] for member in group)]
            if group_key == key and seed not in seeds:
                group.append(evaluation)
                break
        else:
            members.append((key, [evaluation]))
    return [_group(group) for _, group in members]


def measurement(evaluation: Mapping[str, Any]) -> Measurement:
    """How an evaluation was measured."""
    dataset, likelihood = evaluation["dataset"], evaluation.get("likelihood") or {}
    features = extractor(evaluation)
    return Measurement(
        dataset=str(dataset["fingerprint"]),
        split=str(dataset["split"]),
        n=evaluation["n"],
        # Without a hash, equal descriptions are the same network.
        features=str(features.get("sha256") or json.dumps(features, sort_keys=True))
        if evaluation.get("samples")
        else None,
        importance_samples=likelihood.get("importance_samples"),
        dequantizations=likelihood.get("dequantizations"),
    )


def _group_key(evaluation: Evaluation) -> str:
    """All that decides the group of an evaluation, as a text."""
    content = evaluation.content
    parts = [
        evaluation.name if evaluation.is_named else None,
        content["family"],
        content["preset"],
        _complete_settings(content),
        content["weights"],
        is_finished(content),
        measurement(content),
    ]
    return json.dumps(parts, sort_keys=True)


def _group(members: Sequence[Evaluation]) -> Group:
    first = members[0].content
    return Group(
        family=first["family"],
        preset=str(first["preset"] or ""),
        follows_preset=follows_preset(first),
        evaluations=tuple(member.content for member in members),
        finished=is_finished(first),
        names=tuple(member.name for member in members),
        arguments=tuple(member.argument for member in members),
        is_named=members[0].is_named,
    )


def unique_labels(groups: Sequence[Group]) -> list[str]:
    """A name in tables for each group: the shortest one that no other group has.

    Raises:
        UsageError: the user wrote one name before `=` for different models.
    """
    labels = [group.labels[0] for group in groups]
    for level in (1, 2):
        counts = Counter(labels)
        labels = [
            label if counts[label] == 1 or group.is_named else group.labels[level]
            for label, group in zip(labels, groups, strict=True)
        ]
    label, count = Counter(labels).most_common(1)[0]
    if count > 1:
        pairs = zip(labels, groups, strict=True)
        first, second = [group for text, group in pairs if text == label][:2]
        raise UsageError(
            f"{first.arguments[0]} and {second.arguments[0]} are both named {label}, but are not "
            "two seeds of one configuration, measured alike; choose two names"
        )
    return labels


def _enumerate(words: Sequence[str]) -> str:
    """Names one after the other; of many, the first and the number of the others."""
    if len(words) > _MAX_NAMES:
        return f"{words[0]} and {len(words) - 1} more"
    return ", ".join(words)


def _without_seeds(group: Group) -> str:
    """What is common to the names of several seeds, `vae` of `vae-0` and `vae-1`; else empty."""
    if len(group.names) == 1 or group.is_named:
        return group.names[0]
    stems = set()
    for name, evaluation in zip(group.names, group.evaluations, strict=True):
        seed = str(evaluation["seed"])
        stem = name.removesuffix(seed) if name.endswith(seed) else ""
        stems.add(re.sub(r"[-_. ]*(seed)?[-_. ]*$", "", stem))
    return stems.pop() if len(stems) == 1 else ""


def is_finished(evaluation: Mapping[str, Any]) -> bool:
    """Whether a model was trained to its last epoch; true if that is unknown."""
    epochs, last = evaluation["cost"].get("epochs"), evaluation["settings"]["options"].get("epochs")
    return None in (epochs, last) or epochs == last


def follows_preset(evaluation: Mapping[str, Any]) -> bool:
    """Whether model and training are as the preset says.

    What the data decides, the image shape and the classes, may differ. True for a family that is
    not installed, whose presets are unknown, and for images of no family.
    """
    if evaluation["family"] is None:
        return True
    try:
        family = registry.family(evaluation["family"])
    except (UsageError, TypeError):
        return True
    preset = family.presets.get(str(evaluation["preset"]))
    if preset is None:
        return False
    settings, by_data = _complete_settings(evaluation), ("image_shape", "num_classes")
    model = {name: value for name, value in preset.model.to_json().items() if name not in by_data}
    options = {**preset.training(), "conditional": False, "train_on": "train", "start_from": None}
    return all(settings["model"].get(name) == value for name, value in model.items()) and all(
        settings["options"].get(name) == value for name, value in options.items()
    )


def _complete_settings(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings of model and training, with defaults for those of later versions."""
    model, options = evaluation["settings"]["model"], evaluation["settings"]["options"]
    if evaluation["family"] is None:
        return {"model": model, "options": options}
    with contextlib.suppress(UsageError, TypeError):
        model = registry.family(evaluation["family"]).config.from_json(model).to_json()
        full = read_options(options).to_json()
        options = {
            name: value
            for name, value in full.items()
            if name in options or name not in UNDECIDING_OPTIONS
        }
    return {"model": model, "options": options}
