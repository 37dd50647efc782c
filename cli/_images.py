"""What the commands share that take images of the user's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from rich.console import Console

from tfgen.errors import UsageError, size_text
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import Arrays, Labels, image_labels, noise_seeds
from tfgen.settings.fields import option
from tfgen.system.terminal import count_noun, progress

from ._command import check_output, describe_skipped
from ._flags import argument
from ._samplers import SamplerOptions, open_sampler, read_label

if TYPE_CHECKING:
    from tfgen.data.pictures import Collection

# What the signatures offer.
_MEANINGS = {"encode": "encoder", "log_prob": "likelihood"}


@dataclass(frozen=True)
class ImageOptions(SamplerOptions):
    """The arguments that say which images of the user's own are read, and how."""

    images: tuple[Path, ...] = argument("IMAGES", "pictures, folders of pictures, or NPZ files")
    seed: int = option(
        0, "seed of the first image's noise; each further image has the next seed", minimum=-(2**31)
    )
    label: str | None = option(
        None, "class of all images, by name or number (default: the labels in the NPZ file)"
    )
    fit: Literal["crop", "pad", "stretch"] = option(
        "crop", "how to resize pictures of another size: crop, pad with bars, or stretch"
    )
    background: str = option(
        "white", "colour behind transparency and in the bars of --fit pad, such as '#808080'"
    )


class OwnImages(NamedTuple):
    """Images of the user's own, and the outputs of a model's signature for them.

    Attributes:
        sampler: the model.
        collection: the images in the size and the channels that the model takes.
        outputs: outputs of the signature, by name.
        inputs: `seeds` and `labels` of the images, `int32[N]`, where the model takes them.
        lines: messages about resized images and skipped files.
    """

    sampler: SignatureSampler
    collection: "Collection"
    outputs: Arrays
    inputs: Arrays
    lines: list[str]


def evaluate_images(
    options: ImageOptions, signature: str, out: Path | None, suffixes: Sequence[str]
) -> OwnImages:
    """Open the model, read the images and compute a signature of them.

    Args:
        options: the model, the images and how they are read.
        signature: name of the signature that takes the images.
        out: the file that will be written; None if there is none.
        suffixes: its possible extensions.

    Raises:
        UsageError: a path does not exist, there is no picture, a flag has no valid value, an image
            would be overwritten, or the model has no such signature or takes other images.
        WorkError: the model is damaged, or the server gives no answer.
    """
    from tfgen.data.pictures import Fitting, find_files

    Fitting(fit=options.fit, background=options.background)  # refuses a wrong colour at once
    if out is not None:
        check_output(out, suffixes)
    files = find_files(options.images)
    # A link that leads nowhere is among the files, too; reading will report it.
    if out and out.exists() and any(file.exists() and file.samefile(out) for file in files):
        raise UsageError(f"cannot write {out}: it is among the images; choose another file")
    return evaluate_files(options, open_sampler(options), signature, files)


def evaluate_files(
    options: ImageOptions, sampler: SignatureSampler, signature: str, files: Sequence[Path]
) -> OwnImages:
    """Read the images of files and compute a signature of them; see `evaluate_images`."""
    from tfgen.data.pictures import Fitting, read_images

    if not sampler.has_signature(signature):
        advice = "pass a model that has one, such as vae"
        raise UsageError(f"{sampler.title} has no {_MEANINGS[signature]}; {advice}")
    height, width, channels = sampler.signature(signature).inputs["images"].sides
    fitting = Fitting((height, width), options.fit, options.background, channels)
    with progress(Console(stderr=True), "reading images", len(files)) as advance:
        collection = read_images(files, fitting, advance)
    labels: int | np.ndarray | None = collection.labels if sampler.num_classes else None
    if options.label is not None:
        labels = read_label(options.label, sampler)
    elif sampler.num_classes and labels is None:
        raise UsageError(f"{sampler.title} is conditional; pass --label, or labelled NPZ files")
    labels = image_labels(len(collection.images), sampler.num_classes, labels)
    outputs, inputs = compute(sampler, signature, collection.images, labels, options.seed)
    lines = []
    if count := collection.resized:
        verb, size = "was" if count == 1 else "were", size_text((height, width))
        resizing = f"resized to {size} (Lanczos, {options.fit})"
        lines.append(f"{count_noun(count, 'image')} of another size {verb} {resizing}")
    lines += describe_skipped(collection.skipped)
    return OwnImages(sampler, collection, outputs, inputs, lines)


def compute(
    sampler: SignatureSampler, signature: str, images: np.ndarray, labels: Labels, seed: int
) -> tuple[Arrays, Arrays]:
    """The outputs of a signature, and its inputs beside the images.

    Args:
        sampler: the model.
        signature: name of the signature.
        images: `uint8[N, H, W, C]`.
        labels: classes for a conditional model, `int[N]`; else None.
        seed: seed of the noise of image 0; image i has seed + i.

    Returns:
        The outputs; `seeds` and `labels`, `int32[N]`, where the model takes them.

    Raises:
        UsageError: the last seed does not fit into 32 bits.
    """
    seeds, n = None, len(images)
    if "seed" in sampler.signature(signature).inputs:
        seeds = noise_seeds(n, np.arange(seed, seed + n))
    inputs = {"seeds": seeds, "labels": labels}
    outputs = sampler.evaluate(signature, images, seeds, labels)
    return outputs, {name: array for name, array in inputs.items() if array is not None}
