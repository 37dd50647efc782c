"""Reads evaluations that `tfgen-evaluate` wrote, and groups the seeds of one configuration.

No TensorFlow here.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfgen.errors import UsageError, WorkError, describe, printable
from tfgen.evaluation.distances import Estimate
from tfgen.evaluation.metrics import Metric
from tfgen.publishing import versions
from tfgen.publishing.artifacts import identify
from tfgen.settings.training import RESUMABLE
from tfgen.system.atomic import read_json
from tfgen.training.folder import RunFolder

# Version of evaluation.json.
FORMAT = 1
# Options of a training that do not decide which model it is: the seed, and what may change when it
# is resumed, except its length.
UNDECIDING_OPTIONS = {"seed", *RESUMABLE} - {"epochs"}


class Evaluation(NamedTuple):
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
    name, separator, what = argument.partition("=")
    if not separator or Path(argument).exists():  # a path may contain `=`, too
        name, what = "", argument
    elif not name.strip() or not what:
        raise UsageError(f"{argument!r} lacks a name or an evaluation; pass NAME=EVALUATION")
    source = _find_evaluation(what, saved_models)
    try:
        content: Any = None if source.is_dir() else read_json(source)
        if source.name == versions.MANIFEST:
            content = content.get("evaluation")
        # Images that no model of tfgen made have no cost.
        content = content and {"cost": {}, **content}
        if content and content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, not {FORMAT}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        text = f"{source} has no evaluation ({describe(error)}); run tfgen-evaluate"
        raise WorkError(text) from error
    if not content:
        raise UsageError(f"{what} has not been evaluated; run: tfgen-evaluate {what}")
    label = printable(name.strip() or _default_name(source.absolute()))
    return Evaluation(label, what, source, content, bool(name))


def extractor(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of the network that features of samples come from."""
    return evaluation.get("features") or evaluation.get("classifier") or {}


def _default_name(source: Path) -> str:
    """The name of an evaluation that the user did not name."""
    if source.name == versions.MANIFEST:
        return f"{source.parents[1].name} version {source.parent.name}"
    if source == RunFolder(source.parent).evaluation:
        return source.parent.name
    # `tfgen-evaluate` itself adds these words to the names of versions and of images.
    return source.stem.removesuffix("-evaluation") or source.stem


def _find_evaluation(what: str, saved_models: Path) -> Path:
    """The file that may hold an evaluation, a version's manifest too; or a folder without one."""
    in_folder = RunFolder(Path(what)).evaluation
    if in_folder.is_file():
        return in_folder
    path = identify(what, saved_models).path
    manifest = path / versions.MANIFEST
    return manifest if manifest.is_file() else path


# --- groups of seeds
# ------------------------------------------------------------------------------------------


class Measurement(NamedTuple):
    """How an evaluation was measured. Metrics compare only if what decides them is equal.

    Attributes:
        dataset: fingerprint of the data set.
        split: of the real images.
        n: number of samples, and of real images.
        features: hash of the network that features come from; None without metrics of samples.
        importance_samples: per image; None without this likelihood.
        dequantizations: draws per image; None without this likelihood.
    """

    dataset: str
    split: str
    n: int
    features: str | None
    importance_samples: int | None
    dequantizations: int | None


class Group(NamedTuple):
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
    def label(self) -> str:
        """The name in tables: of several seeds, the common part of their names, or all of them."""
        names = {member.name: str(member.content["seed"]) for member in self.members}
        stems = {name.removesuffix(seed).rstrip("-_. ") for name, seed in names.items()}
        if len(names) == 1 or len(stems) > 1:
            return ", ".join(names)
        return stems.pop() or ", ".join(names)

    def statistic(self, metric: Metric) -> Estimate | None:
        """The mean of a metric over the seeds that have it; None if none has.

        The error is the standard deviation over the seeds; for a single seed, the standard error of
        the estimate, 0 if there is none.
        """
        known = [(e, value) for e in self.evaluations if (value := metric.value(e)) is not None]
        if len(known) < 2:
            return Estimate(known[0][1], metric.error(known[0][0])) if known else None
        values = [value for _, value in known]
        return Estimate(float(np.mean(values)), float(np.std(values, ddof=1)))


def group_evaluations(evaluations: Iterable[Evaluation]) -> list[Group]:
    """Evaluations grouped by the user's own name, family, preset, settings and measurement.

    The groups are in the order of their first members. Evaluations of one configuration with the
    same seed, or with an unknown one, are in groups of their own.
    """
    groups: dict[tuple[str, int], list[Evaluation]] = {}
    # How often a seed of a configuration was met.
    repeats: Counter[tuple[str, Any]] = Counter()
    for evaluation in evaluations:
        key, seed = _group_key(evaluation), evaluation.content["seed"]
        groups.setdefault((key, repeats[key, seed]), []).append(evaluation)
        repeats[key, seed] += 1
    return [Group(tuple(members)) for members in groups.values()]


def measurement(evaluation: Mapping[str, Any]) -> Measurement:
    """How an evaluation was measured."""
    dataset, likelihood = evaluation["dataset"], evaluation.get("likelihood") or {}
    images = str(dataset["fingerprint"]), str(dataset["split"]), evaluation["n"]
    # Without a hash, equal descriptions are the same network.
    network = extractor(evaluation)
    sha256 = str(network.get("sha256") or json.dumps(network, sort_keys=True))
    draws = map(likelihood.get, ("importance_samples", "dequantizations"))
    return Measurement(*images, sha256 if evaluation.get("samples") else None, *draws)


def _group_key(evaluation: Evaluation) -> str:
    """All that decides the group of an evaluation, as a text."""
    content = evaluation.content
    options = content["settings"]["options"]
    parts = [
        evaluation.name if evaluation.is_named else None,
        *(content[name] for name in ("family", "preset", "weights")),
        content["seed"] is None,
        content["settings"]["model"],
        {name: value for name, value in options.items() if name not in UNDECIDING_OPTIONS},
        is_finished(content),
        measurement(content),
    ]
    return json.dumps(parts, sort_keys=True)


def unique_labels(groups: Sequence[Group]) -> list[str]:
    """A name in tables for each group: where two have one name, the places of the evaluations.

    Raises:
        UsageError: an evaluation is passed twice, or different models have one name.
    """
    counts = Counter(group.label for group in groups)
    labels = [
        group.label
        if counts[group.label] == 1 or group.members[0].is_named
        else ", ".join(member.argument for member in group.members)
        for group in groups
    ]
    label, count = Counter(labels).most_common(1)[0]
    if count > 1:
        text = f"{count} evaluations are named {label}, but are not seeds of one configuration"
        raise UsageError(f"{text}; pass each once, with a name of its own")
    return labels


def is_finished(evaluation: Mapping[str, Any]) -> bool:
    """Whether a model was trained to its last epoch; true if that is unknown."""
    epochs, last = evaluation["cost"].get("epochs"), evaluation["settings"]["options"].get("epochs")
    return None in (epochs, last) or epochs == last
