"""The flags of `tfgen-sample` that say what it samples and writes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfgen.errors import UsageError
from tfgen.settings.fields import Config, option
from tfgen.settings.training import MAX_SEED

# Above so many images, a folder has shards of this size instead of a PNG file per image.
MAX_PICTURES, SHARD_SIZE = 50_000, 10_000


@dataclass(frozen=True)
class SampleOptions(Config):
    """The flags that say what `tfgen-sample` draws and writes."""

    n: int = option(25, "number of images", minimum=1, maximum=2**31 - 1)
    seed: int = option(
        0, "seed of the request; the same seed gives the same images", minimum=0, maximum=MAX_SEED
    )
    seeds: tuple[int, ...] | None = option(
        None,
        "one seed for each image, in place of --n and --seed; an .npz file has those of its images",
        minimum=-(2**31),
        maximum=2**31 - 1,
    )
    label: str | None = option(
        None,
        "class of all images, for a conditional model: the name that the data set gives it, or its "
        "number (default: image i has class i mod K)",
    )
    temperature: float = option(
        1.0,
        "scale of the latents; below 1, images are more probable and less diverse",
        above=0,
        maximum=10.0,
    )
    out: str | None = option(
        None,
        "file to write, .png or .npz, or a new folder for one PNG file per image, with / at its "
        "end (default: NAME-samples.png)",
    )
    manifold: int | None = option(
        None, "draw a grid of N × N points of a latent space with 2 dimensions", minimum=2
    )
    interpolate: int | None = option(
        None, "draw N images on the way from each seed to the next, one row per pair", minimum=2
    )
    path: Literal["linear", "spherical"] = option("linear", "path of --interpolate")
    shard_size: int | None = option(
        None,
        "write shards, TFRecord files of N images each, to the folder --out; an interrupted "
        f"command continues if it is repeated (default: {SHARD_SIZE} for a folder of more than "
        f"{MAX_PICTURES} images, otherwise no shards)",
        minimum=1,
    )
    pixels: Literal["png", "raw"] = option(
        "png", "encoding of an image in a shard: a PNG file, or raw uint8 pixels"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.manifold and self.interpolate:
            raise UsageError("--manifold and --interpolate exclude each other")
        if self.manifold and self.temperature != 1:
            raise UsageError("--manifold has its own latents; leave out --temperature")
        if self.interpolate and self.seeds and len(self.seeds) < 2:
            raise UsageError("--interpolate needs two --seeds or more")
        if self.out == "":
            raise UsageError("--out: the path is empty")
        if self.shard_size is not None:
            self._check_shards()
        if self.pixels == "raw" and not self.images_per_shard:
            raise UsageError("--pixels raw is for shards; pass --shard-size too")

    def _check_shards(self) -> None:
        for name in ("manifold", "interpolate", "seeds"):
            if getattr(self, name) is not None:
                raise UsageError(f"--shard-size and --{name} exclude each other")
        out = self.out or ""
        if Path(out).suffix in (".png", ".npz") and not is_folder(out):
            raise UsageError(
                f"--shard-size writes a folder, and --out {out} names a file; pass a folder, or "
                "leave out --shard-size"
            )

    @property
    def images_per_shard(self) -> int | None:
        """Number of images in each shard; None if no shards are written."""
        if self.manifold or self.interpolate or self.seeds is not None or self.shard_size:
            return self.shard_size
        if self.n <= MAX_PICTURES or self.out is None:
            return None
        return SHARD_SIZE if is_folder(self.out) or not Path(self.out).suffix else None


def is_folder(out: str) -> bool:
    """Whether `--out` is a folder: its name ends with a separator, or there is such a folder."""
    return out.endswith(("/", os.sep)) or Path(out).is_dir()
