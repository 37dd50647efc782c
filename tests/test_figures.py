"""Pictures: layout, colours and words."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from tests.arrays import shows_grid
from tfgen import figures


def test_grid_places_images_row_by_row() -> None:
    images = np.stack([np.full((3, 2, 1), i / 10, np.float32) for i in range(5)])
    grid = figures.image_grid(images, columns=2, pad=1)
    assert grid.shape == (3 * 4 + 1, 2 * 3 + 1, 1)
    for i in range(5):
        top, left = 1 + i // 2 * 4, 1 + i % 2 * 3
        assert np.all(grid[top : top + 3, left : left + 2] == round(25.5 * i))
    assert np.all(grid[0] == 128)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, channels)).astype(np.uint8)
    read = np.asarray(Image.open(io.BytesIO(figures.png_bytes(pixels, least_side=600))))
    np.testing.assert_array_equal(read.reshape(400, 600, channels)[::2, ::2], pixels)


def test_manifold_has_equal_probability_between_points() -> None:
    latents = figures.manifold_latents(20).reshape(20, 20, 2)
    probability = [0.5 * (1 + math.erf(x / math.sqrt(2))) for x in latents[0, :, 0]]
    np.testing.assert_allclose(probability, (np.arange(20) + 0.5) / 20, atol=1e-6)
    np.testing.assert_array_equal(latents[0, :, 0], latents[7, :, 0])
    assert np.all(np.diff(latents[:, 0, 1]) < 0)


def test_histograms_share_their_edges_and_count_every_image() -> None:
    figure = figures.histograms(
        {"real": np.array([0.9, 0.8, 1.0]), "generated": np.full(5, -2850.4)}, "score", "t", "gan"
    )
    histograms = figure.axes[0].containers
    assert [sum(bar.get_height() for bar in bars) for bars in histograms] == [3, 5]
    left, right = ([bar.get_x() for bar in bars] for bars in histograms)
    np.testing.assert_allclose(left, right, atol=1e-9)
    colours = [bars[0].get_facecolor()[:3] for bars in histograms]
    assert colours == [to_rgb(figures.REAL_COLOUR), to_rgb(figures.family_colour("gan"))]
    words = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert words == ["real, mean 0.9", "generated, mean -2850"]


ROWS = [
    {"epoch": epoch, "loss": 3.0 / epoch, "val_loss": 4.0 / epoch, "kl": 1.0} for epoch in (1, 2, 3)
]


def test_curves_show_each_value_for_training_and_validation() -> None:
    figure = figures.curves(ROWS, [("nats", ("loss", "kl"))], "title", "vae")
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    # Words, not the names of variables.
    assert set(lines) == {"loss, training", "loss, validation", "KL divergence, training"}
    np.testing.assert_allclose(lines["loss, validation"].get_ydata(), [4, 2, 4 / 3])
    styles = [lines[f"loss, {split}"].get_linestyle() for split in ("training", "validation")]
    assert styles == ["-", "--"]
    colours = [to_rgb(line.get_color()) for line in lines.values()]
    assert colours[0] == colours[1] == to_rgb(figures.family_colour("vae")) != colours[2]


def test_families_have_colours_of_their_own() -> None:
    colours = {figures.family_colour(family) for family in ("vae", "gan", "flow", "classifier")}
    assert len(colours) == 4
    # What is not installed has the colour of what belongs to no family.
    others = {figures.family_colour(family) for family in ("diffusion", "", None)}
    assert others == {figures.NEUTRAL_COLOUR} and not colours & others


def test_words_are_outside_of_a_grid_and_inside_of_its_figure(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((6, 9, 9, 1)).astype(np.float32)
    rows = figures.GridAxis("temperature", ("0.5", "1.0"))
    figure = figures.picture(images, "a title that is longer", 3, rows, figures.path_axis(3))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    grid = axes.get_window_extent()
    texts = [axes.title, axes.xaxis.label, axes.yaxis.label]
    texts += [*axes.get_xticklabels(), *axes.get_yticklabels()]
    words = [text.get_text() for text in texts]
    expected = ["a title that is longer", "share of the way", "temperature", "0", "0.5", "1"]
    assert words == [*expected, "0.5", "1.0"]
    for text in texts:
        extent = text.get_window_extent()
        assert not extent.overlaps(grid)
        assert figure.bbox.contains(*extent.min) and figure.bbox.contains(*extent.max)
    # Each label is at the middle of its row or column of images.
    assert [tick / 10 for tick in axes.get_xticks()] == [0.5, 1.5, 2.5]
    assert [tick / 10 for tick in axes.get_yticks()] == [0.5, 1.5]
    figures.save_figure(figure, tmp_path / "a.png")
    assert shows_grid(tmp_path / "a.png", figures.image_grid(images, 3))
