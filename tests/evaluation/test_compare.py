"""The rule by which the report's claims are judged, and the tables."""

import copy
import math
from typing import Any

import pytest

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.evaluation.compare import CLAIMS, answer, compare, markdown, number, verdict
from tfgen.evaluation.groups import grouped


def evaluation(family: str, seed: int = 0, preset: str = "mlp", **samples: float) -> dict[str, Any]:
    entry = registry.family(family).preset(preset)
    return {
        "settings": {"model": entry.model.to_json(), "options": entry.training()},
        "weights": "best",
        "format": 1,
        "title": f"{family} {preset}, seed {seed}",
        "family": family,
        "preset": preset,
        "seed": seed,
        "dataset": {"fingerprint": "f", "split": "test"},
        "n": 100,
        "classifier": {"sha256": "c"},
        "samples": samples,
        "floor": {"fid": 0.5},
        "ceiling": {"fid": 900.0},
        "cost": {},
    }


def judged(**fids: list[float]) -> str:
    found = [
        evaluation(family, seed, fid=fid)
        for family, each in fids.items()
        for seed, fid in enumerate(each)
    ]
    result: str = verdict(CLAIMS[0], grouped(found))["verdict"]
    return result


def test_verdicts() -> None:
    # The claim is GAN < flow < VAE in FID.
    assert judged(gan=[1, 2, 3], flow=[10, 11, 12], vae=[20, 21, 22]) == "borne out"
    assert judged(gan=[1, 2, 3], flow=[30, 31, 32], vae=[20, 21, 22]) == "not borne out"
    assert judged(gan=[1, 2, 3], flow=[18, 20, 22], vae=[19, 21, 23]) == "within error"
    # Each within the error of its neighbour, and the ends the other way round by more.
    assert judged(gan=[2, 2.8], flow=[1.5, 2.3], vae=[1.3, 2.1]) == "within error"
    assert judged(gan=[2.5, 3.3], flow=[2.0, 2.8], vae=[1.5, 2.3]) == "not borne out"
    assert judged(gan=[1], flow=[2], vae=[3]) == "not judged: one seed alone"
    assert judged(gan=[1, 2], vae=[3, 4]) == "not judged: a figure is missing"
    assert judged(gan=[1, math.nan], flow=[1, 2], vae=[3, 4]) == "not judged: a figure is missing"


def test_times_on_different_machines_are_not_judged() -> None:
    times = {"gan": 6.0, "flow": 36.0, "vae": 2.0}

    def judged_on(first: dict[str, Any], others: dict[str, Any]) -> str:
        found = [evaluation(family, seed) for family in times for seed in (0, 1)]
        for each in found:
            each["cost"] = {"seconds_an_epoch": times[each["family"]], **others}
        found[0]["cost"] |= first
        result: str = compare(found)["claims"][1]["verdict"]
        return result

    machine = {"processor": "a", "cores": 2}
    assert judged_on({}, machine) == "not borne out"
    assert judged_on({"processor": "b"}, machine) == "not judged: different machines"
    assert judged_on({"cores": 16}, machine) == "not judged: different machines"
    assert judged_on({}, {"processor": "a"}) == "not judged: the machine is not known"


def test_a_run_that_did_not_end_is_not_the_reports() -> None:
    found = [evaluation("gan", seed, fid=1.0) for seed in (0, 1, 2)]
    for each, done in zip(found, (200, 3, None), strict=True):
        each["cost"] = {} if done is None else {"epochs": done}
    result = compare(found)
    assert [(row["model"], row["seeds"]) for row in result["reported"]] == [("gan mlp", [0, 2])]
    assert [(row["model"], row["seeds"]) for row in result["others"]] == [
        ("gan mlp (unfinished)", [1])
    ]


def test_two_kinds_of_one_network_leave_a_claim_open() -> None:
    fids = {"gan": 1.0, "flow": 10.0, "vae": 20.0}
    found = [
        evaluation(name, seed, fid=fid + seed) for name, fid in fids.items() for seed in (0, 1)
    ]
    assert compare(found)["claims"][0]["verdict"] == "borne out"
    found.append(evaluation("gan", 0, fid=90.0))
    found[-1]["settings"]["options"]["precision"] = "mixed_bfloat16"
    result = compare(found)
    assert result["claims"][0]["verdict"] == "not judged: gan comes in two kinds"
    names = [row["model"] for row in result["reported"]]
    assert names[0] == "gan mlp (precision float32)"
    assert names[-1] == "gan mlp (precision mixed_bfloat16)"


def test_a_setting_that_came_later_is_as_by_default() -> None:
    old, new = evaluation("vae", 0, fid=1.0), evaluation("vae", 1, fid=3.0)
    del old["settings"]["model"]["objective"], old["settings"]["options"]["clip_norm"]
    (row,) = compare([old, new])["reported"]
    assert (row["model"], row["FID"][0]) == ("vae mlp", 2.0)


def test_other_settings_are_another_model() -> None:
    found = [evaluation("vae", seed, fid=1.0 + seed) for seed in (0, 1)]
    found.append(evaluation("vae", 2, fid=50.0))
    found[2]["settings"]["model"]["latent_dim"] = 2
    found.append(evaluation("vae", 0, fid=70.0) | {"weights": "last"})
    result = compare(found)
    assert [(row["model"], row["FID"][0]) for row in result["reported"]] == [
        ("vae mlp (weights best)", 1.5),
        ("vae mlp (weights last)", 70.0),
    ]
    assert [(row["model"], row["FID"][0]) for row in result["others"]] == [
        ("vae mlp (changed)", 50.0)
    ]


def test_an_error_is_the_root_of_both_squared_spreads() -> None:
    fids = {"gan": (1, 4), "flow": (8, 16), "vae": (99, 99)}
    found = [
        evaluation(name, seed, fid=fid)
        for name, each in fids.items()
        for seed, fid in enumerate(each)
    ]
    result = verdict(CLAIMS[0], grouped(found))
    first = result["pairs"][0]
    assert first["difference"] == pytest.approx(12 - 2.5)
    assert first["error"] == pytest.approx((3**2 / 2 + 8**2 / 2) ** 0.5)
    assert first["holds"] == 1


def test_an_answer_tells_of_each_pair() -> None:
    fids = {"gan": (10, 11), "flow": (1, 2), "vae": (10, 11)}
    found = [
        evaluation(name, seed, fid=fid)
        for name, each in fids.items()
        for seed, fid in enumerate(each)
    ]
    told = answer(verdict(CLAIMS[0], grouped(found)))
    assert told == (
        "**not borne out**: gan > flow is the other way round, gan > vae is within error, flow > vae holds"
    )
    assert told in markdown(compare(found))


def test_tables_keep_the_reports_networks_apart() -> None:
    found = [
        evaluation("gan", 0, fid=4.0, kid=0.002),
        evaluation("gan", 1, fid=6.0, kid=0.004),
        evaluation("gan", 0, "dcgan", fid=0.9),
    ]
    result = compare(found)
    assert [row["model"] for row in result["reported"]] == ["gan mlp"]
    assert result["reported"][0]["FID"] == [5.0, pytest.approx(2**0.5)]
    assert result["reported"][0]["KID × 1000"] == [3.0, pytest.approx(2**0.5)]
    assert [row["model"] for row in result["others"]] == ["gan dcgan"]
    text = markdown(result)
    assert "| gan mlp | 0, 1 | 5.00 ± 1.4 | 3.00 ± 1.4 |" in text
    assert "| real images |  | 0.500 |" in text
    assert "**not judged: a figure is missing**" in text


def test_one_seed_alone_has_its_own_error() -> None:
    found = [evaluation("gan", seed, fid=1.0, kid=0.002, kid_error=0.0005) for seed in (0, 1)]
    found[0]["floor"] = {"kid": 0.001, "kid_error": 0.0002}
    alone = compare(found[:1])
    assert alone["reported"][0]["KID × 1000"] == [2.0, 0.5]
    assert alone["reported"][0]["FID"] == [1.0, 0.0]
    assert alone["real"]["KID × 1000"] == [1.0, 0.2]
    assert "| real images |  |  | 1.00 ± 0.20 |" in markdown(alone)
    assert compare(found)["reported"][0]["KID × 1000"] == [2.0, 0.0]


def test_nats_and_bits_stand_in_columns_of_their_own() -> None:
    vae, flow = evaluation("vae", fid=1.0), evaluation("flow", fid=2.0)
    vae["likelihood"] = {"nll": 90.123, "importance_samples": 500, "events": "bernoulli"}
    flow["likelihood"] = {"bits_per_dim": 1.8, "dequantizations": 8, "events": "bytes"}
    text = markdown(compare([vae, flow]))
    assert "| NLL [nats] | bits/dim |" in text
    assert "| vae mlp | 0 | 1.00 | 90.123 |  |" in text
    assert "| flow mlp | 0 | 2.00 |  | 1.800 |" in text
    assert "- vae mlp: nats of bernoulli; NLL by 500 importance samples" in text


def test_what_was_judged_otherwise_does_not_compare() -> None:
    one = evaluation("vae", fid=1.0) | {"evaluation_seed": 0}
    one["likelihood"] = {"importance_samples": 500, "dequantizations": 8}
    for path, value, told in (
        (("dataset", "fingerprint"), "g", "data set"),
        (("dataset", "split"), "validation", "split"),
        (("likelihood", "importance_samples"), 50, "number of importance samples"),
        (("likelihood", "dequantizations"), 4, "number of dequantizations"),
        (("evaluation_seed",), 1, "seed"),
        (("classifier", "sha256"), "d", "classifier"),
        (("n",), 50, "number of samples"),
    ):
        other = copy.deepcopy(one) | {"family": "gan"}
        table = other
        for part in path[:-1]:
            table = table[part]
        table[path[-1]] = value
        with pytest.raises(UsageError, match=f"another {told}"):
            grouped([one, other])
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0012345, "0.00123"), (12.345, "12.3"), (1234.5, "1234"), (0.0, "0"), (9.999, "10.00")],
)
def test_significant_digits(value: float, shown: str) -> None:
    assert number(value, 3) == shown
