"""`tfgen-reconstruct`: images of the user's own, encoded and decoded, or completed, by a model."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tfgen import figures
from tfgen.errors import UsageError
from tfgen.publishing.signatures import split_latents
from tfgen.sampling import Arrays, complete, no_progress
from tfgen.settings.fields import option
from tfgen.system.atomic import write_arrays
from tfgen.system.terminal import count_noun, progress

from ._command import command
from ._images import ImageOptions, OwnImages, evaluate_images
from ._samplers import write_grid, write_pairs

# Where an image is unknown, the picture of completions has it as a faint trace on grey.
_GREY, _TRACE = 0.35, 0.3


@dataclass(frozen=True)
class ReconstructOptions(ImageOptions):
    """The arguments of `tfgen-reconstruct`."""

    seed: int = option(
        0,
        "seed of the first image's noise, each further image has the next; with --mask, seed of "
        "all results",
        minimum=-(2**31),
    )
    mask: Path | None = option(
        None, "picture whose white pixels are sampled while the black ones stay as in the images"
    )
    n: int | None = option(None, "completions of each image with --mask (default: 8)", minimum=1)
    rounds: int = option(20, "rounds of decoding and encoding for --mask", minimum=1)
    out: Path | None = option(
        None,
        ".png or .npz file (default: NAME-reconstructions.png; with --mask, NAME-completions.png)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask is None and self.n:
            raise UsageError("--n is for --mask; pass the picture of a mask, too")


@command("tfgen-reconstruct", ReconstructOptions)
def main(options: ReconstructOptions) -> None:
    """Encode images with a model and decode them again; a VAE decodes the mean of q(z|x).

    With --mask, sample a part of each image: the model finishes the drawing.
    """
    own = evaluate_images(options, "encode", options.out, (".png", ".npz"))
    name, title, lines = own.sampler.name, own.sampler.title, own.lines
    if options.mask is None:
        arrays, kind = reconstruct(own), "reconstruction"
        lines = [describe_error(arrays), *lines]
    else:
        arrays, kind = complete_images(own, options, options.mask), "completion"
    out = options.out or Path(f"{name}-{kind}s.png")
    if out.suffix == ".npz":
        write_arrays(out, {"names": np.array(own.collection.names), **arrays})
    elif options.mask is None:
        caption = f"images, and below each its reconstruction by {title}"
        images = arrays["images"].astype(np.float32) / 255
        write_pairs(out, images, arrays["reconstructions"], caption, kind)
    else:
        write_completions(out, arrays, f"images with a part unknown, completed by {title}")
    count, done = count_noun(len(arrays["images"]), "image"), kind.replace("ion", "ed")
    print("\n".join([*lines, f"{count}, {done} by {title}, in {out}"]))


def reconstruct(own: OwnImages) -> Arrays:
    """The latents of images, and the images of these latents.

    Args:
        own: images, and the outputs of `encode` for them.

    Returns:
        `images`; `reconstructions`, `float32[N, H, W, C]` in 0…1; `latents`, `float32[N, D]`; of a
        VAE, `stddev` of q(z|x), `float32[N, D]`; `seeds` and `labels`, `int32[N]`, where the model
        takes them.
    """
    latents, codes = split_latents(own.outputs)
    reconstructions = own.sampler.decode(latents, own.inputs.get("labels"))
    images = {"images": own.collection.images, "reconstructions": reconstructions}
    return {**images, "latents": latents, **codes, **own.inputs}


def describe_error(arrays: Arrays) -> str:
    """How far the reconstructions are from the images, in grey levels."""
    error = np.abs(np.round(255 * arrays["reconstructions"]) - arrays["images"])
    root = math.sqrt(np.mean(np.square(error, dtype=np.float64)))
    return f"error of a pixel, in grey levels of 0…255: at most {error.max():.0f}, RMS {root:.2f}"


def complete_images(own: OwnImages, options: ReconstructOptions, mask: Path) -> Arrays:
    """The images with the pixels sampled that are white in the picture of a mask.

    Returns:
        `images`; `mask`, `bool[H, W]`; `completions`, `uint8[N, n, H, W, C]`; `labels`, `int32[N]`,
        where the model takes them.
    """
    from tfgen.data.pictures import Fitting, find_files, read_images

    sampler, images = own.sampler, own.collection.images
    fitting = Fitting(images.shape[1:3], options.fit, options.background, channels=1)
    unknown = read_images(find_files([mask]), fitting).images[0, ..., 0] >= 128
    labels, n, rounds = own.inputs.get("labels"), options.n or 8, options.rounds
    sampler.track = no_progress  # this bar is of all rounds
    way: Any = {"n": n, "rounds": rounds, "seed": options.seed, "labels": labels}
    total = len(images) * n * (rounds + 1)
    with progress(Console(stderr=True), "completing images", total) as advance:
        results = complete(sampler, images, unknown, **way, advance=advance)
    arrays = {"images": images, "mask": unknown, "completions": results}
    return arrays if labels is None else {**arrays, "labels": labels}


def write_completions(path: Path, arrays: Arrays, title: str) -> None:
    """Write a grid with an image in each row, its unknown part marked, and its completions."""
    images, results = arrays["images"] / 255, arrays["completions"] / 255
    marked = np.where(arrays["mask"][..., None], _GREY + _TRACE * images, images)
    rows = np.concatenate([marked[:, None], results], axis=1)
    grid = figures.image_grid(rows.reshape(-1, *images.shape[1:]), rows.shape[1])
    words = ["image", *map(str, range(1, rows.shape[1]))]
    write_grid(path, grid, title, None, figures.GridAxis("completion", words))
