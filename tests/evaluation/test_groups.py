"""Which evaluations are of one model, and what a table calls them."""

from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.evaluations import evaluation, foreign_evaluation, named, numbered
from tfgen.errors import UsageError
from tfgen.evaluation.reading import (
    Evaluation,
    Group,
    group_evaluations,
    unique_labels,
)

pytestmark = pytest.mark.quick


def seeds(group: Group) -> list[int]:
    return [item["seed"] for item in group.evaluations]


def test_other_settings_are_another_model() -> None:
    evaluations = [evaluation("vae", seed, fid=1.0 + seed) for seed in (0, 1, 2)]
    evaluations[2]["settings"]["model"]["latent_dim"] = 2
    evaluations.append(evaluation("vae", 3, fid=70.0) | {"weights": "last"})
    groups = group_evaluations(numbered(evaluations))
    assert [seeds(group) for group in groups] == [[0, 1], [2], [3]]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("n",), 50),
        (("classifier", "sha256"), "d"),
        (("likelihood", "importance_samples"), 50),
    ],
)
def test_what_was_measured_differently_is_no_seed_of_the_same_row(
    path: tuple[str, ...], value: object
) -> None:
    first, second = (evaluation("vae", seed, fid=1.0) for seed in (0, 1))
    for item in (first, second):
        item["likelihood"] = {"importance_samples": 500, "dequantizations": 8}
    assert len(group_evaluations(numbered([first, second]))) == 1
    table = second
    for part in path[:-1]:
        table = table[part]
    table[path[-1]] = value
    assert len(group_evaluations(numbered([first, second]))) == 2


def test_the_same_seed_again_is_a_row_of_its_own() -> None:
    evaluations = [evaluation("vae", seed, fid=1.0) for seed in (0, 1, 0)]
    assert [seeds(group) for group in group_evaluations(numbered(evaluations))] == [[0, 1], [0]]
    # Images that no model made have no seed.
    images = [foreign_evaluation("", fid=1.0) | {"family": None, "seed": None} for _ in range(2)]
    assert len(group_evaluations([named("a", images[0]), named("b", images[1])])) == 2


def labels(*names: str, by_user: bool = False) -> list[str]:
    """Of evaluations of one configuration, whose seeds are 0, 1, …"""
    contents = [evaluation("vae", seed, fid=1.0) for seed in range(len(names))]
    evaluations = [
        named(name, content, by_user) for name, content in zip(names, contents, strict=True)
    ]
    return unique_labels(group_evaluations(evaluations))


def test_a_row_is_called_what_the_user_calls_it() -> None:
    assert labels("my run") == ["my run"]
    assert labels("vae-mlp-0", "vae-mlp-1") == ["vae-mlp"]
    assert labels("vae_seed0", "vae_seed1") == ["vae"]
    assert labels("0", "1") == ["0, 1"]
    assert labels("small", "large", "wide") == ["small, large, wide"]
    assert labels("a", "b", "c", "d") == ["a and 3 more"]
    # Names before `=` say which evaluations share a row.
    assert labels("small", "large", by_user=True) == ["small", "large"]


def test_models_of_one_name_are_told_apart_by_their_places() -> None:
    evaluations = numbered([evaluation("vae", 0, fid=1.0), evaluation("vae", 0, fid=2.0)])
    assert unique_labels(group_evaluations(evaluations)) == ["0/vae-0.json", "1/vae-0.json"]


def test_a_name_of_the_users_is_of_one_model() -> None:
    first, second = evaluation("vae", 0, fid=1.0), evaluation("vae", 1, fid=2.0)

    def mine(file: str, content: dict[str, Any]) -> Evaluation:
        return Evaluation("mine", file, Path(file), content, is_named=True)

    groups = group_evaluations([mine("a.json", first), mine("b.json", second)])
    assert unique_labels(groups) == ["mine"]
    groups = group_evaluations([mine("a.json", first), mine("b.json", second | {"n": 7})])
    with pytest.raises(UsageError, match=r"a\.json and b\.json are both named mine, but"):
        unique_labels(groups)
