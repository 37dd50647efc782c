"""The rule by which the report's claims are decided."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from tests.evaluation.evaluations import evaluation, foreign_evaluation, numbered, with_fids
from tfgen.evaluation.claims import CLAIMS, decide, pairs_in_words
from tfgen.evaluation.compare import compare
from tfgen.evaluation.groups import group_evaluations
from tfgen.evaluation.tables import claims_table, markdown

pytestmark = pytest.mark.quick


def verdict(**fids: Sequence[float]) -> str:
    """On the claim that the order in FID is GAN < flow < VAE."""
    result: str = decide(CLAIMS[0], group_evaluations(numbered(with_fids(**fids))))["verdict"]
    return result


def test_verdicts() -> None:
    assert verdict(gan=[1, 2, 3], flow=[10, 11, 12], vae=[20, 21, 22]) == "borne out"
    assert verdict(gan=[1, 2, 3], flow=[30, 31, 32], vae=[20, 21, 22]) == "not borne out"
    assert verdict(gan=[1, 2, 3], flow=[18, 20, 22], vae=[19, 21, 23]) == "within error"
    # First all pairs are within error, then both ends are reversed by more than their error.
    assert verdict(gan=[2, 2.8], flow=[1.5, 2.3], vae=[1.3, 2.1]) == "within error"
    assert verdict(gan=[2.5, 3.3], flow=[2.0, 2.8], vae=[1.5, 2.3]) == "not borne out"
    assert verdict(gan=[1], flow=[2], vae=[3]) == "undecided: a family has only one seed"
    assert verdict(gan=[1, 2], vae=[3, 4]) == "undecided: a value is missing"
    assert verdict(gan=[1, math.nan], flow=[1, 2], vae=[3, 4]) == "undecided: a value is missing"


def test_times_on_different_machines_are_not_judged() -> None:
    times = {"gan": 6.0, "flow": 36.0, "vae": 2.0}

    def verdict_on(first: dict[str, Any], machine: dict[str, Any]) -> str:
        evaluations = [evaluation(family, seed) for family in times for seed in (0, 1)]
        for item in evaluations:
            item["cost"] = {"seconds_an_epoch": times[item["family"]], **machine}
        evaluations[0]["cost"] |= first
        result: str = compare(numbered(evaluations)).claims[1]["verdict"]
        return result

    machine = {"processor": "a", "cores": 2}
    assert verdict_on({}, machine) == "not borne out"
    assert verdict_on({"processor": "b"}, machine) == "undecided: the machines differ"
    assert verdict_on({"cores": 16}, machine) == "undecided: the machines differ"
    assert verdict_on({}, {"processor": "a"}) == "undecided: the machine is unknown"


def test_two_rows_of_a_network_leave_a_claim_open() -> None:
    evaluations = with_fids(gan=(1, 2), flow=(10, 11), vae=(20, 21))
    assert compare(numbered(evaluations)).claims[0]["verdict"] == "borne out"
    evaluations.append(evaluation("gan", 0, fid=90.0))
    evaluations[-1]["settings"]["options"]["precision"] = "mixed_bfloat16"
    result = compare(numbered(evaluations))
    assert result.claims[0]["verdict"] == "undecided: two rows are of the GAN"


def test_metrics_that_were_measured_differently_are_not_judged() -> None:
    evaluations = with_fids(gan=(1, 2), flow=(10, 11), vae=(20, 21))
    for item in evaluations[:2]:
        item["n"] = 50
    undecided = "undecided: the samples were measured in different ways"
    assert compare(numbered(evaluations)).claims[0]["verdict"] == undecided


def test_an_error_is_the_root_of_both_squared_deviations() -> None:
    evaluations = with_fids(gan=(1, 4), flow=(8, 16), vae=(99, 99))
    first = decide(CLAIMS[0], group_evaluations(numbered(evaluations)))["pairs"][0]
    assert first["difference"] == pytest.approx(12 - 2.5)
    assert first["error"] == pytest.approx((3**2 / 2 + 8**2 / 2) ** 0.5)
    assert first["holds"] == 1


def test_the_table_has_verdict_and_pairs() -> None:
    evaluations = with_fids(gan=(10, 11), flow=(1, 2), vae=(10, 11))
    decision = decide(CLAIMS[0], group_evaluations(numbered(evaluations)))
    pairs = "GAN > flow is reversed, GAN > VAE is within error, flow > VAE holds"
    assert pairs_in_words(decision) == pairs
    start = "| image quality: GAN > flow > VAE | FID |"
    assert f"{start} **not borne out** | {pairs} |" in claims_table([decision])
    means = "GAN 10.5 ± 0.71 (2 seeds), flow 1.50 ± 0.71 (2 seeds), VAE 10.5 ± 0.71 (2 seeds)"
    assert f"{start} {means} | **not borne out** | {pairs} |" in markdown(
        compare(numbered(evaluations))
    )


def test_claims_are_about_the_reports_networks_on_mnist_only() -> None:
    evaluations = with_fids(gan=(1, 2), flow=(10, 11), vae=(20, 21))
    foreign = [foreign_evaluation("ppca", seed, fid=0.1) for seed in (0, 1)]
    claims = compare(numbered(evaluations)).claims
    assert len(claims) == len(CLAIMS)
    assert compare(numbered([*foreign, *evaluations])).claims == claims
    # One family has no order.
    assert not compare(numbered(evaluations[:2])).claims
    changed = [evaluation(family, 0, "mlp", fid=1.0) for family in ("gan", "vae", "flow")]
    for item in changed:
        item["cost"] = {"epochs": 3}
    on_fashion = with_fids(gan=(1, 2), flow=(10, 11), vae=(20, 21))
    for item in on_fashion:
        item["dataset"] = {"name": "fashion_mnist", "fingerprint": "f", "split": "test"}
    for others in (foreign, changed, on_fashion):
        result = compare(numbered(others))
        assert not result.claims
        assert "report" not in markdown(result)
