"""Reads evaluations that `tfgen-evaluate` wrote, and groups the seeds of one configuration.

No TensorFlow here.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfgen.errors import UsageError, WorkError
from tfgen.evaluation.metrics import Metric
from tfgen.publishing import versions
from tfgen.publishing.artifacts import identify
from tfgen.settings.training import RESUMABLE
from tfgen.training.folder import RunFolder

# Version of evaluation.json.
FORMAT = 1
# Options of a training that do not decide which model it is: the seed, and what may change when it
# is resumed, except its length.
UNDECIDING_OPTIONS = {"seed", *RESUMABLE} - {"epochs"}
# Values that may be missing: images that no model of tfgen made have no settings, no seed of a
# training and no cost.
_VALUES = ("family", "preset", "seed", "weights", "n")
# A row of more seeds than these names the first of them.
_MAX_NAMES = 3


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
            whole = _complete(content)
            return Evaluation(name or _default_name(source), what, source, whole, bool(name))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else str(error)
        if isinstance(error, TypeError | AttributeError):
            fault = "it is not an evaluation"
        raise WorkError(
            f"{source} holds no evaluation that can be read: {fault}; write one with tfgen-evaluate"
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
    """The name of an evaluation that the user did not name."""
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


def _find_evaluation(what: str, saved_models: Path) -> Path:
    """The file that holds an evaluation: a JSON file, or a version's manifest."""
    in_folder = RunFolder(Path(what)).evaluation
    if in_folder.is_file():
        return in_folder
    artifact = identify(what, saved_models)
    if artifact.kind == "version":
        return artifact.path / versions.MANIFEST
    if artifact.kind in ("run", "folder", "shards"):
        raise UsageError(f"{what} has not been evaluated; run: tfgen-evaluate {what}")
    return artifact.path


def _complete(content: Any) -> dict[str, Any]:
    """An evaluation with all its parts; another format, or missing keys, are a ValueError."""
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}, not {FORMAT}")
    # Their absence is a KeyError.
    _ = content["title"], content["dataset"]["fingerprint"], content["dataset"]["split"]
    evaluation = {**dict.fromkeys(_VALUES), **content}
    evaluation["settings"] = {"model": {}, "options": {}, **(evaluation.get("settings") or {})}
    evaluation["cost"] = evaluation.get("cost") or {}
    return evaluation


# --- groups of seeds
# ------------------------------------------------------------------------------------------


class Statistic(NamedTuple):
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
    """Evaluations that differ only in the seed of the training, at least one.

    Attributes:
        members: one for each seed.
    """

    members: tuple[Evaluation, ...]

    @property
    def first(self) -> dict[str, Any]:
        """The evaluation that stands for all in what they share."""
        return self.members[0].content

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The contents of the members."""
        return [member.content for member in self.members]

    @property
    def measurement(self) -> Measurement:
        """How all evaluations of the group were measured."""
        return measurement(self.first)

    @property
    def labels(self) -> tuple[str, str]:
        """Names in tables: a short one, and one that tells the group from all others."""
        names = _enumerate([member.name for member in self.members])
        arguments = _enumerate([member.argument for member in self.members])
        return _without_seeds(self.members) or names, arguments

    def statistic(self, metric: Metric) -> Statistic | None:
        """A metric over the seeds that have it; None if none has."""
        known = [e for e in self.evaluations if metric.value(e) is not None]
        values = [value for e in known if (value := metric.value(e)) is not None]
        if len(values) < 2:
            return Statistic(values[0], metric.error(known[0])) if values else None
        return Statistic(float(np.mean(values)), float(np.std(values, ddof=1)))


def group_evaluations(evaluations: Iterable[Evaluation]) -> list[Group]:
    """Evaluations grouped by the user's own name, family, preset, settings and measurement.

    The groups are in the order of their first members. Evaluations of one configuration with the
    same seed, or with an unknown one, are in groups of their own.

    Raises:
        UsageError: an evaluation is passed twice.
    """
    groups: list[tuple[str, list[Evaluation]]] = []
    sources: set[Path] = set()
    for evaluation in evaluations:
        source = evaluation.source.resolve()
        if source in sources:
            raise UsageError(f"{evaluation.argument} is passed twice; pass it once")
        sources.add(source)
        key, seed = _group_key(evaluation), evaluation.content["seed"]
        for group_key, members in groups:
            seeds = [None, *(member.content["seed"] for member in members)]
            if group_key == key and seed not in seeds:
                members.append(evaluation)
                break
        else:
            groups.append((key, [evaluation]))
    return [Group(tuple(members)) for _, members in groups]


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
    options = content["settings"]["options"]
    parts = [
        evaluation.name if evaluation.is_named else None,
        *(content[name] for name in ("family", "preset", "weights")),
        content["settings"]["model"],
        {name: value for name, value in options.items() if name not in UNDECIDING_OPTIONS},
        is_finished(content),
        measurement(content),
    ]
    return json.dumps(parts, sort_keys=True)


def unique_labels(groups: Sequence[Group]) -> list[str]:
    """A name in tables for each group: the short one if no other group has it.

    Raises:
        UsageError: the user wrote one name before `=` for different models.
    """
    short = Counter(group.labels[0] for group in groups)
    labels = [
        group.labels[0]
        if short[group.labels[0]] == 1 or group.members[0].is_named
        else group.labels[1]
        for group in groups
    ]
    label, count = Counter(labels).most_common(1)[0]
    if count > 1:
        first, second = [
            group.members[0].argument
            for text, group in zip(labels, groups, strict=True)
            if text == label
        ][:2]
        raise UsageError(
            f"{first} and {second} are both named {label}, but are not two seeds of one "
            "configuration, measured alike; choose two names"
        )
    return labels


def _enumerate(words: Sequence[str]) -> str:
    """Names one after the other; of many, the first and the number of the others."""
    if len(words) > _MAX_NAMES:
        return f"{words[0]} and {len(words) - 1} more"
    return ", ".join(words)


def _without_seeds(members: Sequence[Evaluation]) -> str:
    """The common part of the names of several seeds: `vae` for `vae-0` and `vae-1`, or empty."""
    if len(members) == 1 or members[0].is_named:
        return members[0].name
    stems = set()
    for member in members:
        seed = str(member.content["seed"])
        stem = member.name.removesuffix(seed) if member.name.endswith(seed) else ""
        stems.add(re.sub(r"[-_. ]*(seed)?[-_. ]*$", "", stem))
    return stems.pop() if len(stems) == 1 else ""


def is_finished(evaluation: Mapping[str, Any]) -> bool:
    """Whether a model was trained to its last epoch; true if that is unknown."""
    epochs, last = evaluation["cost"].get("epochs"), evaluation["settings"]["options"].get("epochs")
    return None in (epochs, last) or epochs == last
