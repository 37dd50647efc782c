"""Times `tfgen-data images` on a folder of small PNG files, as a whole process.

Example:
    python benchmarks/import_images.py --files 30000
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE, CLASSES = 64, 10


def write_pictures(folder: Path, count: int) -> int:
    """Writes pictures of discs in sub-folders, which are classes; returns their size [bytes]."""
    rng = np.random.default_rng(0)
    for n in range(count):
        path = folder / str(n % CLASSES) / f"{n}.png"
        path.parent.mkdir(exist_ok=True)
        picture = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(0, 256, 3).tolist()))
        draw = ImageDraw.Draw(picture)
        for _ in range(6):
            x, y, radius = rng.integers(0, SIDE, 3).tolist()
            colour = tuple(rng.integers(0, 256, 3).tolist())
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        picture.save(path, compress_level=1)
    return sum(path.stat().st_size for path in folder.rglob("*.png"))


def main() -> None:
    """Prints wall time, processor time and peak memory of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=30_000, help="number of files to import")
    parser.add_argument("--size", help="--size of the command, to have the pictures resized")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        source = Path(root, "in")
        source.mkdir()
        size = write_pictures(source, options.files)
        print(f"{options.files} PNG files of {SIDE} × {SIDE} × 3, {size / 1e6:.0f} MB")
        command = [sys.executable, "-m", "tfgen.cli.data", "images", str(source)]
        command += ["--name", "discs", "--to", f"{root}/out"]
        if options.size:
            command += ["--size", options.size]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts in bytes, Linux in KiB
    print(
        f"{seconds:.1f} s, of the processor {used.ru_utime + used.ru_stime:.1f} s on "
        f"{os.cpu_count()} cores; peak memory {used.ru_maxrss / unit:.0f} MiB"
    )


if __name__ == "__main__":
    main()
