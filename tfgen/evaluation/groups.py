"""Evaluations that were written: read, checked, and put together by model.

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

# Of the evaluations that are read.
FORMAT = 1
# Options of a training that do not decide the model: its seed, and what may change when it is
# resumed, but its length.
BESIDE = {"seed", *RESUMABLE} - {"epochs"}
# The report's own networks, by whose name its claims are judged.
REPORTED = "mlp"
# What the name of a figure ends with that is to be read times 1000.
_THOUSANDTHS = "_thousandths"


@dataclass(frozen=True)
class Figures:
    """The mean of a figure over seeds and their standard deviation.

    With one seed alone it is the estimate's own standard error, 0 where that has none.
    """

    mean: float
    spread: float


@dataclass(frozen=True)
class Group:
    """Evaluations that differ in the seed of training alone.

    Attributes:
        family: of all.
        preset: of all.
        as_preset: whether they were trained as the preset says.
        evaluations: one a seed.
        finished: whether they were trained to the end, as far as that is known.
        apart: what tells it from groups of the same name: their other settings.
    """

    family: str
    preset: str
    as_preset: bool
    evaluations: tuple[dict[str, Any], ...]
    finished: bool = True
    apart: str = ""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        notes = (
            "" if self.as_preset else "changed",
            "" if self.finished else "unfinished",
            self.apart,
        )
        told = ", ".join(filter(None, notes))
        return f"{self.family} {self.preset}" + (f" ({told})" if told else "")

    @property
    def reported(self) -> bool:
        """Whether these are the source report's own networks, as it trained them."""
        return self.preset == REPORTED and self.as_preset and self.finished

    def figures(self, path: Sequence[str]) -> Figures | None:
        """The figure over the seeds; None where an evaluation lacks it."""
        found = [lookup(each, path) for each in self.evaluations]
        if any(value is None for value in found):
            return None
        values = [float(value) for value in found if value is not None]
        if len(values) == 1:
            return Figures(values[0], own_error(self.evaluations[0], path))
        return Figures(float(np.mean(values)), float(np.std(values, ddof=1)))


def lookup(evaluation: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """The number at a path of an evaluation, None where there is none."""
    *parts, last = path
    table: Any = evaluation
    for part in parts:
        table = table.get(part) or {}
    value = table.get(last.removesuffix(_THOUSANDTHS))
    scale = 1000 if last.endswith(_THOUSANDTHS) else 1
    return None if value is None else scale * float(value)


def own_error(evaluation: Mapping[str, Any], path: Sequence[str]) -> float:
    """The standard error of the number at a path, in its units; 0 where none is known."""
    *parts, last = path
    name = last.removesuffix(_THOUSANDTHS)
    return lookup(evaluation, (*parts, f"{name}_error{last.removeprefix(name)}")) or 0.0


def read_evaluation(what: str, saved_models: Path) -> dict[str, Any]:
    """The evaluation of a run, of a version, of a published name, or in a JSON file.

    Raises:
        UsageError: there is none.
        WorkError: it is damaged.
    """
    path = Path(what)
    if path.is_file():
        source, inner = path, False
    elif RunFolder(path).evaluation.is_file():
        source, inner = RunFolder(path).evaluation, False
    elif (path / versions.MANIFEST).is_file():
        source, inner = path / versions.MANIFEST, True
    elif path.is_dir():
        raise UsageError(f"{what} has not been judged; run tfgen-evaluate {what}")
    elif path.name != what:
        raise UsageError(
            f"there is no {what}; name a run, a version, a published name or a JSON file"
        )
    else:
        source, inner = versions.find(what, saved_models).path / versions.MANIFEST, True
    try:
        data = json.loads(source.read_text())
        found = data["evaluation"] if inner else data
        if found is None:
            raise UsageError(f"{what} has not been judged; run tfgen-evaluate {what}")
        if found["format"] != FORMAT or not isinstance(found["title"], str):
            raise ValueError(f"its format is not {FORMAT}")
        needed = {"family", "preset", "seed", "settings", "weights", "n", "cost"}
        if missing := needed - found.keys() or {"fingerprint", "split"} - found["dataset"].keys():
            raise ValueError(f"it lacks {min(missing)}")
        return dict(found)
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkError(f"{source} holds no evaluation that can be read ({error})") from error


def grouped(evaluations: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Evaluations by family, preset and settings, in the order in which they come.

    Raises:
        UsageError: two are of one seed, or they do not compare: another data set, split, number of
            samples, seed of these, classifier, or number of importance samples.
    """
    evaluations = list(evaluations)
    for name, part, key in (
        ("data set", "dataset", "fingerprint"),
        ("split", "dataset", "split"),
        ("classifier", "classifier", "sha256"),
        ("number of importance samples", "likelihood", "importance_samples"),
        ("number of dequantizations", "likelihood", "dequantizations"),
    ):
        _same(evaluations, name, [(each.get(part) or {}).get(key) for each in evaluations])
    _same(evaluations, "number of samples", [each["n"] for each in evaluations])
    _same(evaluations, "seed", [each.get("evaluation_seed") for each in evaluations])
    groups: dict[str, list[dict[str, Any]]] = {}
    for each in evaluations:
        decided = [each["family"], each["preset"], _settings(each), each["weights"], finished(each)]
        key = json.dumps(decided, sort_keys=True)
        members = groups.setdefault(key, [])
        if any(other["seed"] == each["seed"] for other in members):
            raise UsageError(
                f"{each['title']} and another have the same settings and the same seed; give one of them"
            )
        members.append(dict(each))
    return _told_apart(
        [
            Group(
                str(each["family"]),
                str(each["preset"]),
                as_preset(each),
                tuple(members),
                finished(each),
            )
            for members in groups.values()
            for each in members[:1]
        ]
    )


def _told_apart(groups: Sequence[Group]) -> list[Group]:
    """The groups, those of one name with the settings in which they differ."""

    def flat(group: Group) -> dict[str, Any]:
        settings = _settings(group.evaluations[0])
        return {
            **settings["model"],
            **settings["options"],
            "weights": group.evaluations[0]["weights"],
        }

    told = []
    for group in groups:
        own = flat(group)
        others = [
            flat(other) for other in groups if other.name == group.name and other is not group
        ]
        differing = [name for name in own if any(own[name] != other.get(name) for other in others)]
        told.append(replace(group, apart=", ".join(f"{name} {own[name]}" for name in differing)))
    return told


def finished(evaluation: Mapping[str, Any]) -> bool:
    """Whether a model was trained for all of its epochs; where that is not known, it counts as
    such."""
    done = evaluation["cost"].get("epochs")
    return done is None or done == evaluation["settings"]["options"].get("epochs")


def as_preset(evaluation: Mapping[str, Any]) -> bool:
    """Whether a model was made and trained as its preset says; what comes from the data may
    differ."""
    try:
        preset = registry.family(evaluation["family"]).preset(evaluation["preset"])
    except (UsageError, TypeError):
        return False
    settings, decided = _settings(evaluation), ("image_shape", "num_classes")
    wanted = {name: value for name, value in preset.model.to_json().items() if name not in decided}
    wanted_options = {**preset.training(), "conditional": False}
    return all(settings["model"].get(name) == value for name, value in wanted.items()) and all(
        settings["options"].get(name) == value for name, value in wanted_options.items()
    )


def _settings(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """How the model was made and trained; what its version of tfgen had no setting for is as by
    default."""
    model, options = evaluation["settings"]["model"], evaluation["settings"]["options"]
    with contextlib.suppress(UsageError, TypeError):
        model = registry.family(evaluation["family"]).config.from_json(model).to_json()
        full = read_options(options).to_json()
        options = {
            name: value for name, value in full.items() if name in options or name not in BESIDE
        }
    return {"model": model, "options": options}


def _same(evaluations: Sequence[Mapping[str, Any]], name: str, values: Sequence[Any]) -> None:
    """Refuses different values where there are any."""
    known = [
        (each, value) for each, value in zip(evaluations, values, strict=True) if value is not None
    ]
    for each, value in known[1:]:
        first, other = known[0]
        if value != other:
            raise UsageError(
                f"{first['title']} and {each['title']} do not compare: they were judged by another {name} "
                f"({other}, {value}); run tfgen-evaluate anew"
            )
