"""Pictures: functions that return a matplotlib Figure or a grid of pixels."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from tfgen.system.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def image_grid(images: np.ndarray, columns: int | None = None, pad: int = 1) -> np.ndarray:
    """Images side by side on a grid.

    Args:
        images: `[N, H, W, C]` in 0…1, with 1 or 3 channels.
        columns: images a row; by default as square a grid as can be.
        pad: pixels between images.

    Returns:
        `uint8[rows·(H + pad) + pad, columns·(W + pad) + pad, C]`.
    """
    n, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.full(
        (rows * (height + pad) + pad, columns * (width + pad) + pad, channels), 0.5, np.float32
    )
    for i, image in enumerate(images):
        top, left = pad + i // columns * (height + pad), pad + i % columns * (width + pad)
        grid[top : top + height, left : left + width] = image
    return np.round(np.clip(grid, 0, 1) * 255).astype(np.uint8)


def png_bytes(pixels: np.ndarray, least_side: int = 560) -> bytes:
    """A PNG of `uint8[H, W, C]`, each pixel enlarged by a whole number until the picture is easy to
    see."""
    from PIL import Image

    factor = max(1, least_side // max(pixels.shape[:2]))
    pixels = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, format="PNG")
    return file.getvalue()


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    write_bytes(path, file.getvalue())


def _figure(width: float, height: float) -> "Figure":
    # Without pyplot: no global state, no window system.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def curves(
    rows: Sequence[Mapping[str, Any]], panels: Sequence[tuple[str, Sequence[str]]], title: str
) -> "Figure":
    """Training curves, train solid and validation dashed.

    Args:
        rows: the lines of metrics.jsonl.
        panels: an axis' label and the logged names that it shows.
        title: of the figure.
    """
    figure = _figure(6.4 * len(panels), 4.2)
    epochs = [row["epoch"] for row in rows]
    for axes, (label, names) in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        for i, name in enumerate(names):
            for key, style, suffix in ((name, "-", "train"), (f"val_{name}", "--", "validation")):
                if rows and key in rows[-1]:
                    values = [row.get(key, math.nan) for row in rows]
                    marker = "o" if len(rows) == 1 else None
                    axes.plot(
                        epochs,
                        values,
                        style,
                        color=f"C{i}",
                        marker=marker,
                        label=f"{name}, {suffix}",
                    )
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    return figure


def picture(images: np.ndarray, title: str, columns: int | None = None) -> "Figure":
    """A grid of images `[N, H, W, C]` in 0…1 under a title."""
    grid = image_grid(images, columns)
    height, width = grid.shape[:2]
    figure = _figure(5.0, 5.0 * height / width + 0.4)
    axes = figure.subplots()
    axes.imshow(grid.squeeze(-1) if grid.shape[-1] == 1 else grid, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title(title)
    return figure


def manifold_latents(side: int) -> np.ndarray:
    """Latents on a `side` × `side` grid of equal probability under N(0, I), `float32[side², 2]`.

    Row 0 has the largest second coordinate, as in a plot.
    """
    points = [NormalDist().inv_cdf((i + 0.5) / side) for i in range(side)]
    return np.array([(x, y) for y in reversed(points) for x in points], np.float32)


PATHS = ("linear", "spherical")


def interpolated_latents(
    start: np.ndarray, end: np.ndarray, steps: int, path: str = "linear"
) -> np.ndarray:
    """Latents on the way from one to the other, both included, `float32[steps, D]`.

    Args:
        start: `float32[D]`.
        end: `float32[D]`.
        steps: how many.
        path: `linear`, or `spherical`, along the great circle, where norms stay those of the
            prior's samples (White 2016, "Sampling generative networks").
    """
    weights = np.linspace(0.0, 1.0, steps)[:, None]
    if path == "spherical":
        cosine = np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end))
        angle = np.arccos(np.clip(cosine, -1.0, 1.0))
        if np.sin(angle) > 1e-6:  # else the way is straight, or there are many
            ways = np.sin((1 - weights) * angle) * start + np.sin(weights * angle) * end
            return (ways / np.sin(angle)).astype(np.float32)
    return ((1 - weights) * start + weights * end).astype(np.float32)


def histograms(values: Mapping[str, np.ndarray], label: str, title: str) -> "Figure":
    """Histograms of some arrays over one axis, each by its name."""
    figure = _figure(6.4, 4.2)
    axes = figure.subplots()
    edges = np.histogram_bin_edges(
        np.concatenate([np.ravel(v) for v in values.values()]), bins=50
    ).tolist()
    for name, each in values.items():
        axes.hist(np.ravel(each), edges, alpha=0.5, label=f"{name}, mean {np.mean(each):.3g}")
    axes.set(xlabel=label, ylabel="images")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.suptitle(title)
    return figure


def comparison(
    names: Sequence[str],
    bars: Mapping[str, Sequence[tuple[float, float]]],
    pictures: Sequence[np.ndarray | None],
    floors: Mapping[str, float | None],
) -> "Figure":
    """Models side by side: a panel of bars for each figure, below them samples of each.

    Args:
        names: of the models.
        bars: mean and spread of each model by the panel's title; said to be unknown where it is not
            a number, no panel where all would be. At least one has a bar.
        pictures: pixels of a grid of each model's samples, `uint8[H, W]` or `uint8[H, W, 3]`.
        floors: what real images get, by the panel's title, drawn as a dotted line.
    """
    bars = {
        title: values
        for title, values in bars.items()
        if any(math.isfinite(mean) for mean, _ in values)
    }
    columns = math.lcm(len(bars), len(names))
    figure = _figure(max(3.2 * len(bars), 2.4 * len(names)), 6.4)
    grid = figure.add_gridspec(2, columns, height_ratios=(1, 1))
    for i, (title, values) in enumerate(bars.items()):
        width = columns // len(bars)
        axes = figure.add_subplot(grid[0, i * width : (i + 1) * width])
        means, spreads = zip(*values, strict=True)
        axes.bar(range(len(names)), means, yerr=spreads, color=[f"C{j}" for j in range(len(names))])
        for j, mean in enumerate(means):
            if not math.isfinite(mean):
                axes.text(
                    j,
                    0,
                    " not known",
                    rotation=90,
                    ha="center",
                    va="bottom",
                    fontsize=8,
                    color="gray",
                )
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
        axes.set_title(title)
        if (floor := floors.get(title)) is not None:
            axes.axhline(floor, color="black", linestyle=":", linewidth=1, label="real images")
            if i == 0:
                axes.legend(fontsize=8)
    for i, (name, pixels) in enumerate(zip(names, pictures, strict=True)):
        width = columns // len(names)
        axes = figure.add_subplot(grid[1, i * width : (i + 1) * width])
        axes.set_axis_off()
        axes.set_title(name, fontsize=9)
        if pixels is not None:
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    return figure
