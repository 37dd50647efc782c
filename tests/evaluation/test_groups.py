"""Which evaluations are of one model, and what a table calls them."""

import pytest

from tests.evaluation.evaluations import evaluation, foreign_evaluation, named, numbered
from tfgen.errors import UsageError
from tfgen.evaluation.reading import Evaluation, group_evaluations, unique_labels


def seeds(evaluations: list[Evaluation]) -> list[list[int]]:
    groups = group_evaluations(evaluations)
    return [[item["seed"] for item in group.evaluations] for group in groups]


def test_seeds_of_other_settings_or_of_another_measurement_are_another_row() -> None:
    evaluations = [evaluation("vae", seed, fid=1.0) for seed in range(5)]
    for item in evaluations:
        item["likelihood"] = {"importance_samples": 500}
    assert seeds(numbered(evaluations)) == [[0, 1, 2, 3, 4]]
    evaluations[2]["settings"]["model"]["latent_dim"] = 2
    evaluations[3]["classifier"]["sha256"] = "d"
    evaluations[4]["likelihood"]["importance_samples"] = 50
    evaluations += [evaluations[0] | {"seed": 5, "weights": "last"}, evaluations[1] | {"n": 50}]
    assert seeds(numbered(evaluations)) == [[0, 1], [2], [3], [4], [5], [1]]


def test_the_same_seed_again_is_a_row_of_its_own() -> None:
    evaluations = [evaluation("vae", seed, fid=1.0) for seed in (0, 1, 0)]
    assert seeds(numbered(evaluations)) == [[0, 1], [0]]
    # Images that no model made have no seed.
    images = [foreign_evaluation("", fid=1.0) | {"family": None, "seed": None} for _ in range(2)]
    assert len(seeds([named("a", images[0]), named("b", images[1])])) == 2


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["my run"], ["my run"]),
        (["vae-mlp-0", "vae-mlp-1"], ["vae-mlp"]),
        (["0", "1"], ["0, 1"]),
        (["small", "large", "wide"], ["small, large, wide"]),
    ],
)
def test_a_row_is_called_what_the_user_calls_it(names: list[str], labels: list[str]) -> None:
    contents = [evaluation("vae", seed, fid=1.0) for seed in range(len(names))]
    evaluations = [named(name, content) for name, content in zip(names, contents, strict=True)]
    assert unique_labels(group_evaluations(evaluations)) == labels
    # Names before `=` say which evaluations share a row.
    own = [named(name, content, True) for name, content in zip(names, contents, strict=True)]
    assert unique_labels(group_evaluations(own)) == names


def test_models_of_one_name_are_told_apart_by_their_places() -> None:
    evaluations = numbered([evaluation("vae", 0, fid=1.0), evaluation("vae", 0, fid=2.0)])
    assert unique_labels(group_evaluations(evaluations)) == ["0/vae-0.json", "1/vae-0.json"]


def test_a_name_of_the_users_is_of_one_model() -> None:
    first, second = evaluation("vae", 0, fid=1.0), evaluation("vae", 1, fid=2.0)

    groups = group_evaluations([named("mine", first, True), named("mine", second, True)])
    assert unique_labels(groups) == ["mine"]
    groups = group_evaluations([named("mine", first, True), named("mine", second | {"n": 7}, True)])
    with pytest.raises(UsageError, match="2 evaluations are named mine, but"):
        unique_labels(groups)
