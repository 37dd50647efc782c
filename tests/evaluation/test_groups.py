"""Which evaluations are of one model, which compare, and which cannot be read."""

import copy
import json
from pathlib import Path

import pytest

from tests.evaluation.evaluations import evaluation, foreign_evaluation
from tfgen.errors import UsageError, WorkError
from tfgen.evaluation.compare import compare
from tfgen.evaluation.groups import group_evaluations, read_evaluation

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[2]


def test_an_unfinished_run_is_not_the_reports() -> None:
    evaluations = [evaluation("gan", seed, fid=1.0) for seed in (0, 1, 2)]
    for item, epochs in zip(evaluations, (200, 3, None), strict=True):
        item["cost"] = {} if epochs is None else {"epochs": epochs}
    result = compare(evaluations)
    assert [(row["model"], row["seeds"]) for row in result["reported"]] == [("gan mlp", [0, 2])]
    assert [(row["model"], row["seeds"]) for row in result["others"]] == [
        ("gan mlp (unfinished)", [1])
    ]


def test_a_setting_of_a_later_version_has_its_default() -> None:
    old, new = evaluation("vae", 0, fid=1.0), evaluation("vae", 1, fid=3.0)
    del old["settings"]["model"]["objective"], old["settings"]["options"]["clip_norm"]
    (row,) = compare([old, new])["reported"]
    assert (row["model"], row["FID"][0]) == ("vae mlp", 2.0)


def test_other_settings_are_another_model() -> None:
    evaluations = [evaluation("vae", seed, fid=1.0 + seed) for seed in (0, 1)]
    evaluations.append(evaluation("vae", 2, fid=50.0))
    evaluations[2]["settings"]["model"]["latent_dim"] = 2
    evaluations.append(evaluation("vae", 0, fid=70.0) | {"weights": "last"})
    result = compare(evaluations)
    assert [(row["model"], row["FID"][0]) for row in result["reported"]] == [
        ("vae mlp (weights best)", 1.5),
        ("vae mlp (weights last)", 70.0),
    ]
    assert [(row["model"], row["FID"][0]) for row in result["others"]] == [
        ("vae mlp (changed)", 50.0)
    ]


def test_a_family_that_is_not_installed_is_grouped_by_its_settings() -> None:
    settings = [{"model": {"latent_dim": dim}, "options": {}} for dim in (2, 2, 8)]
    evaluations = [
        foreign_evaluation("ppca", seed, "small", given, fid=1.0)
        for seed, given in enumerate(settings)
    ]
    first, second = group_evaluations(evaluations)
    assert first.name == "ppca small (latent_dim 2)"
    assert [item["seed"] for item in first.evaluations] == [0, 1]
    assert second.name == "ppca small (latent_dim 8)"


def test_evaluations_that_differ_do_not_compare() -> None:
    first = evaluation("vae", fid=1.0) | {"evaluation_seed": 0}
    first["likelihood"] = {"importance_samples": 500, "dequantizations": 8}
    for path, value, name in (
        (("dataset", "fingerprint"), "g", "data set"),
        (("dataset", "split"), "validation", "split"),
        (("likelihood", "importance_samples"), 50, "number of importance samples"),
        (("likelihood", "dequantizations"), 4, "number of dequantizations"),
        (("evaluation_seed",), 1, "seed of the samples"),
        (("classifier", "sha256"), "d", "classifier"),
        (("n",), 50, "number of samples"),
    ):
        second = copy.deepcopy(first) | {"family": "gan"}
        table = second
        for part in path[:-1]:
            table = table[part]
        table[path[-1]] = value
        with pytest.raises(UsageError, match=f"they differ in the {name} "):
            group_evaluations([first, second])
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([])


def test_two_of_the_same_settings_and_seed_are_refused() -> None:
    with pytest.raises(UsageError, match="the same settings and the same seed"):
        group_evaluations([evaluation("vae", fid=1.0), evaluation("vae", fid=2.0)])


@pytest.mark.parametrize(
    "path",
    [
        *sorted(ROOT.glob("docs/evaluations/*.json")),
        *sorted(ROOT.glob("docs/*/evaluation.json")),
        *(ROOT / "saved_models" / name / "1" for name in ("vae", "gan", "flow")),
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_evaluations_of_earlier_versions_are_read(path: Path, tmp_path: Path) -> None:
    item = read_evaluation(str(path), tmp_path)
    (group,) = group_evaluations([item])
    # All follow their preset, except for 50 latents in place of 20, and 100 epochs in place of 400.
    changed = ("vae-conv-50d", "vae-iwae-100", "vae-long-100")
    assert group.follows_preset == (path.parent.name not in changed)
    assert group.statistic(("samples", "fid")) is not None


def test_what_holds_no_evaluation_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    without_cost = {name: value for name, value in evaluation("vae").items() if name != "cost"}
    for content, message in (
        ("[]", "holds no evaluation that can be read: it is not an evaluation; write one with"),
        ("{}", "it lacks format"),
        ("[", "it is not JSON"),
        (json.dumps(evaluation("vae") | {"format": 2}), "its format is not 1"),
        (json.dumps(without_cost), "it lacks cost"),
        (json.dumps(evaluation("vae") | {"dataset": {"split": "test"}}), "it lacks fingerprint"),
    ):
        file.write_text(content)
        with pytest.raises(WorkError, match=message):
            read_evaluation(str(file), tmp_path)
    with pytest.raises(UsageError, match="has not been evaluated; run: tfgen-evaluate"):
        read_evaluation(str(tmp_path), tmp_path)
    with pytest.raises(UsageError, match="pass a run, a version, a published name or a JSON file"):
        read_evaluation(str(tmp_path / "gone"), tmp_path)
