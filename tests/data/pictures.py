"""Small pictures of noise, and what they are read as."""

from pathlib import Path

import numpy as np
from PIL import Image

from tfgen.data.importers.images import common_fitting, read_headers
from tfgen.data.pictures import Fitting, read_images

WIDTH, HEIGHT = 9, 6
AS_IS = Fitting()
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


def noise(channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def picture(mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A picture of noise in that mode of 8 bits."""
    alpha = mode in ("RGBA", "LA", "PA")
    return Image.fromarray(noise(4 if alpha else 3, seed)).convert(mode)


def read(path: Path, fitting: Fitting = AS_IS) -> np.ndarray:
    """The picture of a file, in its own size and mode where the fitting leaves them open."""
    (image,) = read_images([path], common_fitting(*read_headers([path]), fitting)).images
    assert image.dtype == np.uint8
    return image


def saved(folder: Path, image: Image.Image, name: str = "x.png", **options: object) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    image.save(folder / name, **options)
    return folder / name
