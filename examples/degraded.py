"""Does a metric order degraded copies of real images rightly? Tables for docs/judge.md.

    python examples/degraded.py mnist --n 3000
    python examples/degraded.py mnist --n 3000 --features classifier
    python examples/degraded.py fashion_mnist --n 3000 --data-dir data
    python examples/degraded.py emoji --data-dir data

Real images are made worse step by step: by noise, by blur, by leaving out classes, and by joining
the halves of two images. Each step is compared with other real images, as `tfgen-evaluate` does it.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import tfgen
from tfgen.evaluation.features import Extractor
from tfgen.evaluation.metrics import METRICS, sample_metrics
from tfgen.evaluation.own_network import choose_extractor

# Standard deviation of the noise, of pixels in 0…255, and of the blur, in pixels.
NOISE = (0, 8, 16, 32, 64, 128)
BLUR = (0, 0.5, 1, 2, 4)
# Share of classes that are left, and of images whose halves come from two images.
CLASSES = (1, 0.8, 0.6, 0.4, 0.2, 0.1)
HALVES = (0, 0.25, 0.5, 1)
# Metrics, and whether less of them is worse.
SIGNS = {metric.key: -metric.better for metric in METRICS if metric.estimate}


def noisy(images: np.ndarray, deviation: float) -> np.ndarray:
    """Images with Gaussian noise, `uint8[N, H, W, C]`."""
    noise = np.random.default_rng(0).standard_normal(images.shape, np.float32)
    return np.clip(np.round(images + deviation * noise), 0, 255).astype(np.uint8)


def blurred(images: np.ndarray, deviation: float) -> np.ndarray:
    """Images after a Gaussian blur, `uint8[N, H, W, C]`."""
    if not deviation:
        return images
    reach = round(4 * deviation)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    pixels = images.astype(np.float32)
    for axis in (1, 2):
        borders = [(reach, reach) if axis == side else (0, 0) for side in range(4)]
        padded = np.pad(pixels, borders, "edge")
        pixels = sum(
            weight * padded.take(range(start, start + pixels.shape[axis]), axis)
            for start, weight in enumerate(kernel / kernel.sum())
        )
    return np.round(pixels).astype(np.uint8)


def with_classes(split: tfgen.data.Split, share: float, n: int) -> np.ndarray:
    """n images of the first classes; of few images, each several times."""
    count = max(1, round(share * (split.labels.max() + 1)))
    return split.images[np.resize(np.flatnonzero(split.labels < count), n)]


def with_halves(images: np.ndarray, share: float) -> np.ndarray:
    """Images of which a share has the right half of the next image."""
    count, middle = round(share * len(images)), images.shape[2] // 2
    joined = images.copy()
    joined[:count, :, middle:] = np.roll(images, -1, 0)[:count, :, middle:]
    return joined


def steps(data: tfgen.data.Dataset, n: int) -> Iterator[tuple[str, list[float], list[np.ndarray]]]:
    """Each way to degrade images: its name, its levels, and the images of each level."""
    images = data.validation.images[:n]
    yield "noise [of 255]", list(NOISE), [noisy(images, level) for level in NOISE]
    yield "blur [pixels]", list(BLUR), [blurred(images, level) for level in BLUR]
    if data.train.labels is not None:
        kinds = [with_classes(data.train, level, n) for level in CLASSES]
        yield "share of the classes", list(CLASSES), kinds
    yield "share with two halves", list(HALVES), [with_halves(images, level) for level in HALVES]


def tables(data: tfgen.data.Dataset, extractor: Extractor, n: int) -> Iterator[str]:
    """A table in Markdown for each way to degrade images, and which metrics order it rightly."""
    shape = data.image_shape
    num_modes, reference = extractor.num_modes(shape), extractor.extract(data.test.images[:n])
    for name, levels, images in steps(data, n):
        rows = [sample_metrics(extractor.extract(part), reference, num_modes) for part in images]
        lines = [f"| {name} | {' | '.join(SIGNS)} |", "|---:|" + "---:|" * len(SIGNS)]
        for level, row in zip(levels, rows, strict=True):
            lines.append(f"| {level} | " + " | ".join(f"{row[key]:.3g}" for key in SIGNS) + " |")
        orders = []
        for key, sign in SIGNS.items():
            values = sign * np.array([row[key] for row in rows])
            orders.append(f"{int((np.diff(values) > 0).sum())} of {len(rows) - 1}")
        lines.append(f"| rightly ordered | {' | '.join(orders)} |")
        yield "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables of a data set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--features", default="random", help="random, classifier, or a path")
    parser.add_argument("--n", type=int, default=5000, help="images (default: 5000)")
    arguments = parser.parse_args()
    data = tfgen.load_data(arguments.dataset, arguments.data_dir)
    n = min(arguments.n, len(data.test), len(data.validation))
    extractor = choose_extractor(data.name, n, Path("saved_models"), arguments.features)
    print(f"{data.name}: {n} images, features of {extractor.identity()}\n", flush=True)
    for table in tables(data, extractor, n):
        print(table, flush=True)


if __name__ == "__main__":
    main()
