"""The tables and the picture of a comparison."""

import base64

import numpy as np
import pytest

from tests.evaluation.evaluations import evaluation, foreign_evaluation
from tfgen import figures
from tfgen.evaluation.compare import compare, draw, format_number, markdown

pytestmark = pytest.mark.quick


def test_tables_keep_the_reports_networks_apart() -> None:
    evaluations = [
        evaluation("gan", 0, fid=4.0, kid=0.002),
        evaluation("gan", 1, fid=6.0, kid=0.004),
        evaluation("gan", 0, "dcgan", fid=0.9),
    ]
    result = compare(evaluations)
    assert [row["model"] for row in result["reported"]] == ["gan mlp"]
    assert result["reported"][0]["FID"] == [5.0, pytest.approx(2**0.5)]
    assert result["reported"][0]["KID × 1000"] == [3.0, pytest.approx(2**0.5)]
    assert [row["model"] for row in result["others"]] == ["gan dcgan"]
    text = markdown(result)
    assert "| gan mlp | 0, 1 | 5.00 ± 1.4 | 3.00 ± 1.4 |" in text
    assert "| real images |  | 0.500 |" in text
    assert "**undecided: a value is missing** | – |" in text


def test_a_single_seed_has_the_error_of_its_estimate() -> None:
    evaluations = [evaluation("gan", seed, fid=1.0, kid=0.002, kid_error=0.0005) for seed in (0, 1)]
    evaluations[0]["floor"] = {"kid": 0.001, "kid_error": 0.0002}
    alone = compare(evaluations[:1])
    assert alone["reported"][0]["KID × 1000"] == [2.0, 0.5]
    assert alone["reported"][0]["FID"] == [1.0, 0.0]
    assert alone["real"]["KID × 1000"] == [1.0, 0.2]
    assert "| real images |  |  | 1.00 ± 0.20 |" in markdown(alone)
    assert compare(evaluations)["reported"][0]["KID × 1000"] == [2.0, 0.0]


def test_nats_and_bits_have_columns_of_their_own() -> None:
    vae, flow = evaluation("vae", fid=1.0), evaluation("flow", fid=2.0)
    vae["likelihood"] = {"nll": 90.123, "importance_samples": 500, "events": "bernoulli"}
    flow["likelihood"] = {"bits_per_dim": 1.8, "dequantizations": 8, "events": "bytes"}
    text = markdown(compare([vae, flow]))
    assert "| NLL [nats] | bits/dim |" in text
    assert "| vae mlp | 0 | 1.00 | 90.123 |  |" in text
    assert "| flow mlp | 0 | 2.00 |  | 1.800 |" in text
    assert "- vae mlp: nats of bernoulli; NLL with 500 importance samples" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0012345, "0.00123"), (12.345, "12.3"), (1234.5, "1234"), (0.0, "0"), (9.999, "10.00")],
)
def test_significant_digits(value: float, text: str) -> None:
    assert format_number(value, 3) == text


def test_the_picture_has_a_colour_for_each_family() -> None:
    from matplotlib.colors import to_rgb

    png = figures.png_bytes(np.zeros((4, 4, 1), np.uint8), least_side=0)
    evaluations = [
        evaluation("flow", fid=2.0),
        evaluation("vae", fid=3.0) | {"picture": base64.b64encode(png).decode()},
        foreign_evaluation("ppca", fid=4.0),
    ]
    figure = draw(evaluations)
    assert figure is not None
    panel, *grids = figure.axes
    assert (panel.get_title(), panel.get_ylabel()) == ("FID", "Fréchet distance (lower is better)")
    assert [bar.get_height() for bar in panel.containers[-1]] == [2, 3, 4]
    colours = [bar.get_facecolor()[:3] for bar in panel.containers[-1]]
    families = ("flow", "vae", "ppca")
    assert colours == [to_rgb(figures.family_colour(family)) for family in families]
    titles = [axes.get_title() for axes in grids]
    assert titles == ["no samples of flow mlp", "samples of vae mlp", "no samples of ppca mlp"]
    # The floor is drawn as a line, which the legend names.
    assert list(panel.get_lines()[-1].get_ydata()) == [0.5, 0.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["real images"]
