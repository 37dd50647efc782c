"""Pictures: what stands where."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfgen import figures


def test_grid_places_images_row_by_row() -> None:
    images = np.stack([np.full((3, 2, 1), i / 10, np.float32) for i in range(5)])
    grid = figures.image_grid(images, columns=2, pad=1)
    assert grid.shape == (3 * 4 + 1, 2 * 3 + 1, 1)
    for i in range(5):
        top, left = 1 + i // 2 * 4, 1 + i % 2 * 3
        assert np.all(grid[top : top + 3, left : left + 2] == round(25.5 * i))
    assert np.all(grid[0] == 128)


def test_grid_is_as_square_as_can_be_and_takes_colour() -> None:
    assert figures.image_grid(np.zeros((10, 4, 4, 3))).shape == (3 * 5 + 1, 4 * 5 + 1, 3)


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


def test_interpolation_ends_at_its_ends() -> None:
    a, b = np.zeros(3, np.float32), np.array([1, -2, 4], np.float32)
    line = figures.interpolated_latents(a, b, 5)
    np.testing.assert_array_equal(line[0], a)
    np.testing.assert_array_equal(line[-1], b)
    np.testing.assert_allclose(line[1], 0.25 * b)


def test_the_spherical_way_has_equal_angles_and_the_norms_of_a_circle() -> None:
    a, b = np.array([2, 0, 0], np.float32), np.array([0, 2, 0], np.float32)
    way = figures.interpolated_latents(a, b, 4, "spherical")
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 2, rtol=1e-6)
    np.testing.assert_allclose(
        np.arctan2(way[:, 1], way[:, 0]), np.radians([0, 30, 60, 90]), atol=1e-6
    )
    assert way.dtype == np.float32
    # Of one direction, and of opposite ones, there is no one great circle: the way is straight.
    for end in (3 * a, -a):
        straight = figures.interpolated_latents(a, end, 4)
        np.testing.assert_array_equal(
            figures.interpolated_latents(a, end, 4, "spherical"), straight
        )


def test_histograms_share_their_edges_and_count_every_image() -> None:
    figure = figures.histograms(
        {"real": np.array([0.9, 0.8, 1.0]), "generated": np.zeros(5)}, "score", "t"
    )
    bars = figure.axes[0].containers
    assert [sum(bar.get_height() for bar in each) for each in bars] == [3, 5]
    left, right = ([patch.get_x() for patch in each] for each in bars)
    np.testing.assert_allclose(left, right, atol=1e-9)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "real, mean 0.9",
        "generated, mean 0",
    ]


def test_curves_show_each_part_for_train_and_validation() -> None:
    rows = [{"epoch": e, "loss": 3.0 / e, "val_loss": 4.0 / e, "kl": 1.0} for e in (1, 2, 3)]
    figure = figures.curves(rows, [("nats", ("loss", "kl"))], "title")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    assert set(lines) == {"loss, train", "loss, validation", "kl, train"}
    np.testing.assert_allclose(lines["loss, validation"], [4, 2, 4 / 3])


def test_a_comparison_tells_what_is_not_known_and_leaves_out_what_nobody_has() -> None:
    bars = {"FID": [(2.0, 0.5), (math.nan, 0.0)], "cost": [(math.nan, 0.0)] * 2}
    panel, *grids = figures.comparison(
        ["a", "b"], bars, [np.zeros((4, 4), np.uint8), None], {"FID": 1.0}
    ).axes
    assert [axes.get_title() for axes in (panel, *grids)] == ["FID", "a", "b"]
    assert [(text.get_position()[0], text.get_text().strip()) for text in panel.texts] == [
        (1, "not known")
    ]
    assert list(panel.get_lines()[-1].get_ydata()) == [1.0, 1.0]
    assert [len(axes.get_images()) for axes in grids] == [1, 0]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    def full(self: Path, other: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        figures.write_bytes(target, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert target.read_bytes() == b"old"
