"""Pictures: functions that return a matplotlib Figure or a grid of pixels."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfgen import registry
from tfgen.sampling import byte_pixels
from tfgen.settings.family import NEUTRAL_COLOUR as NEUTRAL_COLOUR
from tfgen.system.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure
    from PIL.Image import Image

# Pixels per inch of a figure that is written.
DPI = 120
# Pixels that the longer side of a grid has at most after enlarging, and pixels around a figure.
_GRID_SIDE, _MARGIN = 720, 8
# Between title and axes, where a legend covers no data.
_LEGEND: Any = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "fontsize": 8, "frameon": False}
REAL_COLOUR = "black"  # of real images
# Logged values whose name is not what a reader calls them.
_WORDS = {
    "kl": "KL divergence",
    "bits_per_dim": "bits/dim",
    "real_score": "score of real images",
    "fake_score": "score of samples",
    "distance": "distance of samples to validation images",
    "diversity": "diversity of samples; 1: as validation images",
}
# Logged values that are of samples, and thus of neither split.
_OF_SAMPLES = ("distance", "diversity")


def family_colour(family: str | None) -> str:
    """The colour of a family in every picture; None, or one that is not installed: neutral."""
    colours = (entry.colour for entry in registry.families() if entry.name == family)
    return next(colours, NEUTRAL_COLOUR)


def image_grid(images: np.ndarray, columns: int | None = None, pad: int = 1) -> np.ndarray:
    """Images side by side on a grid.

    Args:
        images: `[N, H, W, C]` in 0…1, with 1 or 3 channels.
        columns: images in a row; None: a grid as square as possible.
        pad: pixels between images.

    Returns:
        `uint8[rows·(H + pad) + pad, columns·(W + pad) + pad, C]`.
    """
    n, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    cells = np.full((rows * columns, height + pad, width + pad, channels), 0.5, np.float32)
    cells[:n, pad:, pad:] = images
    grid = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + pad), columns * (width + pad), channels)
    grid = np.pad(grid, [(0, pad), (0, pad), (0, 0)], constant_values=0.5)
    return np.round(np.clip(grid, 0, 1) * 255).astype(np.uint8)


def png_bytes(pixels: np.ndarray, least_side: int = 560) -> bytes:
    """A PNG of pixels, enlarged by a whole number until it is easy to see.

    Args:
        pixels: `uint8[H, W, C]`, with 1 or 3 channels.
        least_side: pixels that the longer side has at most after enlarging; 0 leaves it as it is.
    """
    file = io.BytesIO()
    _enlarged(pixels, least_side).save(file, format="PNG")
    return file.getvalue()


def animation_bytes(images: np.ndarray, kind: str) -> bytes:
    """A looping animation, ten images a second, its images enlarged as those of `png_bytes` are.

    Args:
        images: `[N, H, W, C]` in 0…1, with 1 or 3 channels.
        kind: `gif`, with at most 256 colours, or `webp`, lossless.
    """
    file = io.BytesIO()
    first, *others = (_enlarged(byte_pixels(image)) for image in images)
    first.save(file, kind, save_all=True, append_images=others, lossless=True, duration=100, loop=0)
    return file.getvalue()


def _enlarged(pixels: np.ndarray, least_side: int = 560) -> "Image":
    """Pixels `uint8[H, W, C]` as a picture; see `png_bytes`."""
    from PIL import Image

    factor = max(1, least_side // max(pixels.shape[:2]))
    pixels = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG to `path`, whole or not at all."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    write_bytes(path, file.getvalue())


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of `width` × `height` inches.

    It is made without pyplot: no global state, no window system.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


# --- curves and histograms ----------------------------------------------------------


def curves(
    rows: Sequence[Mapping[str, Any]],
    panels: Sequence[tuple[str, Sequence[str]]],
    title: str,
    family: str | None = None,
) -> "Figure":
    """Training curves: training solid, validation dashed.

    The curves of a panel have shades of the family's colour.

    Args:
        rows: the lines of metrics.jsonl.
        panels: for each panel its axis label, with the unit, and the names of its logged values.
        title: of the figure.
        family: of the model; None: a neutral colour.
    """
    figure = new_figure(6.4 * len(panels), 4.6)
    for axes, (label, names) in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        for name, colour in zip(names, _shades(family_colour(family), len(names)), strict=True):
            _draw_curve(axes, rows, name, colour)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend(**_LEGEND, ncols=max(2, len(names)))
    figure.suptitle(title)
    return figure


def _draw_curve(axes: Any, rows: Sequence[Mapping[str, Any]], name: str, colour: Any) -> None:
    """Draw a logged value by epoch, of training and of validation."""
    words, epochs = _WORDS.get(name, name.replace("_", " ")), [row["epoch"] for row in rows]
    splits = (name, "-", "o", "training"), (f"val_{name}", "--", "x", "validation")
    for key, style, marker, split in splits:
        if rows and key in rows[-1]:
            label = words if name in _OF_SAMPLES else f"{words}, {split}"
            values = [row.get(key, math.nan) for row in rows]
            marker = marker if len(rows) == 1 else ""
            axes.plot(epochs, values, style, color=colour, marker=marker, label=label)


def _shades(colour: str, count: int) -> list[tuple[float, ...]]:
    """The colour itself, then darker and darker shades of it."""
    from matplotlib.colors import to_rgb

    return [tuple(0.55**index * np.array(to_rgb(colour))) for index in range(count)]


def histograms(
    values: Mapping[str, np.ndarray],
    label: str,
    title: str,
    family: str | None = None,
    reference: str = "real",
) -> "Figure":
    """Histograms of several arrays over one axis.

    Args:
        values: the arrays by name.
        label: of the horizontal axis, with the unit.
        title: of the figure.
        family: of the model that the arrays are of; None: a neutral colour.
        reference: name of an array that is drawn in black, as that of real images.
    """
    figure = new_figure(6.4, 4.6)
    axes = figure.subplots()
    pooled = np.concatenate([np.ravel(array) for array in values.values()])
    edges = np.histogram_bin_edges(pooled, bins=50).tolist()
    shades = iter(_shades(family_colour(family), len(values)))
    for name, array in values.items():
        colour: Any = REAL_COLOUR if name == reference else next(shades)
        # Four significant digits, and no exponent: -2850.
        words = f"{name}, mean {float(f'{np.mean(array):.4g}'):g}"
        axes.hist(np.ravel(array), edges, alpha=0.5, color=colour, label=words)
    axes.set(xlabel=label, ylabel="number of images")
    axes.grid(alpha=0.3)
    axes.legend(**_LEGEND, ncols=len(values))
    figure.suptitle(title)
    return figure


# --- grids of images ----------------------------------------------------------------


class GridAxis(NamedTuple):
    """What the rows or the columns of a grid are, and the words at each of them."""

    title: str
    labels: Sequence[str]


def class_axis(labels: Iterable[int], names: Sequence[str] = ()) -> GridAxis:
    """The rows of a grid that has one row for each of the classes `labels`.

    They are called by their `names`, where there are some; else by their numbers.
    """
    return GridAxis("class", [names[label] if names else str(label) for label in labels])


def picture(
    images: np.ndarray,
    title: str,
    columns: int | None = None,
    row_axis: GridAxis | None = None,
    column_axis: GridAxis | None = None,
) -> "Figure":
    """A grid of images.

    Args:
        images: `[N, H, W, C]` in 0…1.
        title: title of the figure.
        columns: images in a row; see `image_grid`.
        row_axis: words for the rows; see `grid_figure`.
        column_axis: words for the columns.
    """
    return grid_figure(image_grid(images, columns), title, row_axis, column_axis)


def grid_figure(
    grid: np.ndarray, title: str, rows: GridAxis | None = None, columns: GridAxis | None = None
) -> "Figure":
    """The pixels of a grid, enlarged by a whole number, under a title that says what they show.

    Args:
        grid: `uint8[H, W, C]`, with 1 or 3 channels.
        title: of the figure.
        rows: what they are; None: nothing is written beside them.
        columns: what they are; None: nothing is written below them.
    """
    from matplotlib.figure import Figure

    factor = max(1, _GRID_SIDE // max(grid.shape[:2]))
    size = factor * np.array(grid.shape[1::-1])
    figure = Figure(figsize=size / DPI, dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    pixels = grid.squeeze(-1) if grid.shape[-1] == 1 else grid
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(title)
    _label_axis(axes.yaxis, rows, grid.shape[0] - 1, 20 / factor)
    widest = max(map(len, columns.labels), default=0) if columns else 0
    _label_axis(axes.xaxis, columns, grid.shape[1] - 1, (8 * widest + 8) / factor)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    _add_margins(figure, axes, size)
    return figure


def _label_axis(axis: Any, words: GridAxis | None, length: int, least: float) -> None:
    """Write words at the middle of rows or columns, at least so many pixels of the grid apart."""
    title, labels = words or GridAxis("", ())
    side = length / max(1, len(labels))
    step = math.ceil(least / side)
    ticks = {(i + 0.5) * side: labels[i] for i in range(0, len(labels), step)}
    axis.set_ticks(list(ticks), list(ticks.values()))
    axis.set_label_text(title)


def _add_margins(figure: "Figure", axes: Any, size: np.ndarray) -> None:
    """Enlarge a figure, which its axes of that size fill, until all words are inside.

    A layout of matplotlib's own would scale the axes, and then pixels of a grid differ in size.
    """
    box = axes.get_tightbbox()
    before, after = np.ceil(_MARGIN - box.min), np.ceil(_MARGIN + box.max - size)
    # Matplotlib rounds the size down, and a quotient may be too small by rounding.
    whole = before + size + after + 0.5
    figure.set_size_inches(whole / DPI)
    axes.set_position((*before / whole, *size / whole))


def manifold_latents(side: int) -> np.ndarray:
    """Latents on a square grid of `side` × `side` points, `float32[side², 2]`.

    Under N(0, I), the probability between neighbouring points is equal. Row 0 has the largest
    second coordinate, as in a plot.
    """
    points = [NormalDist().inv_cdf((i + 0.5) / side) for i in range(side)]
    return np.array([(x, y) for y in reversed(points) for x in points], np.float32)


def manifold_axes(side: int) -> tuple[GridAxis, GridAxis]:
    """What the rows and the columns of `manifold_latents(side)` are."""
    labels = [f"{value:.2f}" for value in manifold_latents(side)[:side, 0]]
    return GridAxis("second latent", labels[::-1]), GridAxis("first latent", labels)


PATHS = ("linear", "spherical")


def path_axis(steps: int) -> GridAxis:
    """What the columns of an interpolation are: `steps` shares of the way, from 0 to 1."""
    return GridAxis("share of the way", [f"{share:.2g}" for share in np.linspace(0, 1, steps)])


def interpolated_latents(
    start: np.ndarray, end: np.ndarray, steps: int, path: str = "linear"
) -> np.ndarray:
    """Latents between two latents, both included, `float32[steps, D]`.

    Args:
        start: `float32[D]`.
        end: `float32[D]`.
        steps: number of latents.
        path: `linear`, or `spherical`, along the great circle, where norms stay those of the
            prior's samples (White 2016, "Sampling generative networks").
    """
    weights = np.linspace(0.0, 1.0, steps)[:, None]
    if path == "spherical":
        cosine = np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end))
        angle = np.arccos(np.clip(cosine, -1.0, 1.0))
        if np.sin(angle) > 1e-6:  # otherwise the path is straight, or not unique
            latents = np.sin((1 - weights) * angle) * start + np.sin(weights * angle) * end
            return (latents / np.sin(angle)).astype(np.float32)
    return ((1 - weights) * start + weights * end).astype(np.float32)
