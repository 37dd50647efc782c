"""The figure of a comparison."""

import base64
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

from tests.evaluation.evaluations import evaluation, foreign_evaluation, named
from tfgen import figures
from tfgen.evaluation.chart import draw
from tfgen.evaluation.compare import compare

PNG = base64.b64encode(figures.png_bytes(np.zeros((4, 4, 1), np.uint8), least_side=0)).decode()


def drawn(contents: dict[str, dict[str, Any]]) -> Any:
    return draw(compare([named(name, content) for name, content in contents.items()]))


def widths(axes: Any) -> list[float]:
    return [bar.get_width() for bar in axes.containers[-1]]


def test_a_bar_for_each_model_in_the_colour_of_its_family() -> None:
    images = foreign_evaluation("", fid=5.0) | {"family": None}
    figure = drawn(
        {
            "flow": evaluation("flow", fid=2.0, copied=0.5) | {"cost": {"seconds_an_epoch": 7.0}},
            "vae": evaluation("vae", fid=3.0) | {"picture": PNG},
            "ppca": foreign_evaluation("ppca", fid=4.0) | {"n": 50, "picture": None},
            "$x$": images,
        }
    )
    fid, time, grid = figure.axes
    assert fid.get_title() == "FID"
    assert fid.get_xlabel().replace("\n", " ") == "distance to real images (lower is better)"
    assert widths(fid) == [3, 4, 5, 2]
    names = [label.get_text() for label in fid.get_yticklabels()]
    assert names == ["vae", "ppca (n = 50)", r"\$x\$", "flow (copies)"]
    assert fid.yaxis_inverted()
    colours = [bar.get_facecolor()[:3] for bar in fid.containers[-1]]
    families = ("vae", "ppca", None, "flow")
    assert colours == [to_rgb(figures.family_colour(family)) for family in families]
    # The floor is drawn as a line, which the legend names.
    assert list(fid.get_lines()[-1].get_xdata()) == [0.5, 0.5]
    (part,) = figure.subfigs
    legends = [legend for panel in part.subfigs for legend in panel.legends]
    assert [text.get_text() for legend in legends for text in legend.get_texts()] == ["real images"]
    # Times are known of one model only.
    assert time.get_title() == "s/epoch"
    assert [text.get_text().strip() for text in time.texts].count("not known") == 3
    assert grid.get_title() == "samples of vae"
    # No text or legend lies on a panel.
    figure.draw_without_rendering()
    extent = legends[0].get_window_extent()
    assert not any(extent.overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_metrics_that_do_not_compare_are_in_parts_of_their_own() -> None:
    other = {"features": {"name": "random", "sha256": "r"}}
    contents = {"a": evaluation("vae", fid=3.0), "b": evaluation("gan", fid=2.0) | other}
    figure = drawn(contents)
    assert [widths(axes) for axes in figure.axes] == [[3.0], [2.0]]
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert "features of classifier version 1" in titles[0]
    assert "features of random" in titles[1]


def test_without_metrics_of_samples_there_is_no_figure() -> None:
    assert drawn({"a": evaluation("flow") | {"cost": {"seconds": 1.0}}}) is None
