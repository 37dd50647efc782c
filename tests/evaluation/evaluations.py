"""Evaluations as `tfgen-evaluate` writes them, with few entries."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfgen import registry
from tfgen.evaluation.reading import Evaluation


def evaluation(family: str, seed: int = 0, preset: str = "mlp", **samples: float) -> dict[str, Any]:
    """An evaluation of a preset of a built-in family, with these metrics of samples."""
    entry = registry.family(family).preset(preset)
    settings = {"model": entry.model.to_json(), "options": entry.training()}
    return foreign_evaluation(family, seed, preset, settings, **samples)


def foreign_evaluation(
    family: str,
    seed: int = 0,
    preset: str = "mlp",
    settings: Mapping[str, Any] | None = None,
    **samples: float,
) -> dict[str, Any]:
    """An evaluation of a family that need not be known, such as one of a package that is gone."""
    return {
        "settings": dict(settings or {"model": {}, "options": {}}),
        "weights": "best",
        "format": 1,
        "title": f"{family} {preset}, seed {seed}",
        "family": family,
        "preset": preset,
        "seed": seed,
        "dataset": {"name": "mnist", "fingerprint": "m", "split": "test"},
        "n": 1000,
        "classifier": {"name": "classifier", "version": 1, "sha256": "c"},
        "samples": samples,
        "floor": {"fid": 0.5},
        "ceiling": {"fid": 900.0},
        "cost": {},
    }


def named(name: str, content: Mapping[str, Any], by_user: bool = False) -> Evaluation:
    """An evaluation in a file of that name; `by_user`: as if it was passed as NAME=FILE."""
    return Evaluation(name, f"{name}.json", Path(f"{name}.json"), dict(content), by_user)


def numbered(contents: Sequence[Mapping[str, Any]]) -> list[Evaluation]:
    """Evaluations in files that are named by family and seed, each in a folder of its own."""
    names = [f"{content['family']}-{content['seed']}" for content in contents]
    return [
        Evaluation(name, f"{place}/{name}.json", Path(f"{place}/{name}.json"), dict(content))
        for place, (name, content) in enumerate(zip(names, contents, strict=True))
    ]
