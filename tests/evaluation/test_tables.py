"""A comparison as Markdown and at the terminal."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.evaluation.evaluations import evaluation, named
from tfgen.evaluation.compare import Table, compare
from tfgen.evaluation.metrics import METRICS, format_number
from tfgen.evaluation.tables import markdown, print_comparison


def printed(tables: list[Table], width: int) -> str:
    file = io.StringIO()
    print_comparison(tables, Console(file=file, width=width))
    return file.getvalue()


def test_markdown() -> None:
    vae = evaluation("vae", 0, "conv", fid=6.3, recall=0.75) | {"n": 5000}
    vae["likelihood"] = {"nll": 90.123, "importance_samples": 500, "events": "bernoulli"}
    contents = {"a|b": vae, "*": evaluation("gan", 0, "dcgan", fid=1.0)}
    contents["c"] = evaluation("flow", fid=2.0)
    text = markdown(compare([named(name, content) for name, content in contents.items()]))
    assert text.startswith(
        "### Samples against the test images of mnist, features of classifier version 1, "
        "n = 1 000 unless stated otherwise\n\n| model | FID | recall |\n|---|---:|---:|\n"
        r"| a\|b | 6.30 (n = 5 000) | 0.750 (n = 5 000) |"
        "\n"
        r"| \* | **1.00** | – |"
        "\n| c | 2.00 | – |\n| real images | 0.500 | – |\n"
    )
    assert "| real images | 0.500 (n = 5 000) | – |" in text
    assert r"- a\|b: nats of bernoulli, bounds from 500 importance samples per image" in text
    assert "Bold: the best model" in text
    assert "±" not in text
    assert "seeds" not in text


def test_what_is_0_but_for_rounding_is_printed_as_0() -> None:
    assert {format_number(value, 3) for value in (0, 2.2e-16, -2.2e-16)} == {"0"}


@pytest.mark.parametrize("width", [40, 80, 200])
def test_tables_fit_the_terminal(width: int) -> None:
    long = "a-name-that-is-longer-than-a-third-of-any-terminal-that-anybody-is-likely-to-use-here"
    names = ["vae", "gan", "画像のフォルダ", "[red]odd[/]", long]
    keys = [metric.key for metric in METRICS if metric.part == "samples"][1:]  # without copies
    evaluations = []
    for index, name in enumerate(names):
        content = evaluation("vae", index, kid_error=0.001, **dict.fromkeys(keys, 0.123 + index))
        content["settings"]["model"]["latent_dim"] = index
        values = {"nll": 90.123, "negative_elbo": 99.0, "negative_elbo_error": 0.2}
        content["likelihood"] = {**values, "events": str(index), "importance_samples": 500}
        content["cost"] = {"seconds_an_epoch": 1.5, "seconds": 1e4, "parameters": 12345678}
        evaluations.append(named(name, content | {"n": 10000 - index // 4}))
    tables = compare(evaluations)
    lines = printed(tables, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    # Every column is there, in as many tables as it takes, each with the names.
    assert "[red]odd[/]" in "\n".join(lines)
    headings = ("FID", "KID × 1000", "precision", "recall", "density", "coverage", "[nats]", "[s]")
    text = "\n".join(lines)
    assert all(text.count(heading) >= 1 for heading in headings)
    starts = sum(line.split()[:1] == ["model"] for line in lines)
    assert starts == sum(line.split()[:1] == ["gan"] for line in lines if "…" not in line)
    assert starts >= len(tables) + (width < 200)
    assert "…" not in text  # nothing is cut
