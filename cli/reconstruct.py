"""`tfgen-reconstruct`: images of the user's own, encoded and decoded by a model."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfgen.publishing.signatures import split_latents
from tfgen.sampling import Arrays
from tfgen.settings.fields import option
from tfgen.system.atomic import write_arrays
from tfgen.system.terminal import count_noun

from ._command import command
from ._images import ImageOptions, OwnImages, evaluate_images
from ._samplers import write_pairs


@dataclass(frozen=True)
class ReconstructOptions(ImageOptions):
    """The arguments of `tfgen-reconstruct`."""

    out: Path | None = option(None, ".png or .npz file (default: NAME-reconstructions.png)")


@command("tfgen-reconstruct", ReconstructOptions)
def main(options: ReconstructOptions) -> None:
    """Encode images with a model and decode them again, with a posterior q(z|x) from its mean."""
    own = evaluate_images(options, "encode", options.out, (".png", ".npz"))
    arrays, title = reconstruct(own), own.sampler.title
    out = options.out or Path(f"{own.sampler.name}-reconstructions.png")
    if out.suffix == ".npz":
        write_arrays(out, {"names": np.array(own.collection.names), **arrays})
    else:
        caption = f"images, and below each its reconstruction by {title}"
        images = arrays["images"].astype(np.float32) / 255
        write_pairs(out, images, arrays["reconstructions"], caption, "reconstruction")
    count = count_noun(len(arrays["images"]), "image")
    result = f"{count}, reconstructed by {title}, in {out}"
    print("\n".join([describe_error(arrays), *own.lines, result]))


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
