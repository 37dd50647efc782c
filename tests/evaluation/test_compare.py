"""What compares, what is best, and what a comparison says about it."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from tests.evaluation.evaluations import evaluation, named, numbered
from tfgen.evaluation.compare import Table, compare, to_json
from tfgen.evaluation.job import LEAST_RANKED
from tfgen.evaluation.tables import markdown


def tables(contents: Mapping[str, Mapping[str, Any]], part: str = "samples") -> list[Table]:
    """The tables of a part, of evaluations by their names."""
    result = compare([named(name, content) for name, content in contents.items()])
    return [table for table in result if table.part == part]


def best(table: Table, column: str) -> set[str]:
    """The rows whose cells are marked as the best of a column."""
    return {row.name for row in table.rows if column in row.cells and row.cells[column].is_best}


def notes(table: Table, column: str) -> dict[str, tuple[str, ...]]:
    rows = [row for row in table.rows if row.group and column in row.cells]
    return {row.name: row.cells[column].notes for row in rows}


def test_seeds_of_one_configuration_share_a_row() -> None:
    evaluations = [
        evaluation("gan", 0, fid=4.0, kid=0.002),
        evaluation("gan", 1, fid=6.0, kid=0.004),
        evaluation("gan", 0, "dcgan", fid=0.9, kid=0.002, kid_error=0.0005),
    ]
    result = to_json(compare(numbered(evaluations)))
    first, second, *references = result["tables"][0]["rows"]
    assert (first["seeds"], second["seeds"]) == ([0, 1], [0])
    assert first["metrics"]["FID"]["mean"] == 5.0
    assert first["metrics"]["FID"]["error"] == pytest.approx(2**0.5)
    assert first["metrics"]["KID × 1000"]["mean"] == pytest.approx(3.0)
    assert first["metrics"]["KID × 1000"]["error"] == pytest.approx(2**0.5)
    # A single seed has the error of its estimate.
    assert second["metrics"]["KID × 1000"]["error"] == 0.5
    assert second["metrics"]["FID"] == {"mean": 0.9, "error": 0, "notes": (), "best": True}
    assert [row["name"] for row in references] == ["real images", "uniform noise"]
    assert references[0]["metrics"]["FID"]["mean"] == 0.5


def test_a_seed_without_a_metric_is_left_out_and_the_cell_says_so() -> None:
    contents = {f"vae-{seed}": evaluation("vae", seed, fid=1.0 + seed) for seed in range(3)}
    contents["vae-1"]["samples"]["recall"] = 0.5
    del contents["vae-2"]["samples"]["fid"]
    contents["vae-2"]["samples"]["recall"] = None
    (table,) = tables(contents)
    assert table.rows[0].cells["FID"].mean == 1.5
    assert notes(table, "FID") == {"vae": ("2 of 3 seeds",)}
    assert notes(table, "recall") == {"vae": ("1 of 3 seeds",)}
    assert notes(table, "coverage") == {}


def test_a_different_n_is_in_the_cell_and_is_not_ranked() -> None:
    contents = {"a": evaluation("vae", fid=3.0), "b": evaluation("gan", fid=4.0)}
    contents["c"] = evaluation("flow", fid=1.0) | {"n": 5000, "floor": {"fid": 0.25}}
    (table,) = tables(contents)
    assert table.title.endswith(", n = 1 000 unless stated otherwise")
    assert notes(table, "FID") == {"a": (), "b": (), "c": ("n = 5 000",)}
    # The only one of its n is not best of anything.
    assert best(table, "FID") == {"a"}
    real = [row.cells["FID"] for row in table.rows if row.name == "real images"]
    assert [(cell.mean, cell.notes) for cell in real] == [(0.5, ()), (0.25, ("n = 5 000",))]
    contents["d"] = evaluation("gan", fid=2.0) | {"n": 5000}
    (table,) = tables(contents)
    assert best(table, "FID") == {"a", "c"}


def test_lower_or_higher_is_better_and_equal_values_are_not_best() -> None:
    contents = {
        "a": evaluation("vae", fid=3.0, recall=0.5, precision=0.1, class_entropy=1.0),
        "b": evaluation("gan", fid=2.001, recall=0.7, precision=0.1, class_entropy=2.0),
        "c": evaluation("flow", fid=2.0, recall=math.nan, precision=0.1),
    }
    (table,) = tables(contents)
    # They print alike.
    assert best(table, "FID") == {"b", "c"}
    assert best(table, "recall") == {"b"}
    assert best(table, "precision") == best(table, "class entropy [nats]") == set()
    (alone,) = tables({"a": contents["a"]})
    assert best(alone, "FID") == set()


def test_copies_are_last_and_are_not_ranked() -> None:
    contents = {"memo": evaluation("gan", fid=0.1, copied=1.0)}
    contents["a"] = evaluation("vae", fid=3.0, copied=0.05)
    contents["earlier"] = evaluation("flow", fid=4.0)
    for content in contents.values():
        content["floor"]["copied"] = 0.02
    (table,) = tables(contents)
    assert [row.name for row in table.rows][:4] == ["a", "earlier", "memo", "real images"]
    assert table.rows[2].cells["copied [%]"].mean == 100
    assert best(table, "FID") == {"a"}
    assert best(table, "copied [%]") == set()
    (warning,) = table.warnings
    assert "memo copies" in warning
    text = markdown([table])
    assert text.index(warning) < text.index("| model |")


def test_few_images_are_not_ranked() -> None:
    contents = {
        name: evaluation(family, fid=fid) | {"n": 30, "cost": {"seconds": fid}}
        for name, family, fid in (("a", "vae", 1.0), ("b", "gan", 2.0))
    }
    (table,) = tables(contents)
    assert best(table, "FID") == set()
    assert str(LEAST_RANKED) in table.warnings[0]
    (table,) = tables({name: content | {"n": LEAST_RANKED} for name, content in contents.items()})
    assert best(table, "FID") == {"a"}
    assert not table.warnings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": {"name": "fashion", "fingerprint": "m", "split": "test"}}, None),
        (
            {"dataset": {"name": "mnist", "fingerprint": "m", "split": "validation"}},
            "against the validation images of mnist",
        ),
        ({"features": {"name": "random", "sha256": "r"}}, "features of random, n"),
    ],
)
def test_what_does_not_compare_is_in_another_table(
    change: dict[str, Any], words: str | None
) -> None:
    result = tables({"a": evaluation("vae", fid=1.0), "b": evaluation("gan", fid=2.0) | change})
    if words is None:  # a data set is what it holds, not its name
        assert len(result) == 1
        return
    assert [list(notes(table, "FID")) for table in result] == [["a"], ["b"]]
    assert words in result[1].title
    assert not best(result[0], "FID")


def likelihood(family: str, **values: Any) -> dict[str, Any]:
    return evaluation(family, fid=1.0) | {"likelihood": values}


def test_likelihoods_compare_only_of_the_same_events_and_settings() -> None:
    contents = {
        "a": likelihood("vae", nll=90.5, negative_elbo=95.0, importance_samples=500, events="e"),
        "b": likelihood("vae", nll=90.0, negative_elbo=96.0, importance_samples=5000, events="e"),
        "c": likelihood("vae", nll=9.0, negative_elbo=9.5, importance_samples=500, events="pixels"),
        "d": likelihood("flow", bits_per_dim=1.8, dequantizations=8, events="bytes"),
        "e": likelihood("flow", bits_per_dim=1.7, dequantizations=8, events="bytes"),
    }
    # On other features, likelihoods still compare.
    contents["e"]["classifier"] = {"name": "other", "sha256": "o"}
    (table,) = tables(contents, "likelihood")
    assert notes(table, "NLL [nats]") == {"a": ("k = 500",), "b": ("k = 5000",), "c": ("k = 500",)}
    assert best(table, "NLL [nats]") == set()
    assert best(table, "−ELBO [nats]") == {"a"}
    assert best(table, "bits/dim") == {"e"}
    assert notes(table, "bits/dim") == {"d": (), "e": ()}
    assert "a: nats of e, bounds from 500 importance samples per image" in table.notes
    assert "d, e: bits/dim of bytes, the probability averaged over 8 draws per image" in table.notes


def test_bits_per_dim_of_a_vae_and_of_a_flow_are_ranked_together() -> None:
    of_vae = {"bits_per_dim": 1.2, "importance_samples": 500, "nll": 650.0}
    contents = {
        "flow": likelihood("flow", events="bytes", bits_per_dim=1.03, dequantizations=8),
        "vae": likelihood("vae", events="bytes", **of_vae),
        "binary": likelihood("vae", events="bernoulli", nll=83.0, importance_samples=500),
    }
    (table,) = tables(contents, "likelihood")
    assert best(table, "bits/dim") == {"flow"}
    assert notes(table, "bits/dim") == {"flow": ("8 draws",), "vae": ("k = 500",)}
    assert best(table, "NLL [nats]") == set()
    note = "vae: nats and bits/dim of bytes, bounds from 500 importance samples per image"
    assert note in table.notes
    # An estimate is ranked with bounds, and says what it is.
    estimate = likelihood("flow", events="bytes", bits_per_dim=1.0, estimates=1000)
    (table,) = tables(contents | {"estimate": estimate}, "likelihood")
    assert best(table, "bits/dim") == {"estimate"}
    assert notes(table, "bits/dim")["estimate"] == ("1000 images",)
    assert any(note.startswith("estimate: ") for note in table.notes)
    # Where two flows differ in their draws, they are not ranked together, nor with the VAE.
    other = likelihood("flow", events="bytes", bits_per_dim=1.1, dequantizations=1)
    (table,) = tables(contents | {"other flow": other}, "likelihood")
    assert best(table, "bits/dim") == set()


def test_different_machines_and_unfinished_trainings_are_said() -> None:
    times = {"seconds_an_epoch": 2.0, "epochs": 3, "processor": "A", "cores": 2}
    contents = {
        "a": evaluation("gan", fid=1.0) | {"cost": times},
        "b": evaluation("vae", fid=2.0) | {"cost": {"seconds_an_epoch": 1.0}},
    }
    (table,) = tables(contents, "cost")
    assert table.notes == [
        "Training times come from different machines",
        "Training did not reach its last epoch: a",
    ]
