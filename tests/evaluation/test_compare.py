"""What compares, what is best, and what a comparison says about it."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from tests.evaluation.evaluations import evaluation, named, numbered
from tfgen.evaluation.compare import Cell, Comparison, Table, compare, to_json

pytestmark = pytest.mark.quick


def tables(contents: Mapping[str, Mapping[str, Any]], part: str = "samples") -> list[Table]:
    """The tables of a part, of evaluations by their names."""
    comparison = compare([named(name, content) for name, content in contents.items()])
    return [table for table in comparison.tables if table.part == part]


def cells(table: Table, column: str) -> dict[str, Cell | None]:
    """The cells of the models in a column, by the name of the row."""
    return {row.name: row.cells.get(column) for row in table.rows if row.group}


def best(table: Table, column: str) -> set[str]:
    """The rows whose cells are marked as the best of a column."""
    return {name for name, cell in cells(table, column).items() if cell and cell.is_best}


def notes(table: Table, column: str) -> dict[str, tuple[str, ...]]:
    return {name: cell.notes for name, cell in cells(table, column).items() if cell}


def test_seeds_of_one_configuration_share_a_row() -> None:
    evaluations = [
        evaluation("gan", 0, fid=4.0, kid=0.002),
        evaluation("gan", 1, fid=6.0, kid=0.004),
        evaluation("gan", 0, "dcgan", fid=0.9),
    ]
    result = to_json(compare(numbered(evaluations)))
    first, second, *references = result["tables"][0]["rows"]
    assert (first["seeds"], second["seeds"]) == ([0, 1], [0])
    assert first["metrics"]["FID"]["mean"] == 5.0
    assert first["metrics"]["FID"]["error"] == pytest.approx(2**0.5)
    assert first["metrics"]["KID × 1000"]["mean"] == pytest.approx(3.0)
    assert first["metrics"]["KID × 1000"]["error"] == pytest.approx(2**0.5)
    assert second["metrics"]["FID"]["best"]
    assert [row["name"] for row in references] == ["real images", "uniform noise"]
    assert references[0]["metrics"]["FID"]["mean"] == 0.5


def test_a_single_seed_has_the_error_of_its_estimate() -> None:
    contents = {
        str(seed): evaluation("gan", seed, fid=1.0, kid=0.002, kid_error=0.0005) for seed in (0, 1)
    }
    contents["0"]["floor"] = {"kid": 0.001, "kid_error": 0.0002}
    (table,) = tables({"0": contents["0"]})
    values = {
        (row.name, column): (cell.statistic.mean, cell.statistic.error)
        for row in table.rows
        for column, cell in row.cells.items()
    }
    assert values["0", "KID × 1000"] == (2.0, 0.5)
    assert values["0", "FID"] == (1.0, 0.0)
    assert values["real images", "KID × 1000"] == (1.0, 0.2)
    (table,) = tables(contents)
    (cell,) = cells(table, "KID × 1000").values()
    assert cell is not None
    assert cell.statistic.error == 0.0


def test_a_seed_without_a_metric_is_left_out_and_the_cell_says_so() -> None:
    contents = {f"vae-{seed}": evaluation("vae", seed, fid=1.0 + seed) for seed in range(3)}
    contents["vae-1"]["samples"]["recall"] = 0.5
    del contents["vae-2"]["samples"]["fid"]
    contents["vae-2"]["samples"]["recall"] = None
    (table,) = tables(contents)
    cell = cells(table, "FID")["vae"]
    assert cell is not None
    assert (cell.statistic.mean, cell.notes) == (1.5, ("2 of 3 seeds",))
    assert notes(table, "recall") == {"vae": ("1 of 3 seeds",)}
    assert cells(table, "coverage") == {"vae": None}


def test_a_different_n_is_in_the_cell_and_is_not_ranked() -> None:
    contents = {
        "a": evaluation("vae", fid=3.0),
        "b": evaluation("gan", fid=4.0),
        "c": evaluation("flow", fid=1.0) | {"n": 5000, "floor": {"fid": 0.25}},
        "d": evaluation("flow", fid=0.5) | {"n": None},
    }
    (table,) = tables(contents)
    assert table.title.endswith(", n = 100 unless stated otherwise")
    expected = {"a": (), "b": (), "c": ("n = 5 000",), "d": ("n unknown",)}
    assert notes(table, "FID") == expected
    # The only ones of their n are not best of anything.
    assert best(table, "FID") == {"a"}
    real = [row.cells["FID"] for row in table.rows if row.name == "real images"]
    assert [(cell.statistic.mean, cell.notes) for cell in real[:2]] == [
        (0.5, ()),
        (0.25, ("n = 5 000",)),
    ]
    contents["e"] = evaluation("gan", fid=2.0) | {"n": 5000}
    (table,) = tables(contents)
    assert best(table, "FID") == {"a", "c"}


def test_lower_or_higher_is_better_and_equal_values_are_not_best() -> None:
    contents = {
        "a": evaluation("vae", fid=3.0, recall=0.5, precision=0.1, class_entropy=1.0),
        "b": evaluation("gan", fid=2.0, recall=0.7, precision=0.1, class_entropy=2.0),
        "c": evaluation("flow", fid=2.0, recall=math.nan, precision=0.1),
    }
    (table,) = tables(contents)
    assert best(table, "FID") == {"b", "c"}
    assert best(table, "recall") == {"b"}
    assert best(table, "precision") == best(table, "class entropy [nats]") == set()
    (alone,) = tables({"a": contents["a"]})
    assert best(alone, "FID") == set()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("dataset", "name"), "fashion", None),
        (("dataset", "split"), "validation", "against the validation images of mnist"),
        (("features",), {"name": "random", "sha256": "r"}, "features of random, n"),
    ],
)
def test_what_does_not_compare_is_in_another_table(
    path: tuple[str, ...], value: Any, words: str | None
) -> None:
    first, second = evaluation("vae", fid=1.0), evaluation("gan", fid=2.0)
    part: Any = second
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    result = tables({"a": first, "b": second})
    if words is None:  # a data set is what it holds, not its name
        assert len(result) == 1
        return
    assert [list(cells(table, "FID")) for table in result] == [["a"], ["b"]]
    assert result[0].title != result[1].title
    assert words in result[1].title
    assert not best(result[0], "FID")


def test_likelihoods_compare_only_of_the_same_events_and_settings() -> None:
    def likelihood(family: str, **values: Any) -> dict[str, Any]:
        return evaluation(family, fid=1.0) | {"likelihood": values}

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
    assert "a: nats of e; NLL with k = 500 importance samples" in table.notes
    assert "d, e: bits/dim of bytes, averaged over 8 dequantization draws" in table.notes


def test_bits_per_dim_of_a_vae_and_of_a_flow_are_ranked_together() -> None:
    def of_bytes(family: str, bits: float, **setting: int) -> dict[str, Any]:
        values = {"bits_per_dim": bits, "bits_per_dim_error": 0.01, "events": "bytes", **setting}
        return evaluation(family, fid=1.0) | {"likelihood": values}

    contents = {
        "flow": of_bytes("flow", 1.03, dequantizations=8),
        "vae": of_bytes("vae", 1.2, importance_samples=500, nll=650.0),
        "binary": evaluation("vae")
        | {"likelihood": {"nll": 83.0, "importance_samples": 500, "events": "bernoulli"}},
    }
    (table,) = tables(contents, "likelihood")
    assert best(table, "bits/dim") == {"flow"}
    assert notes(table, "bits/dim") == {"flow": ("8 draws",), "vae": ("k = 500",)}
    assert best(table, "NLL [nats]") == set()
    assert "vae: nats of bytes; bits/dim with k = 500 importance samples" in table.notes
    # Where two flows differ in their draws, they are not ranked together, nor with the VAE.
    contents["other flow"] = of_bytes("flow", 1.1, dequantizations=1)
    (table,) = tables(contents, "likelihood")
    assert best(table, "bits/dim") == set()


def remarks(comparison: Comparison) -> list[str]:
    return [*comparison.notes, *(note for table in comparison.tables for note in table.notes)]


def test_what_is_missing_or_differs_is_said() -> None:
    times = {"seconds_an_epoch": 2.0, "epochs": 3, "processor": "A", "cores": 2}
    contents = {
        "a": evaluation("gan", fid=1.0) | {"cost": times},
        "b": evaluation("flow") | {"likelihood": {"bits_per_dim": 1.0, "dequantizations": 8}},
        "c": evaluation("vae", fid=2.0) | {"cost": {"seconds_an_epoch": 1.0}},
    }
    result = remarks(compare([named(name, content) for name, content in contents.items()]))
    assert result == [
        "No metrics of samples: b",
        "No likelihood: a, c",
        "Training did not reach its last epoch: a (3 of 200 epochs)",
        "b: bits/dim of unknown events, averaged over 8 dequantization draws",
        "Training times come from different machines: a on A, 2 cores; c on an unknown machine",
    ]
