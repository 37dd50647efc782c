"""The first pictures of each view of an exported page, which it shows before a model is loaded."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from tfgen import figures, random
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import request_labels

# What the views begin with: images of a grid and of a game; the ends of Between, by their places in
# the grid, images of a strip and to choose from; side of the plane, and its largest coordinate.
GRID, GAME = 25, 6
ENDS, STRIP, CHOICES = [1, 5], 9, 16
SIDE, LIMIT = 13, 3
MAX_BYTES = 60_000


class Drawn(NamedTuple):
    """The pictures of a view.

    Attributes:
        latents: `float32[N, D]`.
        labels: `int32[N]`; None of an unconditional model.
        images: `float32[N, H, W, C]`.
    """

    latents: np.ndarray
    labels: np.ndarray | None
    images: np.ndarray

    def keys(self) -> list[list[float]]:
        """By what the page knows latents: first and last entry, length, class or 0 of each."""
        lengths = np.linalg.norm(self.latents.astype(np.float64), axis=1)
        labels = np.zeros(len(lengths)) if self.labels is None else self.labels
        columns = self.latents[:, 0], self.latents[:, -1], lengths, labels
        return np.stack(columns, axis=1).round(5).tolist()

    def webp(self) -> bytes:
        """The images on a grid without borders; large ones lose details for the file's size."""
        grid = Image.fromarray(figures.image_grid(self.images, pad=0).squeeze()).convert("RGB")
        content = b""
        for quality, blur in ((None, 0), (90, 0), (50, 0), (20, 0), (20, 1), (20, 2), (5, 4)):
            file, picture = io.BytesIO(), grid.filter(ImageFilter.BoxBlur(blur))
            picture.save(file, "WEBP", quality=quality or 100, lossless=quality is None)
            content = file.getvalue()
            if len(content) <= MAX_BYTES:
                break
        return content


def draw(sampler: SignatureSampler, directions: dict[str, list[float]] | None) -> dict[str, Drawn]:
    """Draws the first pictures of the views of a model.

    Args:
        sampler: a model with latents.
        directions: see `listing.principal_directions`; None if there are none.
    """
    grid = sampler.latents(random.image_seeds(0, GRID))
    start, end = grid[ENDS]
    paths = [figures.interpolated_latents(start, end, STRIP, kind) for kind in figures.PATHS]
    # Samples and a game have all classes in turn, other views the first one.
    parts = {
        "grid": (grid, None),
        "game": (sampler.latents(random.image_seeds(1, GAME)), None),
        "between": (np.concatenate([*paths, grid[:CHOICES]]), 0),
    }
    if sampler.latent_dim > 1:
        parts["plane"] = _plane(grid, directions), 0
    drawn = {}
    for name, (latents, classes) in parts.items():
        asked = classes if sampler.num_classes else None
        labels = request_labels(len(latents), sampler.num_classes, asked)
        drawn[name] = Drawn(latents, labels, sampler.decode(latents, labels))
    return drawn


def _plane(grid: np.ndarray, directions: dict[str, list[float]] | None) -> np.ndarray:
    """The latents of the view Plane, row by row: of the axes, of directions, or of random ones."""
    dimensions = grid.shape[1]
    if dimensions == 2:
        origin, first, second = np.zeros(2), *np.eye(2)
    elif directions is not None:
        origin, first, second = (np.array(directions[key]) for key in ("mean", "first", "second"))
    else:
        # Random vectors at right angles, as long as the first one at the middle of an edge.
        basis, triangle = np.linalg.qr(grid[:3].T.astype(np.float64))
        basis *= np.sign(np.diag(triangle)) * np.linalg.norm(grid[0]) / LIMIT
        origin, first, second = grid[0], *basis.T[1:]
    values = LIMIT * ((2 * np.arange(SIDE) + 1) / SIDE - 1)
    x, y = np.meshgrid(values, values[::-1])
    points = origin + x[..., None] * first + y[..., None] * second
    return points.reshape(-1, dimensions).astype(np.float32)
